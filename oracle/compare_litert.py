"""Run one model in LiteRT, in a process of its own: the reference kernels can abort the process, and what the C++ side
logs is only seen on its stderr.

    compare_litert.py MODEL auto|reference X.npy Y.npz [BATCH [SIGNATURE]]

X.npy holds the first input for all images, batch first; with `-` the inputs are drawn from a fixed seed. BATCH 0 leaves
the model's own shapes; then there may be a file for each input, joined by commas. Y.npz gets the outputs, named 0, 1 and so on.
With SIGNATURE that one runs, its inputs and outputs in the order of their names. One JSON line about the model goes to stdout.
"""

import json
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

RESOLVERS = {"auto": OpResolverType.AUTO, "reference": OpResolverType.BUILTIN_REF}


def describe(details: dict) -> dict:
    quantization = details["quantization_parameters"]
    return {
        "name": details["name"],
        "dtype": np.dtype(details["dtype"]).name,
        "shape": [int(n) for n in details["shape"]],
        "shape_signature": [int(n) for n in details["shape_signature"]],
        "scales": [float(s) for s in quantization["scales"]],
        "zero_points": [int(z) for z in quantization["zero_points"]],
    }


def draw(details: dict, seed: int) -> np.ndarray:
    """A deterministic input of the tensor's type: floats in [-1, 1), integers over the whole range, indices of 0 or 1."""
    rng = np.random.default_rng(seed)
    shape = details["shape"]
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return rng.uniform(-1, 1, shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype in (np.int8, np.uint8, np.int16):
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max + 1, shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)


def save(path: str, ys: list) -> None:
    np.savez(path, **{str(index): y for index, y in enumerate(ys)})


def outputs_of(interpreter: Interpreter) -> list:
    return [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]


def run_signature(runner, about: dict, x_path: str, y_path: str) -> None:
    details = sorted(runner.get_input_details().items())
    about["inputs"] = [describe(d) | {"name": name} for name, d in details]
    about["outputs"] = [{"name": name} for name in sorted(runner.get_output_details())]
    files = [] if x_path == "-" else x_path.split(",")
    xs = {name: np.load(files[i]) if files else draw(d, i) for i, (name, d) in enumerate(details)}
    ys = runner(**xs)
    save(y_path, [ys[output["name"]] for output in about["outputs"]])
    print(json.dumps(about))


def main() -> None:
    model, resolver, x_path, y_path = sys.argv[1:5]
    batch = int(sys.argv[5]) if len(sys.argv) > 5 else 0
    interpreter = Interpreter(model_path=model, num_threads=1, experimental_op_resolver_type=RESOLVERS[resolver])
    inputs = interpreter.get_input_details()
    first = inputs[0]
    about = {"inputs": [describe(d) for d in inputs]}
    about["outputs"] = [describe(d) for d in interpreter.get_output_details()]
    about["signatures"] = list(interpreter.get_signature_list())
    if len(sys.argv) > 6:
        return run_signature(interpreter.get_signature_runner(sys.argv[6]), about, x_path, y_path)

    began = time.perf_counter()
    if x_path == "-" or batch == 0:
        interpreter.allocate_tensors()
        for seed, details in enumerate(interpreter.get_input_details()):
            x = draw(details, seed) if x_path == "-" else np.load(x_path.split(",")[seed])
            interpreter.set_tensor(details["index"], x)
        interpreter.invoke()
        ys = outputs_of(interpreter)
    else:
        x = np.load(x_path)
        parts = []
        size = None
        for at in range(0, len(x), batch):
            part = x[at : at + batch]
            if len(part) != size:
                interpreter.resize_tensor_input(first["index"], [len(part), *first["shape"][1:]])
                interpreter.allocate_tensors()
                size = len(part)
            interpreter.set_tensor(first["index"], part)
            interpreter.invoke()
            parts.append(outputs_of(interpreter))
        ys = [np.concatenate(part) for part in zip(*parts)]
    about["seconds"] = time.perf_counter() - began
    save(y_path, ys)
    print(json.dumps(about))


if __name__ == "__main__":
    main()

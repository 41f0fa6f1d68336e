"""One engine in a process that answers for as long as it is asked.

    worker.py ENGINE        litert, onnxruntime, openvino, mnn or ncnn

Reads lines `MODEL THREADS SECONDS`, runs the model on random input for that long, and answers a line of JSON: `ns`, the sorted
times of the runs, or `error`. The last model stays loaded.
"""

import json
import os
import sys
import time

import numpy as np


def random(shape, dtype):
    """Input of any kind that models have."""
    rng = np.random.default_rng(0)
    if np.issubdtype(dtype, np.floating):
        return rng.random(shape, np.float32).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def litert(model, threads):
    """LiteRT, with XNNPACK as it comes."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=threads)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], random(tuple(details["shape"]), details["dtype"]))
    return interpreter.invoke


def onnxruntime(model, threads):
    """ONNX Runtime on the CPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    shape = lambda i: [size if isinstance(size, int) else 1 for size in i.shape]
    feeds = {i.name: random(shape(i), np.dtype(types[i.type])) for i in session.get_inputs()}
    return lambda: session.run(None, feeds)


def openvino(model, threads):
    """OpenVINO, tuned for latency, in float32 where the model is."""
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    graph = core.read_model(model)
    graph.reshape({p: [d.get_length() if d.is_static else 1 for d in p.get_partial_shape()] for p in graph.inputs})
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    for index, port in enumerate(request.model_inputs):
        request.set_input_tensor(index, ov.Tensor(random(tuple(port.shape), np.dtype(port.element_type.to_dtype()))))
    return request.infer


def mnn(model, threads):
    """MNN, in float32 where the model is."""
    import MNN

    interpreter = MNN.Interpreter(model)
    session = interpreter.createSession({"numThread": threads, "backend": "CPU", "precision": "high"})

    def host(tensor, data=None):
        shape = tensor.getShape()
        data = np.zeros(shape, np.float32) if data is None else data
        return MNN.Tensor(shape, MNN.Halide_Type_Float, data, MNN.Tensor_DimensionType_Caffe)

    for tensor in interpreter.getSessionInputAll(session).values():
        tensor.copyFrom(host(tensor, random(tensor.getShape(), np.dtype(np.float32))))
    outputs = [(tensor, host(tensor)) for tensor in interpreter.getSessionOutputAll(session).values()]

    def run():
        interpreter.runSession(session)
        for tensor, copy in outputs:
            tensor.copyToHostTensor(copy)

    return run


def ncnn(model, threads):
    """ncnn in float32. `model` is the path without `.param` and `.bin`."""
    import ncnn as engine

    net = engine.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = threads, False
    net.opt.use_fp16_arithmetic = net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_bf16_storage = False
    if net.load_param(f"{model}.param") or net.load_model(f"{model}.bin"):
        raise RuntimeError("ncnn does not load it")
    with open(f"{model}.json", encoding="utf-8") as file:
        mat = engine.Mat(random(tuple(json.load(file)), np.dtype(np.float32)))
    name, outputs = net.input_names()[0], net.output_names()

    def run():
        extractor = net.create_extractor()
        extractor.input(name, mat)
        for output in outputs:
            status, _ = extractor.extract(output)
            if status:
                raise RuntimeError(f"ncnn leaves with status {status}")

    return run


def main():
    """Answer until the input ends."""
    load = {"litert": litert, "onnxruntime": onnxruntime, "openvino": openvino, "mnn": mnn, "ncnn": ncnn}[sys.argv[1]]
    # Engines print to standard output; the answers go where it was.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    loaded, run = None, None
    for line in sys.stdin:
        *words, threads, seconds = line.split()
        model = " ".join(words)
        try:
            if loaded != (model, threads):
                loaded, run = (model, threads), None
                run = load(model, int(threads))
            for _ in range(3):
                run()
            times, end = [], time.perf_counter_ns() + int(float(seconds) * 1e9)
            while len(times) < 3 or time.perf_counter_ns() < end:
                start = time.perf_counter_ns()
                run()
                times.append(time.perf_counter_ns() - start)
            answer = {"ns": sorted(times)}
        except Exception as error:  # The engines raise what they like.
            loaded, answer = None, {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

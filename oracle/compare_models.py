"""Every other model in a folder: whether Litesmith runs it, and whether its outputs, all of them, agree with LiteRT's.

A model that Litesmith does not run fails the suite, those that LiteRT refuses included; so does a crash of Litesmith (a signal,
or an exit status that is not 0, 1 or 2). How near the outputs must be follows from what the model computes with: see `Kind`.
"""

import json
import subprocess
from enum import Enum
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compare_common import MODES, Report, Run, Tools, difference
from compare_litert import draw

FLOATS = ("float32", "float16")
# A share of the output's range. One step of an 8-bit quantization is 1/255 of its tensor's range.
FLOAT_BOUND = 1e-4
STEP_BOUND = 0.02


class Kind(Enum):
    """What a model computes with, and so how near its outputs must be."""

    INTEGER = "integers: every byte"
    FLOAT = f"floats: within {FLOAT_BOUND:g} of the range, the same top-1, every byte of integer outputs"
    # A float that lies on the border between two steps falls to either side by its last bit, and all that follows with it.
    STEPPED = f"floats that are quantized on the way (dynamic range): within {STEP_BOUND:g} of the range"


def kind(about: dict) -> Kind:
    """The kind of a model that `litesmith inspect --json` describes."""
    floats = stepped = False
    for graph in about["subgraphs"]:
        tensors = graph["tensors"]
        is_float = [tensor["dtype"] in FLOATS for tensor in tensors]
        constant = [tensor["constant_bytes"] > 0 for tensor in tensors]
        computed = set()
        for op in graph["ops"]:
            inputs = [index for index in op["inputs"] if index is not None]
            name = op["op"]
            if name == "QUANTIZE":
                stepped |= inputs[0] in computed
            elif name != "DEQUANTIZE" and any(is_float[index] for index in op["outputs"]):
                floats = True
                computed.update(op["outputs"])
                weights = [index for index in inputs if constant[index] and tensors[index]["quantization"]]
                stepped |= name != "EMBEDDING_LOOKUP" and any(not is_float[index] for index in weights)
    if stepped:
        return Kind.STEPPED
    return Kind.FLOAT if floats else Kind.INTEGER


def verdict(kind: Kind, ours: Run, theirs: Run) -> tuple:
    """Whether the outputs agree as the kind of model asks, and how far each is apart."""
    if len(ours.ys) != len(theirs.ys):
        return False, f"{len(ours.ys)} outputs, LiteRT has {len(theirs.ys)}"
    ok, text = True, []
    for x, y in zip(ours.ys, theirs.ys):
        apart = difference(x, y)
        if kind is Kind.INTEGER or (kind is Kind.FLOAT and y.dtype.name not in FLOATS):
            near = apart.exact()
        elif kind is Kind.FLOAT:
            near = apart.relative <= FLOAT_BOUND and apart.same_top1()
        else:
            near = apart.relative <= STEP_BOUND
        ok &= apart.shapes and near
        text.append(str(apart))
    return ok, "; ".join(dict.fromkeys(text))


def repaired(tools: Tools, path: Path) -> Path:
    """A copy that LiteRT loads: it refuses tensors with one scale whose quantized dimension they do not have."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization is not None and tensor.quantization.quantizedDimension >= len(tensor.shape):
                tensor.quantization.quantizedDimension = 0
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    copy = tools.scratch_file("tflite")
    copy.write_bytes(builder.Output())
    return copy


def inspect(tools: Tools, path: Path) -> dict:
    """What Litesmith reads in the file; empty when it does not read it."""
    command = [str(tools.litesmith), "inspect", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def ends(about: dict, which: str) -> list:
    """Name, type and shape of the main graph's inputs or outputs, for models that LiteRT refuses."""
    graph = about["subgraphs"][0]
    return [graph["tensors"][index] for index in graph[which]]


def check(report: Report, tools: Tools, folder: Path) -> None:
    paths = sorted(folder.rglob("*.tflite"))
    if not paths:
        report.check("models", False, f"no .tflite file under {folder}")
        return
    probes = [(path, "", tools.litert(path, "litert", "-", 0)) for path in paths]
    # What LiteRT is given in place of a file that it refuses.
    copies = {}
    # Signatures one by one, where there are several: a model with one enters its main graph by it.
    for path, _, probe in list(probes):
        keys = probe.result().about.get("signatures", [])
        probes += [(path, key, tools.litert(path, "litert", "-", 0, key)) for key in keys if len(keys) > 1]
    waiting = []
    for path, key, probe in sorted(probes, key=lambda row: row[:2]):
        about = probe.result().about
        if "quantized_dimension" in probe.result().error:
            copies[path] = repaired(tools, path)
        seen = inspect(tools, path)
        xs = []
        inputs = about.get("inputs") or (ends(seen, "inputs") if seen else [])
        for seed, details in enumerate(inputs):
            xs.append(tools.scratch_file())
            np.save(xs[-1], draw({"shape": details["shape"], "dtype": details["dtype"]}, seed))
        sides = None
        if xs:
            files = ",".join(map(str, xs))
            theirs = {mode: tools.litert(copies.get(path, path), mode, files, 0, key) for mode in MODES}
            named = [f"{details['name']}={x}" for details, x in zip(inputs, xs)] if key else xs
            outputs = about.get("outputs") or (ends(seen, "outputs") if seen else [{}])
            outputs = [details["name"] if key else "" for details in outputs]
            ours = {mode: tools.ours(path, mode, *named, signature=key, outputs=outputs) for mode in MODES}
            sides = (theirs, ours, kind(seen) if seen else Kind.INTEGER)
        waiting.append((path, key, probe, sides))

    ran, agree = set(paths), set(paths)
    for path, key, probe, sides in waiting:
        name = str(path.relative_to(folder)) + (f":{key}" if key else "")
        row = {"model": name}
        report.models.append(row)
        if sides is None:
            row["verdict"] = probe.result().error or "has no inputs"
            print(f"  -- {name}: {row['verdict'][:160]}")
            ran.discard(path)
            continue
        theirs, ours = ({mode: f.result() for mode, f in side.items()} for side in sides[:2])
        row["kind"] = sides[2].value
        crashed = [run.error for run in ours.values() if run.status not in (0, 1, 2)]
        if crashed:
            report.check(f"{name} does not crash", False, crashed[0])
        for mode in MODES:
            other = next(other for other in MODES if other != mode)
            note = "a copy that LiteRT loads: " if path in copies else ""
            if ours[mode].error:
                row[mode] = ours[mode].error
                ran.discard(path)
            elif not theirs[mode].error:
                ok, text = verdict(sides[2], ours[mode], theirs[mode])
                row[mode] = note + text
                if not ok:
                    agree.discard(path)
                    report.check(f"{name} {mode}", False, f"{text}; {sides[2].value}")
            elif theirs[other].error:
                row[mode] = f"ran; LiteRT {theirs[mode].error}"
                agree.discard(path)
            else:
                # Integers of two resolvers differ, floats do not.
                ok, text = verdict(sides[2], ours[mode], theirs[other])
                row[mode] = f"{text} (from LiteRT's other resolver; this one {theirs[mode].error})"
                if not ok:
                    agree.discard(path)
                    report.check(f"{name} {mode}", sides[2] is not Kind.FLOAT, row[mode])
        print(f"  {'ran' if path in ran else ' --'} {name} ({sides[2].value})")
        for mode in MODES:
            print(f"      {mode}: {row[mode][:400]}")
    report.check("models", len(ran) == len(paths), f"{len(ran)} of {len(paths)} ran")
    report.check("models agree", len(ran & agree) == len(paths), f"{len(ran & agree)} of {len(paths)} agree with LiteRT")

"""The six files of `litesmith demo`, on all 10,000 test images of MNIST, under both numerics modes."""

import gzip
import json
import subprocess
from pathlib import Path

import numpy as np

from compare_common import MODES, Report, Tools, as_input, difference

FORMATS = ["f32", "f16", "dynamic", "int8", "int8-uint8io", "int16x8"]
INTEGER = {"int8", "int8-uint8io", "int16x8"}
BATCH = 100
FLOAT_TOLERANCE = 1e-4  # of the output's range
MIN_ACCURACY = 0.99
MAX_LOSS = 0.001  # a quantized file may lose 0.10 points of accuracy against float32


def test_set(folder: Path):
    """The 10,000 test images in [0, 1], shaped batch height width channel, and their labels."""
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    assert len(images) == len(labels) == 10_000
    return images.astype(np.float32) / np.float32(255), labels


def check(report: Report, tools: Tools, demo: Path, mnist: Path) -> None:
    """Loading, all outputs in both modes, threads, batch sizes and accuracy, for each of the six files."""
    images, labels = test_set(mnist)
    # What each input tensor looks like, from LiteRT; this run also shows what loading logs at batch 1.
    models = {name: demo / f"mnist-cnn-{name}.tflite" for name in FORMATS}
    probes = {(n, mode): tools.litert(models[n], mode, "-", 0) for n in FORMATS for mode in MODES}

    inputs, runs = {}, {}
    for name in FORMATS:
        probe = probes[name, "litert"].result()
        if probe.error:
            report.check(f"{name} loads", False, f"LiteRT {probe.error}")
            continue
        about = probe.about["inputs"][0]
        x = as_input(images.reshape(-1, *about["shape"][1:]), about)
        paths = {}
        for key, part in {"all": x, "seven": x[:7], "one": x[:1], "plane": x[:7].reshape(7, 28, 28)}.items():
            paths[key] = tools.scratch_file()
            np.save(paths[key], part)
        inputs[name] = paths
        for mode in MODES:
            runs[name, mode, "theirs"] = tools.litert(models[name], mode, paths["all"], BATCH)
            runs[name, mode, "ours"] = tools.ours(models[name], mode, paths["all"])
            runs[name, mode, "theirs 7"] = tools.litert(models[name], mode, paths["seven"], 7)
            for key in ("seven", "one", "plane"):
                runs[name, mode, key] = tools.ours(models[name], mode, paths[key])
            runs[name, mode, "threads"] = tools.ours(models[name], mode, paths["all"], threads=2)

    accuracy = {}
    for name in inputs:
        _check_loading(report, name, [probes[name, mode].result() for mode in MODES])
        for mode in MODES:
            ours, theirs = runs[name, mode, "ours"].result(), runs[name, mode, "theirs"].result()
            if not _check_outputs(report, name, mode, ours, theirs):
                continue
            if mode == "litert":
                accuracy[name] = float((theirs.y.argmax(axis=1) == labels).mean())
            keys = ("theirs 7", "seven", "one", "plane", "threads")
            _check_variants(report, name, mode, ours, theirs, {key: runs[name, mode, key].result() for key in keys})
    _check_accuracy(report, accuracy)


def _check_loading(report: Report, name: str, probes: list) -> None:
    complaints = [line for probe in probes for line in probe.complaints()]
    errors = [probe.error for probe in probes if probe.error]
    about = probes[0].about
    detail = f"input {about['inputs'][0]['dtype']} {about['inputs'][0]['shape_signature']}, LiteRT logs no complaint"
    report.check(f"{name} loads", not complaints and not errors, "; ".join(complaints + errors) or detail)
    signature = about["inputs"][0]["shape_signature"]
    report.check(f"{name} has a dynamic batch", signature[:1] == [-1], f"shape_signature {signature}")


def _check_outputs(report: Report, name: str, mode: str, ours, theirs) -> bool:
    title = f"{name} --numerics {mode}"
    for who, run in (("LiteRT", theirs), ("litesmith", ours)):
        if run.error:
            report.check(title, False, f"{who} {run.error}")
            return False
    if theirs.complaints():
        report.check(f"{title} log", False, "; ".join(theirs.complaints()))
    apart = difference(ours.y, theirs.y)
    if name in INTEGER:
        good = apart.exact()
    elif name == "dynamic":
        good = apart.same_top1()
    else:
        good = apart.same_top1() and apart.relative <= FLOAT_TOLERANCE
    return report.check(title, good, str(apart)) or apart.shapes


def _check_variants(report: Report, name: str, mode: str, ours, theirs, runs: dict) -> None:
    """Other batch sizes, images without the channel axis, and two threads: nothing of it may change a byte of ours.

    LiteRT itself must agree at batch 7, too: byte for byte for integers, within the tolerance for floats.
    """
    wrong = []
    for key, run in runs.items():
        reference = theirs.y if key == "theirs 7" else ours.y
        if run.error:
            wrong.append(f"{key}: {run.error}")
            continue
        if key == "theirs 7":
            wrong += run.complaints()
        apart = difference(run.y, reference[: len(run.y)])
        loose = key == "theirs 7" and name not in INTEGER
        if not (apart.exact() or loose and apart.shapes and apart.relative <= FLOAT_TOLERANCE):
            wrong.append(f"{key}: {apart}")
    said = "batch 1 and 7, input without channel axis, and 2 threads change nothing"
    report.check(f"{name} --numerics {mode} variants", not wrong, "; ".join(wrong) or said)


def _check_accuracy(report: Report, accuracy: dict) -> None:
    base = accuracy.get("f32")
    if base is None:
        return
    report.check("f32 accuracy, by LiteRT", base >= MIN_ACCURACY, f"{base:.2%}")
    for name in FORMATS[1:]:
        if name in accuracy:
            lost = base - accuracy[name]
            # The margin is one image's share, so that 0.10 points lost exactly passes whatever the rounding.
            good = lost <= MAX_LOSS + 5e-5
            report.check(f"{name} accuracy, by LiteRT", good, f"{accuracy[name]:.2%}, {(accuracy[name] - base) * 100:+.2f} points")


def check_metadata(report: Report, demo: Path, python: Path) -> None:
    """The standard tool reads labels and normalisation of all six files."""
    paths = [demo / f"mnist-cnn-{name}.tflite" for name in FORMATS]
    script = Path(__file__).resolve().parent / "compare_metadata.py"
    done = subprocess.run([python, script, *paths], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode != 0 or len(lines) != len(paths):
        report.check("metadata", False, f"the reader left with status {done.returncode}: {done.stderr[-400:]}")
        return
    for name, line in zip(FORMATS, lines):
        report.check(f"{name} metadata", *_judge_metadata(json.loads(line)))


def _judge_metadata(read: dict):
    """Whether one file's metadata has the ten labels, tied to the output, and the input's mean and std."""
    if "error" in read:
        return False, read["error"]
    subgraphs = read["metadata"].get("subgraph_metadata") or [{}]
    inputs = subgraphs[0].get("input_tensor_metadata") or [{}]
    outputs = subgraphs[0].get("output_tensor_metadata") or [{}]
    labels = [f for f in outputs[0].get("associated_files", []) if f.get("type") == "TENSOR_AXIS_LABELS"]
    if not labels:
        return False, "the output names no file of type TENSOR_AXIS_LABELS"
    text = read["files"].get(labels[0]["name"], "").split()
    if text != [str(digit) for digit in range(10)]:
        return False, f"{labels[0]['name']} holds {text}, not the ten digits"
    units = [u for u in inputs[0].get("process_units", []) if u.get("options_type") == "NormalizationOptions"]
    if not units:
        return False, "the input has no NormalizationOptions"
    options = units[0]["options"]
    return True, f"labels in {labels[0]['name']}, mean {options.get('mean')}, std {options.get('std')}"

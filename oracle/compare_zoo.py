"""The models of zoo/mnist on all 10,000 test images, and stripped files beside those they were made from."""

import subprocess
from pathlib import Path

import numpy as np

from compare_common import MODES, Report, Tools, as_input
from compare_mnist import test_set

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def check(report: Report, tools: Tools, mnist: Path) -> None:
    """The same prediction for every image; the same bytes from LiteRT before and after stripping."""
    images, labels = test_set(mnist)
    for model in sorted((ROOT / "zoo/mnist").glob("*.tflite")):
        _check_model(report, tools, model, images, labels)
    for model in sorted((ROOT / "testdata/models").glob("*.tflite")):
        _check_stripped(report, tools, model)


def _check_model(report: Report, tools: Tools, model: Path, images: np.ndarray, labels: np.ndarray) -> None:
    probe = tools.litert(model, "litert", "-", 0).result()
    if probe.error:
        report.check(f"zoo {model.name} loads", False, f"LiteRT {probe.error}")
        return
    about = probe.about["inputs"][0]
    x = tools.scratch_file()
    np.save(x, as_input(images.reshape(-1, *about["shape"][1:]), about))
    for mode in MODES:
        theirs, ours = tools.litert(model, mode, x, 100).result(), tools.ours(model, mode, x).result()
        name = f"zoo {model.name} --numerics {mode}"
        if mode == "reference" and "Didn't find op" in theirs.error:
            # LiteRT's reference kernels have no int4 DEPTHWISE_CONV_2D.
            report.check(name, not ours.error, f"LiteRT's reference kernels do not have an op of it; {ours.error or 'it runs here'}")
            continue
        if theirs.error or ours.error:
            report.check(name, False, f"LiteRT {theirs.error or 'ran'}; Litesmith {ours.error or 'ran'}")
            continue
        predicted = [run.y.reshape(len(labels), -1).argmax(1) for run in (theirs, ours)]
        same = int((predicted[0] == predicted[1]).sum())
        equal = float((theirs.y.reshape(-1) == ours.y.reshape(-1)).mean())
        right = int((predicted[0] == labels).sum())
        report.check(
            name, same == len(labels), f"{same} of {len(labels)} predictions and {equal:.4%} of bytes the same, {right} right"
        )


def _check_stripped(report: Report, tools: Tools, model: Path) -> None:
    stripped = tools.scratch_file("tflite")
    command = [str(tools.litesmith), "strip", str(model), "-o", str(stripped), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        report.check(f"strip {model.name}", False, done.stderr.strip())
        return
    for mode in MODES:
        before, after = (tools.litert(path, mode, "-", 0).result() for path in (model, stripped))
        if before.error or after.error:
            report.check(f"strip {model.name} {mode}", False, f"before: {before.error or 'ran'}; after: {after.error or 'ran'}")
            continue
        same = len(before.ys) == len(after.ys) and all(np.array_equal(x, y) for x, y in zip(before.ys, after.ys))
        sizes = f"{model.stat().st_size} to {stripped.stat().st_size} bytes"
        report.check(f"strip {model.name} {mode}", same, f"{sizes}, outputs {'the same' if same else 'differ'}")

"""What `litesmith quantize` writes beyond the six files of the demo: it loads in LiteRT, and both compute the same.

Two networks, quantized in every way of ROWS, on images of MNIST, under both numerics modes; one of them as trained, too.
"""

import subprocess
from pathlib import Path

import numpy as np

from compare_common import MODES, Report, Tools, as_input, difference
from compare_mnist import FLOAT_TOLERANCE, test_set
from compare_models import STEP_BOUND, Kind, inspect, kind

IMAGES = 500
# Name and flags. `{}` stands for the data to calibrate with.
ROWS = {
    "int8-per-tensor": "--granularity per-tensor --calibrate {}",
    "int16x8-per-tensor": "--type int16x8 --granularity per-tensor --calibrate {}",
    "dynamic-per-tensor": "--type dynamic --granularity per-tensor --rule *=dynamic",
    "int8-kl-uint8io": "--calibrator kl --io uint8 --calibrate {}",
    "int8-percentile": "--calibrator percentile --percentile 99.9 --calibrate {}",
    "int8-minmax": "--calibrator minmax --bias-correction=false --calibrate {}",
    "int8-moving-average": "--calibrator moving_average --calibrate {}",
    "int4": "--weights int4 --calibrate {}",
    "int4-per-tensor": "--weights int4 --granularity per-tensor --calibrate {}",
    "int4-int8io": "--weights int4 --io int8 --calibrate {}",
    "int4-int16": "--type int16x8 --weights int4 --calibrate {}",
    "int4-dynamic": "--type dynamic --weights int4 --rule *=dynamic",
    "int4-blockwise": "--type dynamic --weights int4 --granularity blockwise-32",
    "int4-blockwise-adaround": "--type dynamic --weights int4 --granularity blockwise-64 --adaround --adaround-iterations 20 --calibrate {}",
    "weight-only": "--type weight-only",
    "weight-only-int4": "--type weight-only --weights int4",
    "weight-only-int4-per-tensor": "--type weight-only --weights int4 --granularity per-tensor",
    "keep-float-first": "--keep-float node:0 --calibrate {}",
    "mixed-int16": "--rule op:CONV_2D=int16x8 --calibrate {}",
    "mixed-int4-float16": "--rule op:CONV_2D=w4 --rule op:FULLY_CONNECTED=float16 --calibrate {}",
    "equalized": "--equalize --granularity per-tensor --calibrate {}",
    "adaround-int4": "--weights int4 --adaround --adaround-iterations 50 --bn-reestimation --calibrate {}",
}


def check(report: Report, tools: Tools, demo: Path, mnist: Path) -> None:
    """Every row for both networks."""
    images, _ = test_set(mnist)
    data = f"mnist:{mnist}"
    separable = tools.scratch / "separable.tflite"
    architecture = Path(__file__).resolve().parent / "separable.toml"
    trained = ["train", "--arch", architecture, "--data", data, "--epochs", "1", "--batch-size", "128", "-o", separable]
    if not _litesmith(report, tools, "separable", *trained, "--quiet"):
        return
    networks = {"mnist-cnn": demo / "mnist-cnn-f32.tflite", "separable": separable}
    # As training writes it: a depthwise layer of it has no bias of its own.
    waiting = [("separable as trained", separable, _start(tools, separable, images[:IMAGES]))]
    for network, path in networks.items():
        for name, flags in ROWS.items():
            model = tools.scratch / f"{network}-{name}.tflite"
            words = [word.replace("{}", data) for word in flags.split()]
            title = f"{network} {name}"
            if _litesmith(report, tools, title, "quantize", path, *words, "-o", model, "--samples", "100", "--quiet"):
                waiting.append((title, model, _start(tools, model, images[:IMAGES])))
    for title, model, (sides, seen) in waiting:
        _judge(report, title, model, sides, seen)


def _litesmith(report: Report, tools: Tools, title: str, *words) -> bool:
    done = subprocess.run([tools.litesmith, *map(str, words)], capture_output=True, text=True, check=False)
    return done.returncode == 0 or report.check(title, False, done.stderr.strip()[-400:])


def _start(tools: Tools, model: Path, images: np.ndarray):
    probe = tools.litert(model, "litert", "-", 0).result()
    seen = inspect(tools, model)
    if probe.error:
        return {"probe": probe}, seen
    about = probe.about["inputs"][0]
    x = tools.scratch_file()
    np.save(x, as_input(images.reshape(-1, *about["shape"][1:]), about))
    sides = {(mode, "theirs"): tools.litert(model, mode, x, IMAGES) for mode in MODES}
    sides |= {(mode, "ours"): tools.ours(model, mode, x) for mode in MODES}
    return {"probe": probe} | sides, seen


def _judge(report: Report, title: str, model: Path, sides: dict, seen: dict) -> None:
    probe = sides["probe"]
    if probe.error or probe.complaints():
        report.check(title, False, f"LiteRT {probe.error} {'; '.join(probe.complaints())}")
        return
    size = model.stat().st_size
    what = kind(seen)
    for mode in MODES:
        ours, theirs = (sides[mode, side].result() for side in ("ours", "theirs"))
        label = f"{title} --numerics {mode}"
        if mode == "reference" and _has_blocks(seen):
            report.check(label, not ours.error, f"{size:,} bytes; LiteRT's reference kernels know no blocks; {ours.error}")
            continue
        if theirs.error and mode == "reference" and _refused_by_reference(seen):
            # Its table of versions ends before that of int4 depthwise weights.
            report.check(label, not ours.error, f"{size:,} bytes; LiteRT's reference kernels refuse the version; {ours.error}")
            continue
        if ours.error or theirs.error:
            report.check(label, False, f"litesmith {ours.error}, LiteRT {theirs.error}")
            continue
        apart = difference(ours.y, theirs.y)
        good = {
            Kind.INTEGER: apart.exact(),
            Kind.FLOAT: apart.relative <= FLOAT_TOLERANCE and apart.same_top1(),
            Kind.STEPPED: apart.relative <= STEP_BOUND,
        }[what]
        report.check(label, apart.shapes and good, f"{size:,} bytes; {apart}")


def _has_blocks(seen: dict) -> bool:
    """Whether the model has weights with a scale for each block, which the reference kernels take for others without a word."""
    tensors = (tensor for graph in seen["subgraphs"] for tensor in graph["tensors"])
    return any(tensor["quantization"] and tensor["quantization"].get("blocks") for tensor in tensors)


def _refused_by_reference(seen: dict) -> bool:
    """Whether the model has a DEPTHWISE_CONV_2D of int4 weights."""
    graph = seen["subgraphs"][0]
    depthwise = [op for op in graph["ops"] if op["op"] == "DEPTHWISE_CONV_2D"]
    return any(graph["tensors"][op["inputs"][1]]["dtype"] == "int4" for op in depthwise)

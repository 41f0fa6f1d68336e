"""Pruned models on 1,000 test images of MNIST: sparse files in LiteRT beside dense ones of the same weights, and beside ours."""

import subprocess
from pathlib import Path

import numpy as np

from compare_common import MODES, Report, Tools, as_input, difference
from compare_mnist import FLOAT_TOLERANCE, test_set

IMAGES = 1000
# What is asked of `litesmith prune` and, afterwards, of `litesmith quantize`.
FORMS = {
    "half of the channels": (["--structured", "0.5"], []),
    "90 % sparse": (["--sparsity", "0.9"], []),
    "2:4": (["--pattern", "2:4"], []),
    "blocks of 1x4": (["--pattern", "block:1x4", "--sparsity", "0.75"], []),
    "90 % sparse, float16": (["--sparsity", "0.9"], ["--type", "float16"]),
}


def check(report: Report, tools: Tools, demo: Path, mnist: Path) -> None:
    """LiteRT loads each file, computes what it computes for the dense one, and what Litesmith computes."""
    images, _ = test_set(mnist)
    for name, (prune, quantize) in FORMS.items():
        files = {}
        for storage in ("dense", "sparse"):
            flag = ["--sparse"] if storage == "sparse" else []
            model, pruned = demo / "mnist-cnn-f32.tflite", tools.scratch_file("tflite")
            error = _run(tools, ["prune", model, *prune, "-o", pruned, *([] if quantize else flag)])
            files[storage] = pruned
            if quantize:
                files[storage] = tools.scratch_file("tflite")
                error = error or _run(tools, ["quantize", pruned, *quantize, "-o", files[storage], *flag])
            if error:
                report.check(f"prune {name}", False, error)
                break
        else:
            _compare(report, tools, name, files, images[:IMAGES])


def _run(tools: Tools, arguments: list) -> str:
    command = [str(tools.litesmith), *map(str, arguments), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def _compare(report: Report, tools: Tools, name: str, files: dict, images: np.ndarray) -> None:
    sizes = {storage: path.stat().st_size for storage, path in files.items()}
    if "channels" not in name:
        detail = f"{sizes['sparse']:,} bytes, dense {sizes['dense']:,}"
        report.check(f"prune {name} is smaller sparse", sizes["sparse"] < sizes["dense"], detail)
    probe = tools.litert(files["dense"], "litert", "-", 0).result()
    if probe.error:
        report.check(f"prune {name} loads", False, f"LiteRT {probe.error}")
        return
    about = probe.about["inputs"][0]
    x = tools.scratch_file()
    np.save(x, as_input(images.reshape(-1, *about["shape"][1:]), about))
    for mode in MODES:
        dense, sparse = (tools.litert(files[storage], mode, x, 100).result() for storage in ("dense", "sparse"))
        ours = tools.ours(files["sparse"], mode, x).result()
        for other, run in (("LiteRT dense", dense), ("Litesmith", ours)):
            title = f"prune {name} --numerics {mode}, LiteRT sparse beside {other}"
            if sparse.error or run.error:
                report.check(title, False, f"sparse {sparse.error or 'ran'}; {other} {run.error or 'ran'}")
                continue
            apart = difference(run.y, sparse.y)
            report.check(title, apart.same_top1() and apart.relative <= FLOAT_TOLERANCE, str(apart))

#!/usr/bin/env python3
"""Quantize the float networks of MLPerf Tiny and put the result beside the int8 files that MLPerf ships, all run by LiteRT.

    python benchmarks/compress/mlperf_tiny.py MODELS --litesmith target/release/litesmith

in an environment with `requirements.txt`. MODELS is a folder with the reference models of mlcommons/tiny, found by their names
anywhere below it. `inputs.py` makes the inputs: for each seed S, calibration inputs from the generator seeded with `2 S`,
held-back ones from `2 S + 1`. Inputs that the reference's grids cannot express, at its input or its output, are left out of both,
so that it is not judged on what it was not made for. The error of a model is the mean over held-back inputs and outputs of the
absolute difference to the float model, as a share of the range of the float outputs.

Results go to `benchmarks/record/DATE-mlperf-tiny.{json,md}`. Exit status 1 if ours, by default, has a larger mean error than the
reference on any network.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ai_edge_litert import __version__ as litert_version
from ai_edge_litert.interpreter import Interpreter

import inputs

ROOT = Path(__file__).resolve().parent.parent.parent
@dataclass
class Network:
    """What MLPerf ships, and what it is fed."""

    float_file: str
    int8_file: str
    about: str
    # Samples from a seed and a number: bytes of images, or real numbers.
    make: Callable[[int, int], np.ndarray]
    # The model's input is a sample divided by this, as flags say where it is an image.
    divisor: float = 1
    flags: str = ""


NETWORKS = {
    "resnet-8": Network(
        "pretrainedResnet.tflite", "pretrainedResnet_quant.tflite", "images of 32 x 32, 0 to 255",
        partial(inputs.images, size=32), 1, "--mean 0 --std 1",
    ),
    "vww-mobilenet": Network(
        "vww_96_float.tflite", "vww_96_int8.tflite", "images of 96 x 96, 0 to 1",
        partial(inputs.images, size=96), 255, "--mean 0 --std 255",
    ),
    "ad-autoencoder": Network(
        "ad01_fp32.tflite", "ad01_int8.tflite", "5 frames of 128 mel bands of machine sounds, in dB", inputs.machine_frames,
    ),
}  # fmt: skip
REFERENCE, DEFAULT, PLAIN = "reference int8", "default", "min-max, biases as they are"
# Name: flags of `litesmith quantize`. By default it calibrates by squared error and corrects biases.
VARIANTS = {
    DEFAULT: "",
    PLAIN: "--calibrator minmax --bias-correction=false",
    "min-max": "--calibrator minmax",
    "mse, biases as they are": "--bias-correction=false",
    "moving average": "--calibrator moving_average",
    "percentile": "--calibrator percentile",
    "percentile, biases as they are": "--calibrator percentile --bias-correction=false",
    "kl": "--calibrator kl",
    "equalized": "--equalize",
    "equalized, min-max, biases as they are": "--equalize --calibrator minmax --bias-correction=false",
    "adaround": "--adaround",
    "adaround, min-max, biases as they are": "--adaround --calibrator minmax --bias-correction=false",
    "per tensor": "--granularity per-tensor",
    "per tensor, equalized": "--granularity per-tensor --equalize",
}


def say(message):
    print(message, file=sys.stderr, flush=True)


class Model:
    """A model of one input and one output in LiteRT, real numbers on both sides."""

    def __init__(self, path):
        self.path, self.runner = path, Interpreter(model_path=str(path), num_threads=1)
        self.runner.allocate_tensors()
        (self.input,), (self.output,) = self.runner.get_input_details(), self.runner.get_output_details()

    def grid(self, side):
        """The smallest and largest real number that the input or output expresses."""
        scale, zero_point = side["quantization"]
        return (-128 - zero_point) * scale, (127 - zero_point) * scale

    def __call__(self, samples):
        found = []
        for sample in samples:
            if self.input["dtype"] == np.int8:
                scale, zero_point = self.input["quantization"]
                sample = np.clip(np.round(sample / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
            self.runner.set_tensor(self.input["index"], sample.reshape(self.input["shape"]))
            self.runner.invoke()
            found.append(self.runner.get_tensor(self.output["index"])[0])
        found = np.stack(found)
        if self.output["dtype"] == np.int8:
            scale, zero_point = self.output["quantization"]
            found = (found.astype(np.float32) - zero_point) * np.float32(scale)
        return found


def usable(network, seed, count, exact, reference):
    """`count` samples within the reference's grids, as inputs; the float model's outputs; the share that was left out."""
    samples = network.make(seed, count * 5 // 4)
    real = samples.astype(np.float32) / np.float32(network.divisor)
    outputs = exact(real)
    fits = np.ones(len(samples), bool)
    for values, side in ((real, reference.input), (outputs, reference.output)):
        low, high = reference.grid(side)
        step = side["quantization"][0]
        values = values.reshape(len(samples), -1)
        fits &= (values.min(1) >= low - step) & (values.max(1) <= high + step)
    if fits.sum() < count:
        sys.exit(f"error: {reference.path.name}: {fits.sum()} of {len(samples)} inputs are within its grids, expected {count}")
    return samples[fits][:count], real[fits][:count], outputs[fits][:count], float(1 - fits.mean())


def judge(outputs, exact):
    """How far outputs are from those of the float model."""
    error = np.abs(outputs - exact) / (exact.max() - exact.min())
    return {
        "mean": float(error.mean()),
        "max": float(error.max()),
        "agreement": float((outputs.argmax(1) == exact.argmax(1)).mean()),
    }


def measure(name, seed, args, scratch):
    """All variants of one network with the inputs of one seed."""
    network = NETWORKS[name]
    models = []
    for file in (network.float_file, network.int8_file):
        path = next(iter(sorted(args.models.rglob(file))), None)
        if path is None:
            sys.exit(f"error: there is no {file} below {args.models}")
        models.append(Model(path))
    exact_model, reference = models
    calibration, _, _, _ = usable(network, 2 * seed, args.calibration, exact_model, reference)
    _, held_back, exact, left_out = usable(network, 2 * seed + 1, args.held_back, exact_model, reference)

    # A data set has images: rows of features are images of one row.
    calibration = calibration if calibration.ndim == 4 else calibration[:, None, :, None]
    data = [scratch / "x.npy", scratch / "y.npy"]
    np.save(data[0], calibration)
    np.save(data[1], np.zeros(len(calibration), np.int64))
    rows = {REFERENCE: judge(reference(held_back), exact) | {"bytes": reference.path.stat().st_size}}
    for variant, flags in args.variants.items():
        target = scratch / "ours.tflite"
        command = [args.litesmith, "quantize", exact_model.path, "--io", "int8", "--calibrate", f"npy:{data[0]},{data[1]}"]
        command += [*network.flags.split(), *flags.split(), "--samples", args.calibration, "-o", target, "--force", "--quiet"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            rows[variant] = {"failed": done.stderr.strip()}
            say(f"{name}, {variant}: {done.stderr.strip()}")
            continue
        rows[variant] = judge(Model(target)(held_back), exact) | {"bytes": target.stat().st_size}
        target.unlink()
    say(f"{name}, seed {seed}: " + ", ".join(f"{v} {100 * r['mean']:.3f} %" for v, r in rows.items() if "mean" in r))
    return {
        "left_out": left_out,
        "range": [float(exact.min()), float(exact.max())],
        "classes": len(np.unique(exact.argmax(1))),
        "rows": rows,
    }


def markdown(record):
    """One table for each network: means over the seeds, and the ranges of the mean error."""
    seeds, networks = record["seeds"], record["networks"]
    names = lambda rows: [name for name in rows if "mean" in rows[name]]
    mean = lambda runs, row, key: statistics.mean(run["rows"][row][key] for run in runs)
    lines = [
        f"# Int8 networks of MLPerf Tiny, {record['date']}",
        "",
        "The float networks of mlcommons/tiny, quantized by `litesmith quantize --io int8` and, as the reference, by MLPerf with "
        f"TensorFlow's converter; both run by LiteRT {record['litert']}. Litesmith at commit {record['commit'][:12]}. "
        f"`{record['command']}` makes this page.",
        "",
        f"Seeds {', '.join(map(str, seeds))}. For each seed S {record['calibration']} inputs to calibrate, from the generator seeded "
        f"with 2 S, and {record['held_back']} held-back ones from that of 2 S + 1, from which alone the errors are. Errors are absolute "
        "differences to the float model in per cent of the range of its outputs: their mean over inputs and outputs, the least and "
        "largest mean of a seed, and the largest single one. Top-1: where the largest output is that of the float model.",
        "",
        "The inputs are made ([inputs.py](../compress/inputs.py)): images of things that cover each other, textured, under uneven "
        "light; log-mel frames of sounds of a motor, noise and clicks. MLPerf calibrated the reference on the real data of each task, "
        "we on our own inputs, which are like those that both are judged on. The reference of the autoencoder has one scale for each "
        "layer's weights, ours one for each channel unless it says per tensor. In favour of the reference, inputs that it would clip at "
        "its input or output are left out.",
        "",
        f"| network | reference: mean error | ours | of the reference's | ours, `{VARIANTS[PLAIN]}` | bytes, reference | ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in networks.items():
        theirs, ours, plain = (mean(runs, row, "mean") for row in (REFERENCE, DEFAULT, PLAIN))
        lines.append(
            f"| {name} | {100 * theirs:.3f} % | **{100 * ours:.3f} %** | {100 * ours / theirs:.0f} % | {100 * plain:.3f} % "
            f"| {mean(runs, REFERENCE, 'bytes'):,.0f} | {mean(runs, DEFAULT, 'bytes'):,.0f} |"
        )
    for name, runs in networks.items():
        low, high = min(run["range"][0] for run in runs), max(run["range"][1] for run in runs)
        lines += [
            "",
            f"## {name}",
            "",
            f"`{NETWORKS[name].float_file}` and `{NETWORKS[name].int8_file}`: {NETWORKS[name].about}. Float outputs from {low:.3g} to {high:.3g}, "
            f"{min(run['classes'] for run in runs)} or more different top-1 answers, "
            f"{100 * statistics.mean(run['left_out'] for run in runs):.1f} % of the inputs left out.",
            "",
            "| int8 model | flags | mean error | of the seeds | largest | top-1 as float | bytes |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in names(runs[0]["rows"]):
            means = [100 * run["rows"][row]["mean"] for run in runs]
            flags = VARIANTS.get(row)
            lines.append(
                f"| {row} | {f'`{flags}`' if flags else ''} | {statistics.mean(means):.3f} % | {min(means):.3f} to {max(means):.3f} "
                f"| {100 * max(run['rows'][row]['max'] for run in runs):.1f} % | {100 * mean(runs, row, 'agreement'):.1f} % "
                f"| {mean(runs, row, 'bytes'):,.0f} |"
            )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="folder with the reference models")
    parser.add_argument("--litesmith", type=Path, default=ROOT / "target/release/litesmith")
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated [%(default)s]")
    parser.add_argument("--calibration", type=int, default=200, help="inputs to calibrate with [%(default)s]")
    parser.add_argument("--held-back", type=int, default=300, help="inputs to measure errors on [%(default)s]")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="comma-separated [%(default)s]")
    parser.add_argument("--only", help="semicolon-separated names of variants, besides the default and plain min-max")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/record")
    args = parser.parse_args()
    args.seeds, args.networks = [int(seed) for seed in args.seeds.split(",")], args.networks.split(",")
    wanted = VARIANTS if args.only is None else [DEFAULT, PLAIN, *filter(None, args.only.split(";"))]
    for name in args.networks:
        if name not in NETWORKS:
            parser.error(f"there is no network {name}; there are {', '.join(NETWORKS)}")
    for name in wanted:
        if name not in VARIANTS:
            parser.error(f"there is no variant {name}; there are {', '.join(VARIANTS)}")
    args.variants = {name: VARIANTS[name] for name in wanted}

    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    record = {
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip(),
        "command": "benchmarks/compress/mlperf_tiny.py",
        "litert": litert_version,
        "seeds": args.seeds,
        "calibration": args.calibration,
        "held_back": args.held_back,
        "networks": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.networks:
            record["networks"][name] = [measure(name, seed, args, Path(scratch)) for seed in args.seeds]
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / f"{record['date']}-mlperf-tiny"
    stem.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(markdown(record), encoding="utf-8")
    print(stem.with_suffix(".md"))
    worse = [
        name
        for name, runs in record["networks"].items()
        if statistics.mean(run["rows"][DEFAULT]["mean"] - run["rows"][REFERENCE]["mean"] for run in runs) > 0
    ]
    if worse:
        sys.exit(f"ours has the larger mean error: {', '.join(worse)}")


if __name__ == "__main__":
    main()

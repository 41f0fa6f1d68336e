"""Running both sides, and saying how far two outputs are apart."""

import itertools
import json
import re
import subprocess
import sys
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 600
# TensorFlow Lite's own logger writes `WARNING: ..`; Abseil's writes `W0000 00:00:..`.
COMPLAINT = re.compile(r"^\s*(WARNING|ERROR|FATAL|[WEF]\d{4} )", re.MULTILINE)
# The names of the two numerics modes here, and what LiteRT calls them.
MODES = {"litert": "auto", "reference": "reference"}


@dataclass
class Report:
    """Every check made, in order, and the table of other models."""

    checks: list = field(default_factory=list)
    models: list = field(default_factory=list)

    def check(self, name: str, ok: bool, detail: str) -> bool:
        self.checks.append({"name": name, "ok": bool(ok), "detail": detail})
        print(f"{'ok  ' if ok else 'FAIL'} {name}: {detail}", flush=True)
        return bool(ok)


@dataclass
class Run:
    """One side's answer: the outputs, what was said on stderr, and why there is no output, if there is none."""

    ys: list = field(default_factory=list)
    about: dict = field(default_factory=dict)
    stderr: str = ""
    error: str = ""
    status: int = 0

    @property
    def y(self) -> np.ndarray:
        """The first output."""
        return self.ys[0]

    def complaints(self) -> list:
        return [line for line in self.stderr.splitlines() if COMPLAINT.match(line)]


@dataclass
class Tools:
    """The two programs, a scratch folder, and the pool that runs them a few at a time."""

    litesmith: Path
    scratch: Path
    pool: Executor
    counter: itertools.count = field(default_factory=itertools.count)

    def scratch_file(self, extension: str = "npy") -> Path:
        return self.scratch / f"{next(self.counter)}.{extension}"

    def _run(self, command: list, y_paths: list) -> Run:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as late:
            return Run(stderr=(late.stderr or b"").decode(errors="replace"), error=f"no answer in {TIMEOUT_S} s", status=-1)
        result = Run(stderr=done.stderr, status=done.returncode)
        if done.returncode != 0:
            said = " / ".join(done.stderr.strip().splitlines()[-3:])
            how = f"killed by signal {-done.returncode}" if done.returncode < 0 else f"left with status {done.returncode}"
            result.error = f"{how}: {said[:400]}"
            return result
        try:
            for path in y_paths:
                file = np.load(path)
                result.ys += [file[str(i)] for i in range(len(file.files))] if path.suffix == ".npz" else [file]
        except (OSError, ValueError) as error:
            result.error = f"its outputs could not be read: {error}"
            return result
        finally:
            for path in y_paths:
                path.unlink(missing_ok=True)
        if done.stdout.strip().startswith("{"):
            result.about = json.loads(done.stdout.strip().splitlines()[-1])
        return result

    def litert(self, model: Path, mode: str, x: str, batch: int, signature: str = ""):
        """LiteRT's outputs, as a future. `x` is a path, several with commas, or `-` for inputs drawn from a fixed seed."""
        y = self.scratch_file("npz")
        command = [sys.executable, str(HERE / "compare_litert.py"), str(model), MODES[mode], str(x), str(y), str(batch)]
        command += [signature] if signature else []
        return self.pool.submit(self._run, command, [y])

    def ours(self, model: Path, mode: str, *xs, threads: int = 1, signature: str = "", outputs: list = ("",)):
        """Litesmith's raw outputs for the inputs, in order or as `NAME=FILE`, as a future; `outputs` are names, empty for in order."""
        ys = [self.scratch_file() for _ in outputs]
        command = [str(self.litesmith), "run", str(model)]
        command += [word for name, y in zip(outputs, ys) for word in ("--output-raw", f"{name}={y}" if name else str(y))]
        command += [word for x in xs for word in ("--input", str(x))]
        command += ["--signature", signature] if signature else []
        command += ["--numerics", mode, "--threads", str(threads)]
        return self.pool.submit(self._run, command, ys)


def as_input(images: np.ndarray, about: dict) -> np.ndarray:
    """Images in [0, 1] as the tensor that the model's input describes: float, or quantized with its scale."""
    dtype = np.dtype(about["dtype"])
    if dtype.kind == "f":
        return images.astype(dtype)
    info = np.iinfo(dtype)
    # float32 throughout, as the QUANTIZE op computes it.
    q = np.round(images / np.float32(about["scales"][0])) + about["zero_points"][0]
    return np.clip(q, info.min, info.max).astype(dtype)


@dataclass
class Difference:
    """How far our output is from LiteRT's."""

    shapes: bool
    equal: int = 0
    total: int = 0
    rows_equal: int = 0
    rows: int = 0
    top1_equal: int = 0
    largest: float = 0.0
    relative: float = 0.0

    def exact(self) -> bool:
        return self.shapes and self.equal == self.total

    def same_top1(self) -> bool:
        return self.shapes and self.top1_equal == self.rows

    def __str__(self) -> str:
        if not self.shapes:
            return "the outputs have different shapes or types"
        if self.exact():
            return f"{self.rows} outputs, all bytes equal"
        return (
            f"{self.rows} outputs, {self.total - self.equal} of {self.total} elements differ, "
            f"by {self.largest:.3g} at most ({self.relative:.2e} of the range); "
            f"{self.rows - self.top1_equal} have another top-1"
        )


def difference(ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """Compare two outputs element by element and, along the last axis, by the largest element."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return Difference(shapes=False)
    rows = theirs.reshape(len(theirs) if theirs.ndim else 1, -1)
    mine = ours.reshape(rows.shape)
    # Bytes, so that -0.0 and NaN count as they are stored.
    size = theirs.dtype.itemsize
    same = (
        (np.ascontiguousarray(mine).view(np.uint8) == np.ascontiguousarray(rows).view(np.uint8))
        .reshape(*rows.shape, size)
        .all(axis=2)
    )
    with np.errstate(invalid="ignore"):
        apart = np.abs(mine.astype(np.float64) - rows.astype(np.float64))
    # Whatever bits a NaN has, and for infinities, whose difference is NaN.
    apart[(np.isnan(mine) & np.isnan(rows)) | (mine == rows)] = 0.0
    finite = rows[np.isfinite(rows)]
    # With zero in it, as quantization has it: an output of nearly equal values would have next to no range.
    spread = max(float(finite.max()), 0.0) - min(float(finite.min()), 0.0) if finite.size else 0.0
    largest = float(apart.max()) if apart.size else 0.0
    return Difference(
        shapes=True,
        equal=int(same.sum()),
        total=int(same.size),
        rows_equal=int(same.all(axis=1).sum()),
        rows=len(rows),
        top1_equal=int((mine.argmax(axis=1) == rows.argmax(axis=1)).sum()) if rows.size else len(rows),
        largest=largest,
        relative=largest / spread if spread else (0.0 if largest == 0 else float("inf")),
    )

#!/usr/bin/env python3
"""Compare Litesmith with the real LiteRT interpreter.

    python3 oracle/run.py --litesmith target/release/litesmith --demo litesmith-demo

Needs Python 3.9 to 3.11 with `venv` and a package index; installs everything else into virtual environments under
`target/oracle-venv` (or $LITESMITH_ORACLE_VENV), kept between runs. Prints one line a check and ends with
`N passed, N failed`. Exit status: 0 all agree, 1 something differs, 2 could not run (nothing is ever skipped).
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PYTHONS = ["python3.11", "python3.10", "python3.9"]  # the versions for which every pinned wheel exists


def fail(message: str, hint: str = "") -> None:
    """Print an error and leave with status 2: the comparison could not be made."""
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    sys.exit(2)


def usable(python: str) -> bool:
    """Whether `python` starts, is of a version that the pinned wheels support, and can make virtual environments."""
    test = "import sys, venv, ensurepip; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))"
    try:
        return subprocess.run([python, "-c", test], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_python() -> str:
    """The interpreter that the virtual environments are made with."""
    wanted = os.environ.get("LITESMITH_ORACLE_PYTHON")
    for python in [wanted] if wanted else [sys.executable, *PYTHONS]:
        if usable(python):
            return python
    fail("no Python 3.9 to 3.11 with venv was found", "set LITESMITH_ORACLE_PYTHON to one")
    raise AssertionError


def environment(folder: Path, requirements: Path) -> Path:
    """Make the virtual environment `folder` from `requirements` unless it is there already; its python is returned."""
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    mark = folder / "installed.sha256"
    python = folder / "bin" / "python"
    if mark.is_file() and mark.read_text() == wanted and usable(str(python)):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {requirements.name} into {folder}", file=sys.stderr)
    steps = [
        [find_python(), "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)],
    ]
    for step in steps:
        done = subprocess.run(step, stdout=sys.stderr, check=False)
        if done.returncode != 0:
            fail(f"the oracle could not be installed: {' '.join(step)} left with status {done.returncode}")
    mark.write_text(wanted)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litesmith", type=Path, default=ROOT / "target/release/litesmith", help="the built tool")
    parser.add_argument("--demo", type=Path, help="folder that `litesmith demo` wrote; made here when left out")
    parser.add_argument("--mnist", type=Path, default=ROOT / "data/mnist", help="folder of the four IDX files")
    parser.add_argument("--only", choices=["mnist", "metadata", "quantize", "models", "prune", "zoo"], help="one part instead of all")
    parser.add_argument("--models", type=Path, help="folder of other .tflite files (default: $LITESMITH_MODELS)")
    parser.add_argument("--json", type=Path, help="also write every check to this file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    args = parser.parse_args()

    tool = args.litesmith.resolve()
    if not os.access(tool, os.X_OK):
        fail(f"{args.litesmith} is not an executable", "cargo build --release")
    cache = Path(os.environ.get("LITESMITH_ORACLE_VENV") or ROOT / "target/oracle-venv").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    # Two runs at once must not install into one folder.
    with open(cache / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        litert = environment(cache / "litert", HERE / "requirements.txt")
        metadata = environment(cache / "metadata", HERE / "requirements-metadata.txt")

    demo = args.demo
    if demo is None and args.only not in ("models", "zoo"):
        demo = cache / "demo"
        done = subprocess.run([str(tool), "demo", "--out", str(demo)], stdout=sys.stderr, check=False)
        if done.returncode != 0:
            fail(f"litesmith demo left with status {done.returncode}")

    command = [str(litert), str(HERE / "compare.py"), "--litesmith", str(tool), "--mnist", str(args.mnist)]
    command += ["--jobs", str(args.jobs), "--metadata-python", str(metadata)]
    models = args.models or os.environ.get("LITESMITH_MODELS")
    command += ["--demo", str(demo)] if demo else []
    command += ["--models", str(models)] if models else []
    command += ["--only", args.only] if args.only else []
    command += ["--json", str(args.json)] if args.json else []
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()

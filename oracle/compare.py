"""The comparison itself; `run.py` starts it inside the virtual environment. See README.md for what is checked."""

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import compare_mnist
import compare_models
import compare_prune
import compare_quantize
import compare_zoo
from compare_common import Report, Tools


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--litesmith", type=Path, required=True)
    parser.add_argument("--demo", type=Path)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--metadata-python", type=Path, required=True)
    parser.add_argument("--only", choices=["mnist", "metadata", "quantize", "models", "prune", "zoo"])
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    report = Report()
    with tempfile.TemporaryDirectory(prefix="litesmith-oracle-") as scratch, ThreadPoolExecutor(args.jobs) as pool:
        tools = Tools(litesmith=args.litesmith, scratch=Path(scratch), pool=pool)
        if args.only in (None, "mnist"):
            compare_mnist.check(report, tools, args.demo, args.mnist)
        if args.only in (None, "metadata"):
            compare_mnist.check_metadata(report, args.demo, args.metadata_python)
        if args.only in (None, "quantize"):
            compare_quantize.check(report, tools, args.demo, args.mnist)
        if args.only in (None, "prune"):
            compare_prune.check(report, tools, args.demo, args.mnist)
        if args.only in (None, "zoo"):
            compare_zoo.check(report, tools, args.mnist)
        if args.only in (None, "models") and args.models is not None:
            compare_models.check(report, tools, args.models)
    if args.json:
        args.json.write_text(json.dumps({"checks": report.checks, "models": report.models}, indent=1) + "\n")
    passed = sum(check["ok"] for check in report.checks)
    failed = len(report.checks) - passed
    print(f"oracle: {passed} passed, {failed} failed")
    sys.exit(0 if failed == 0 and passed > 0 else 1)


if __name__ == "__main__":
    main()

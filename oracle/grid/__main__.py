"""python -m grid: see the package's description."""

import argparse
import importlib
import pathlib
import pkgutil

import grid
from grid.record import MODES, Oracle, generator, record


def main():
    """Record the families, or ops of them, that are asked for."""
    parser = argparse.ArgumentParser(description="Records the op grid.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parents[2] / "testdata/grid")
    parser.add_argument("only", nargs="*", metavar="FAMILY[.OP]")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    oracles = {mode: Oracle(mode) for mode in MODES}
    known = set()
    for module in pkgutil.iter_modules(grid.__path__):
        if module.name in ("__main__", "exact", "exact_recurrent", "model", "record"):
            continue
        for op, cases in importlib.import_module(f"grid.{module.name}").OPS.items():
            known |= {module.name, f"{module.name}.{op}"}
            if not args.only or {module.name, f"{module.name}.{op}"} & set(args.only):
                record(op, cases(generator(op)), oracles, args.out)
    if unknown := set(args.only) - known:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")


if __name__ == "__main__":
    main()

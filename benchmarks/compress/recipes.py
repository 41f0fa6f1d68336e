#!/usr/bin/env python3
"""Carry recipes out from scratch, with several seeds, and record what came of each.

    cargo build --release
    python3 benchmarks/compress/recipes.py --litesmith target/release/litesmith --seeds 1,2,3 [NAME ...]

Each NAME is a folder of `recipes/`; all of them by default. Of the seeds of a recipe the one of the best validation accuracy is chosen
(of equals the first), and only the file of that one is shown the test images, once. Runs are added to
`benchmarks/record/recipes.json`, also those that others were better than; `recipes.md` is written from it. A run that is there already,
of the same recipe and seed, is not repeated, and one that was broken off goes on with the step that it was at: what steps made lies
under `--out`. The seconds are those of all steps, teachers included.
"""

import argparse
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def say(message):
    print(message, file=sys.stderr, flush=True)


def call(command, cwd=ROOT):
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(map(str, command))}\n{done.stderr}")
    return json.loads(done.stdout)


def digest(folder):
    """What a run depends on: the recipe and the files that it names, those of its teachers too, wherever they lie."""
    seen = []

    def visit(path):
        if path.resolve() not in seen:
            seen.append(path.resolve())
            for name in re.findall(r'"([^"]+\.toml)"', re.sub(r"^\s*#.*", "", path.read_text(), flags=re.M)):
                visit(path.parent / name)

    visit(folder / "recipe.toml")
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in seen)).hexdigest()[:16]


def zstd_bytes(path):
    if shutil.which("zstd") is None:
        return None
    return len(subprocess.run(["zstd", "-19", "-c", str(path)], capture_output=True, check=True).stdout)


def carry_out(tool, folder, seed, out, threads):
    """One run: the file, the validation accuracy after the last training, seconds of training."""
    path = out / f"{folder.name}-seed-{seed}.tflite"
    recipe = folder / "recipe.toml"
    made = call([tool, "compress", "--recipe", recipe, "--seed", seed, "-o", path, "--force", "--threads", threads,
                 "--keep", out / "kept", "--json"])  # fmt: skip
    accuracies = [re.search(r"validation accuracy ([\d.]+)", step["note"]) for step in made["steps"]]
    accuracies = [float(found.group(1)) for found in accuracies if found]
    return {
        "recipe": folder.name,
        "of": digest(folder),
        "seed": seed,
        "file": path.name,
        "bytes": path.stat().st_size,
        "gzip_bytes": len(gzip.compress(path.read_bytes(), 9)),
        "zstd_bytes": zstd_bytes(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "validation_accuracy": accuracies[-1] if accuracies else None,
        "validation_of_each_training": accuracies,
        "training_seconds": round(sum(step["seconds"] for step in made["steps"]), 1),
    }


def data_of(folder):
    return re.search(r'^data = "([^"]+)"', (folder / "recipe.toml").read_text(), re.M).group(1)


def chosen_of(runs, folder):
    """Of the runs of a recipe as it is now the one of the best validation accuracy, of equals that of the first seed."""
    mine = [run for run in runs if (run["recipe"], run["of"]) == (folder.name, digest(folder))]
    return max(mine, key=lambda run: (run["validation_accuracy"] or 0.0, -run["seed"]), default=None)


def finish(tool, folder, best, out):
    """Shows the chosen run the test images, and times it, unless that was done before."""
    if "test_accuracy" not in best:
        path = out / best["file"]
        result = call([tool, "eval", path, "--data", data_of(folder), "--json"])
        times = call([tool, "bench", path, "--threads", "1", "--json"])
        best["test_accuracy"] = round(100 * result["metrics"]["accuracy"], 4)
        best["test_samples"] = result["metrics"]["samples"]
        best["latency_us_1_thread"] = round(times["results"][0]["latency_ns_p50"] / 1000, 1)
        best["timed_on"] = cpu()


def table(runs, chosen):
    lines = [
        "| recipe | data | bytes | gzip -9 | zstd -19 | validation | test | latency, 1 thread | training, seconds | command |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in sorted(chosen, key=lambda run: run["bytes"]):
        data = data_of(ROOT / "recipes" / run["recipe"])
        zstd = "" if run["zstd_bytes"] is None else f"{run['zstd_bytes']:,}"
        right = round(run["test_accuracy"] * run["test_samples"] / 100)
        lines.append(
            f"| {run['recipe']} | {data} | {run['bytes']:,} | {run['gzip_bytes']:,} | {zstd} | {run['validation_accuracy']:.2f} % "
            f"| **{run['test_accuracy']:.2f} %** ({right:,} of {run['test_samples']:,}) | {run['latency_us_1_thread']} us, {run['timed_on']} "
            f"| {run['training_seconds']:.0f} | `litesmith compress --recipe recipes/{run['recipe']}/recipe.toml --seed {run['seed']} "
            f"-o {run['recipe']}.tflite` |"
        )
    lines += [
        "",
        "## Every run",
        "",
        "| recipe | seed | bytes | validation after each training | seconds | |",
        "|---|---|---|---|---|---|",
    ]
    for run in sorted(runs, key=lambda run: (run["recipe"], run["of"], run["seed"])):
        each = ", ".join(f"{accuracy:.2f} %" for accuracy in run["validation_of_each_training"])
        mark = "chosen" if any(run is one for one in chosen) else ""
        now = digest(ROOT / "recipes" / run["recipe"]) if (ROOT / "recipes" / run["recipe"]).is_dir() else None
        mark = mark if run["of"] == now else "an earlier form of the recipe"
        lines.append(f"| {run['recipe']} | {run['seed']} | {run['bytes']:,} | {each} | {run['training_seconds']:.0f} | {mark} |")
    return "\n".join(lines) + "\n"


def cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="folders of recipes/; all by default")
    parser.add_argument("--litesmith", type=Path, default=ROOT / "target/release/litesmith")
    parser.add_argument("--seeds", default="1", help="comma-separated")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--out", type=Path, default=ROOT / "target/recipes", help="where the files go")
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks/record", help="folder of recipes.json and recipes.md")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    args.record.mkdir(parents=True, exist_ok=True)
    tool = args.litesmith.resolve()
    record = args.record / "recipes.json"
    runs = json.loads(record.read_text())["runs"] if record.exists() else []
    folders = [path.parent for path in sorted((ROOT / "recipes").glob("*/recipe.toml"))]
    if unknown := set(args.names) - {folder.name for folder in folders}:
        sys.exit(f"error: no recipe {', '.join(sorted(unknown))}; there are {', '.join(folder.name for folder in folders)}")

    def save():
        chosen = [run for run in (chosen_of(runs, folder) for folder in folders) if run and "test_accuracy" in run]
        record.write_text(json.dumps({"threads": args.threads, "runs": runs}, indent=1) + "\n")
        head = (
            "# Recipes\n\nWritten by `benchmarks/compress/recipes.py`: models from scratch, chosen by validation samples that are taken "
            "from the training samples; the test samples are read once for each recipe, by its chosen file. "
            f"{args.threads} threads; seconds are those that passed, on machines that did other work besides.\n\n"
        )
        (args.record / "recipes.md").write_text(head + table(runs, chosen))

    for folder in folders:
        if args.names and folder.name not in args.names:
            continue
        of = digest(folder)
        for seed in map(int, args.seeds.split(",")):
            if any((run["recipe"], run["of"], run["seed"]) == (folder.name, of, seed) for run in runs):
                say(f"{folder.name}, seed {seed}: done before")
                continue
            say(f"{folder.name}, seed {seed}")
            runs.append(carry_out(tool, folder, seed, args.out, args.threads))
            say(f"  {runs[-1]['bytes']} bytes, validation {runs[-1]['validation_accuracy']} %, {runs[-1]['training_seconds']} s")
            save()
        if best := chosen_of(runs, folder):
            finish(tool, folder, best, args.out)
            say(f"{folder.name}: seed {best['seed']}, test {best['test_accuracy']} %")
            save()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Time inference with Litesmith and its peers, in interleaved rounds, and record how they compare.

    python3 benchmarks/infer/run.py --models DIR --rounds 5

DIR is what `models.py` made. Each round goes through models and thread counts and asks every engine in turn, each in a process
of its own that stays alive and is bound to the same cores, so that a drift of the machine touches all alike; ratios are taken
within a round. Where a host has put the cores of a virtual machine on one of its own, which it may do at any time, two threads are
no faster than one whatever they run: what was measured on two threads while they were there is measured again.
Python engines are installed into virtual environments under `--envs`; Litesmith, tract and rten are built from
`rust/` (the Rust peers have no run-time choice of their own to lose: all three are built for the baseline CPU and choose
at run time). Results go to `benchmarks/record/DATE-infer.{json,md}`.
"""

import argparse
import datetime
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Engine: the file it reads, by type.
ENGINES = {
    "litesmith": {"f32": "{}-f32.tflite", "int8": "{}-int8.tflite"},
    "litert": {"f32": "{}-f32.tflite", "int8": "{}-int8.tflite"},
    "onnxruntime": {"f32": "{}-f32.onnx", "int8": "{}-int8.onnx"},
    "openvino": {"f32": "{}-f32.onnx", "int8": "{}-int8.onnx"},
    "ncnn": {"f32": "{}.ncnn"},
    "mnn": {"f32": "{}-f32.mnn"},
    "tract": {"f32": "{}-f32.onnx", "int8": "{}-int8.onnx"},
    "rten": {"f32": "{}-f32.onnx", "int8": "{}-int8.onnx"},
}
RUST = ("litesmith", "tract", "rten")
# These have no threads of their own.
ONE_THREAD = ("tract",)
TIMEOUT_S = 300
# Two threads that take this many times as long as one for the same share a core.
SHARED = 1.2
# Seconds to wait for cores of their own, and how often a measurement is repeated.
PATIENCE_S, REPEATS = 5, 8


def say(message):
    print(message, file=sys.stderr, flush=True)


def call(command, **options):
    if subprocess.run([str(c) for c in command], stdout=sys.stderr, check=False, **options).returncode != 0:
        sys.exit(f"error: {' '.join(str(c) for c in command)} failed")


def commands(engines, envs):
    """The command line of each engine's worker."""
    found = {}
    if any(engine in RUST for engine in engines):
        target = envs / "rust"
        env = os.environ | {"CARGO_TARGET_DIR": str(target)}
        call(["cargo", "build", "--release", "--quiet", "--locked", "--manifest-path", HERE / "rust/Cargo.toml"], env=env)
    for engine in engines:
        if engine in RUST:
            found[engine] = [str(envs / "rust/release/infer-rust"), engine]
            continue
        folder = envs / engine
        python = folder / "bin/python"
        if not (folder / "complete").exists():
            say(f"installing {engine}")
            call([sys.executable, "-m", "venv", folder])
            call([python, "-m", "pip", "install", "--quiet", "-r", HERE / f"requirements-{engine}.txt"])
            (folder / "complete").touch()
        found[engine] = [str(python), str(HERE / "worker.py"), engine]
    return found


class Worker:
    """An engine with a number of threads, in a process that is started again when it dies."""

    def __init__(self, command, threads):
        self.command, self.threads, self.process = command, threads, None

    def ask(self, model, seconds):
        if self.process is None or self.process.poll() is not None:
            threads = str(self.threads)
            env = os.environ | {"RTEN_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
            cores = sorted(os.sched_getaffinity(0))[: self.threads]
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env=env, preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )  # fmt: skip
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(f"{model} {self.threads} {seconds}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"error": f"the process left with status {self.process.wait(TIMEOUT_S)}"}
        # Some engines' threads go on waiting in a loop, which is no work of the one that is asked next.
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.close()
            self.process.wait(TIMEOUT_S)


def share_a_core(probe, threads):
    """Whether threads of this number are not on cores of their own."""
    if threads == 1 or probe is None:
        return False
    cores = sorted(os.sched_getaffinity(0))[:2]
    command = [probe, "slowdown"]
    done = subprocess.run(command, capture_output=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    return float(done.stdout) > SHARED


def ask(worker, path, seconds, probe):
    """What a worker answers while its threads have cores of their own, and how often they had not."""
    for repeats in range(REPEATS + 1):
        begun = time.monotonic()
        while share_a_core(probe, worker.threads) and time.monotonic() - begun < PATIENCE_S:
            time.sleep(0.1)
        answer = worker.ask(path, seconds)
        if "error" in answer or not share_a_core(probe, worker.threads):
            break
    return answer, repeats


def machine():
    """What the numbers depend on."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in reversed(info.splitlines()) if ":" in line)
    fields = {k.strip(): v.strip() for k, v in fields.items()}
    known = ["avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cpu": fields.get("model name", platform.processor()),
        "family_model": f"{fields.get('cpu family')}/{fields.get('model')}",
        "isa": [f for f in known if f in fields.get("flags", "").split()],
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "commit": commit.stdout.strip(),
    }


def versions(engines, envs):
    """What was measured."""
    found = {}
    for engine in engines:
        if engine not in RUST:
            lines = (HERE / f"requirements-{engine}.txt").read_text(encoding="utf-8").splitlines()
            found |= dict(line.split("==") for line in lines if "==" in line and "numpy" not in line)
    for line in (HERE / "rust/Cargo.toml").read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(" = ")
        if name in ("rten", "tract-onnx"):
            found[name] = rest.split('"')[1].lstrip("=")
    return found


def markdown(record):
    """The tables: medians over the rounds of each round's median, in microseconds, and ratios."""
    where, engines = record["machine"], record["engines"]
    lines = [
        f"# Inference, {record['date']}",
        "",
        f"{where['cpu']} (family/model {where['family_model']}), {where['cores']} cores, {', '.join(where['isa'])}; batch 1, "
        f"{record['rounds']} interleaved rounds of {record['seconds']} s each, load before {where['load_before']:.2f}, "
        f"commit {where['commit'][:12]}.",
        "",
        "Microseconds: the median over the rounds of each round's median. `x` is how many times Litesmith is as fast as the fastest "
        "peer of the row, and as LiteRT, in the median of the rounds. Blank: the engine does not read that model, or has no such type.",
    ]
    for threads in record["threads"]:
        for dtype in record["dtypes"]:
            lines += ["", f"## {dtype}, {threads} thread{'s' if threads > 1 else ''}", ""]
            lines += ["| model | " + " | ".join(engines) + " | x fastest peer | x LiteRT |", "|---" * (len(engines) + 3) + "|"]
            for model in record["models"]:
                cells = {e: record["cells"].get(f"{model}|{dtype}|{threads}|{e}") for e in engines}
                medians = {e: statistics.median(c) / 1e3 for e, c in cells.items() if c}
                if not medians:
                    continue
                best = min(medians.values())
                shown = [f"**{medians[e]:,.0f}**" if medians.get(e) == best else f"{medians[e]:,.0f}" if e in medians else "" for e in engines]
                peers = [e for e in medians if e != "litesmith"]
                ratios = ["", ""]
                if "litesmith" in medians and peers:
                    fastest = min(peers, key=medians.get)
                    for at, peer in enumerate((fastest, "litert")):
                        if peer in medians:
                            pairs = zip(cells[peer], cells["litesmith"])
                            ratios[at] = f"{statistics.median(theirs / ours for theirs, ours in pairs):.2f}"
                            ratios[at] += f" ({fastest})" if at == 0 else ""
                lines.append(f"| {model} | " + " | ".join([*shown, *ratios]) + " |")
    errors = [f"- {key.replace('|', ' ')}: {error}" for key, error in record["errors"].items()]
    lines += ["", "Did not run:", "", *errors] if errors else []
    known = "; ".join(f"{name} {version}" for name, version in sorted(record["versions"].items()))
    return "\n".join([*lines, "", f"Versions: {known}.", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: [word for word in text.split(",") if word]
    parser.add_argument("--models", type=Path, required=True, help="folder that models.py filled")
    parser.add_argument("--only", type=words, default=[], help="comma-separated names of models")
    parser.add_argument("--engines", type=words, default=list(ENGINES), help="comma-separated")
    parser.add_argument("--dtypes", type=words, default=["f32", "int8"])
    parser.add_argument("--threads", type=lambda text: [int(n) for n in words(text)], default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each engine in each cell of each round")
    parser.add_argument("--envs", type=Path, default=ROOT / "target/bench-envs-infer", help="where the peers are installed")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/record")
    args = parser.parse_args()
    if unknown := set(args.engines) - set(ENGINES):
        parser.error(f"unknown engines {sorted(unknown)}; known are {list(ENGINES)}")
    args.envs, folder = args.envs.resolve(), args.models.resolve()
    names = sorted({p.name.rsplit("-", 1)[0] for p in folder.glob("*.tflite")}, key=lambda n: size_of(folder, n))
    names = [n for n in names if not args.only or n in args.only]
    start = commands(args.engines, args.envs)
    where = machine()
    if where["load_before"] > 0.5:
        say(f"warning: the machine is busy (load {where['load_before']:.2f}); the numbers will be noisy")
    workers = {(e, t): Worker(start[e], t) for e in args.engines for t in args.threads if t == 1 or e not in ONE_THREAD}
    probe = next((start[engine][0] for engine in RUST if engine in start), None)
    cells, errors, repeated = {}, {}, 0
    for number in range(args.rounds):
        for model in names:
            for threads in args.threads:
                for dtype in args.dtypes:
                    # Another one begins each round, so that none always follows the same neighbour's heat.
                    turn = number % len(args.engines)
                    for engine in args.engines[turn:] + args.engines[:turn]:
                        form, key = ENGINES[engine].get(dtype), f"{model}|{dtype}|{threads}|{engine}"
                        path = folder / form.format(model) if form else None
                        there = path and (path.exists() or Path(f"{path}.param").exists())
                        if not there or (engine, threads) not in workers or key in errors:
                            continue
                        answer, repeats = ask(workers[engine, threads], path, args.seconds, probe)
                        repeated += repeats
                        if "error" in answer:
                            errors[key] = answer["error"].replace(f"{folder}/", "")
                            say(f"{key}: {errors[key]}")
                        else:
                            cells.setdefault(key, []).append(statistics.median(answer["ns"]))
        say(f"round {number + 1} of {args.rounds} done")
    for worker in workers.values():
        worker.stop()
    record = {
        "date": datetime.date.today().isoformat(), "machine": where, "rounds": args.rounds, "seconds": args.seconds,
        "threads": args.threads, "dtypes": args.dtypes, "engines": args.engines, "models": names, "cells": cells,
        "errors": errors, "repeated": repeated, "versions": versions(args.engines, args.envs),
    }  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    target = args.out / f"{record['date']}-infer"
    target.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(markdown(record), encoding="utf-8")
    print(target.with_suffix(".md"))


def size_of(folder, name):
    """Small models first."""
    return sum(path.stat().st_size for path in folder.glob(f"{name}-*.tflite"))


if __name__ == "__main__":
    main()

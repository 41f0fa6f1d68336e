#!/usr/bin/env python3
"""Train `mnist-cnn` with Litesmith and its peers, in interleaved rounds, and record how they compare.

    python3 benchmarks/train/run.py --litesmith target/release/litesmith --rounds 5

Each round runs every competitor once for each batch size, each in a fresh process bound to the same cores, so that a drift of
the machine touches all alike; ratios are taken within a round. Python peers are installed into virtual environments under
`--envs`, the Rust ones are built with `-C target-cpu=native`. Results go to `benchmarks/record/DATE-train.{json,md}`.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The mode that runs when none is named.
PYTHON_PEERS = {"pytorch": "channels_last", "tensorflow": "function", "jax": "reshape_pool"}
RUST_PEERS = ["burn", "candle"]
# Which layout is faster for PyTorch depends on the CPU: both run.
DEFAULT_PEERS = ["pytorch", "pytorch:contiguous", "tensorflow", "jax", *RUST_PEERS]
# A slow peer's rate does not need a whole epoch to be known; the number of images is recorded.
IMAGES = {"candle": 12_800, "burn": 25_600}
TIMEOUT_S = 1_800
# Limits the peers' run-time choice of instructions, for comparing at the same ISA on a newer CPU.
AVX2_ENVIRONMENT = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def call(command: list, **options) -> None:
    if subprocess.run([str(c) for c in command], stdout=sys.stderr, check=False, **options).returncode != 0:
        sys.exit(f"error: {' '.join(str(c) for c in command)} failed")


def python_of(peer: str, envs: Path) -> Path:
    """The python of a peer's virtual environment, made if it is not there."""
    folder = envs / peer
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        say(f"installing {peer}")
        call([sys.executable, "-m", "venv", folder])
        call([python, "-m", "pip", "install", "--quiet", "-r", HERE / f"requirements-{peer}.txt"])
        (folder / "complete").touch()
    return python


def build(peer: str, envs: Path, isa: str) -> Path:
    """The release binary of a Rust peer, for this very CPU (or for AVX2)."""
    target = envs / f"{peer}-{isa}"
    cpu = "native" if isa == "native" else "x86-64-v3"
    env = os.environ | {"RUSTFLAGS": f"-C target-cpu={cpu}", "CARGO_TARGET_DIR": str(target)}
    features = [] if isa == "native" else ["--no-default-features"]
    command = ["cargo", "build", "--release", "--quiet", "--locked", "--manifest-path", HERE / peer / "Cargo.toml"]
    call([*command, *features], env=env)
    return target / "release" / f"train-{peer}"


def commands(args: argparse.Namespace) -> dict:
    """For each competitor, a function from a batch size to its command line."""
    found = {}
    if args.litesmith:
        tool = args.litesmith.resolve()
        extra = ["--isa", "avx2"] if args.isa == "avx2" else []
        found["litesmith"] = lambda batch: [
            tool, "bench", "train", "--arch", "mnist-cnn", "--data", f"mnist:{args.data}", "--batch", batch,
            "--threads", args.threads, "--epochs", "1", "--images", args.images, "--json", *extra,
        ]  # fmt: skip
    for peer in args.peers:
        mode, _, wanted = peer.partition(":")
        if mode in PYTHON_PEERS:
            start = [python_of(mode, args.envs), HERE / f"train_{mode}.py", "--mode", wanted or PYTHON_PEERS[mode]]
        else:
            start = [build(mode, args.envs, args.isa)]
        images = min(args.images, IMAGES.get(mode, args.images))
        rest = ["--threads", args.threads, "--images", images, "--data", args.data]
        found[peer] = lambda batch, start=start, rest=rest: [*start, "--batch", batch, *rest]
    return found


def run_once(command: list, args: argparse.Namespace) -> dict:
    """Run one competitor; its JSON line, or an `error`."""
    env = os.environ | {"RAYON_NUM_THREADS": str(args.threads), "OMP_NUM_THREADS": str(args.threads)}
    # These pick a kernel for old OpenBLAS builds; a current NumPy is slowed by them.
    env = {k: v for k, v in env.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    if args.isa == "avx2":
        env |= AVX2_ENVIRONMENT
    cores = sorted(os.sched_getaffinity(0))[: args.threads]
    env["BENCH_SPAWNED_NS"] = str(time.time_ns())
    try:
        done = subprocess.run(
            [str(c) for c in command],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {TIMEOUT_S} s"}
    try:
        line = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        # Without the folders of this machine: the record is read elsewhere.
        said = done.stderr.strip().replace(f"{args.envs}/", "").replace(f"{ROOT}/", "").replace(str(Path.home()), "~")
        return {"error": f"left with status {done.returncode}: {said[-300:]}"}
    rate = line["images_per_s"]
    line["images_per_s"] = statistics.median(rate) if isinstance(rate, list) else rate
    return line


def machine() -> dict:
    """What the numbers depend on."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in reversed(info.splitlines()) if ":" in line)
    fields = {k.strip(): v.strip() for k, v in fields.items()}
    flags = fields.get("flags", "").split()
    known = ["avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cpu": fields.get("model name", platform.processor()),
        "family_model": f"{fields.get('cpu family')}/{fields.get('model')}",
        "isa": [f for f in known if f in flags],
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "commit": commit.stdout.strip(),
    }


def summary(rounds: list, names: list, batches: list) -> list:
    """Per competitor and batch: medians, ranges, and Litesmith's rate over the peer's within each round."""
    rows = []
    for batch in batches:
        for name in names:
            runs = [r for r in rounds if r["name"] == name and r["batch"] == batch and "error" not in r]
            if not runs:
                continue
            rates = [r["images_per_s"] for r in runs]
            row = {"name": name, "batch": batch, "rounds": len(runs)}
            row["images_per_s"] = {"median": statistics.median(rates), "min": min(rates), "max": max(rates)}
            for key in ("peak_rss_bytes", "start_to_first_step_s", "gflops", "peak_gflops"):
                values = [r[key] for r in runs if r.get(key) is not None]
                if values:
                    row[key] = statistics.median(values)
            ours = {r["round"]: r["images_per_s"] for r in rounds
                    if r["name"] == "litesmith" and r["batch"] == batch and "error" not in r}  # fmt: skip
            ratios = [ours[r["round"]] / r["images_per_s"] for r in runs if r["round"] in ours]
            if ratios and name != "litesmith":
                row["litesmith_over_peer"] = {
                    "median": statistics.median(ratios), "min": min(ratios), "max": max(ratios),
                }  # fmt: skip
            rows.append(row)
    return rows


def markdown(record: dict) -> str:
    where, settings = record["machine"], record["settings"]
    lines = [
        f"# Training mnist-cnn, {record['date']}",
        "",
        f"{where['cpu']} (family/model {where['family_model']}), {where['cores']} cores, {', '.join(where['isa'])}; "
        f"{settings['threads']} threads, ISA {settings['isa']}, {settings['rounds']} interleaved rounds, "
        f"load before {where['load_before']:.2f}, commit {where['commit'][:12]}.",
        "",
        "Rate: images/s over a shuffled epoch of the real MNIST (slow peers: fewer images), median [range]. "
        "Ratio: Litesmith's rate over the peer's in the same round.",
        "",
        "| batch | | images/s | Litesmith over it | peak memory MB | start to first step s |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["summary"]:
        rate, ratio = row["images_per_s"], row.get("litesmith_over_peer")
        ratio = f"{ratio['median']:.2f} [{ratio['min']:.2f}-{ratio['max']:.2f}]" if ratio else ""
        lines.append(
            f"| {row['batch']} | {row['name']} | {rate['median']:,.0f} [{rate['min']:,.0f}-{rate['max']:,.0f}] | {ratio} "
            f"| {row.get('peak_rss_bytes', 0) / 1e6:,.0f} | {row.get('start_to_first_step_s', float('nan')):.2f} |"
        )
    ours = [row for row in record["summary"] if row["name"] == "litesmith" and "gflops" in row]
    for row in ours:
        text = f"Litesmith, batch {row['batch']}: {row['gflops']:.0f} GFLOP/s"
        if "peak_gflops" in row:
            share = row["gflops"] / row["peak_gflops"]
            text += f", {share:.0%} of {row['peak_gflops']:.0f}, which independent multiply-adds reach on these threads"
        seconds = [g.get("seconds_to_goal") for g in record["goals"] if g["batch"] == row["batch"]]
        reached = [s for s in seconds if s is not None]
        if seconds:
            text += f"; 99.0 % on the test set in {len(reached)} of {len(seconds)} runs"
            text += f", after {statistics.median(reached):.1f} s of training (median)" if reached else ""
        lines += ["", f"{text}."]
    if ours:
        lines += ["", "GFLOP/s counts the multiply-adds of direct convolution; Winograd does fewer, so the share may pass 100 %."]
    errors = [f"- {r['name']} batch {r['batch']} round {r['round']}: {r['error']}" for r in record["rounds"] if "error" in r]
    lines += ["", "Did not run:", *errors] if errors else []
    versions = "; ".join(f"{name} {value}" for name, value in sorted(record["versions"].items()))
    return "\n".join([*lines, "", f"Versions: {versions}.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litesmith", type=Path, help="the built tool; without it only the peers run")
    parser.add_argument("--peers", type=lambda s: [p for p in s.split(",") if p], default=DEFAULT_PEERS,
                        help="comma-separated; PEER:MODE picks another of a peer's modes")  # fmt: skip
    parser.add_argument("--batches", type=lambda s: [int(b) for b in s.split(",")], default=[64, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--goal-runs", type=int, default=3, help="runs of Litesmith to 99.0 %% on the test set")
    parser.add_argument("--images", type=int, default=60_000, help="images of a timed epoch")
    parser.add_argument("--isa", choices=["native", "avx2"], default="native", help="limit every competitor to AVX2")
    parser.add_argument("--data", type=Path, default=ROOT / "data/mnist")
    parser.add_argument("--envs", type=Path, default=ROOT / "target/bench-envs", help="where the peers are installed")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/record")
    args = parser.parse_args()
    args.data, args.envs = args.data.resolve(), args.envs.resolve()

    unknown = [p for p in args.peers if p.partition(":")[0] not in [*PYTHON_PEERS, *RUST_PEERS]]
    if unknown:
        parser.error(f"unknown peers {unknown}; known are {[*PYTHON_PEERS, *RUST_PEERS]}")
    competitors = commands(args)
    where = machine()
    if where["load_before"] > 0.5:
        say(f"warning: the machine is busy (load {where['load_before']:.2f}); the numbers will be noisy")
    rounds, versions = [], {}
    names = list(competitors)
    for number in range(1, args.rounds + 1):
        for batch in args.batches:
            # Another one begins each round, so that none always follows the same neighbour's heat.
            for name in names[number % len(names) :] + names[: number % len(names)]:
                line = run_once(competitors[name](batch), args) | {"name": name, "round": number, "batch": batch}
                versions |= line.get("versions", {})
                rounds.append(line)
                shown = line.get("error") or f"{line['images_per_s']:,.0f} images/s"
                say(f"round {number} batch {batch} {name}: {shown}")

    goals = []
    if args.litesmith and args.goal_runs:
        # Runs of their own: looking at the test set after each epoch does not belong into a timed round.
        for batch in args.batches:
            command = [*competitors["litesmith"](batch), "--to-accuracy", "99"]
            command[command.index("--epochs") + 1] = "10"
            command[command.index("--images") + 1] = 60_000
            for _ in range(args.goal_runs):
                goals.append(run_once(command, args) | {"batch": batch})

    date = datetime.date.today().isoformat()
    settings = {"threads": args.threads, "rounds": args.rounds, "batches": args.batches, "isa": args.isa}
    record = {"date": date, "machine": where, "settings": settings, "versions": versions}
    record |= {"summary": summary(rounds, names, args.batches), "rounds": rounds, "goals": goals}
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / (f"{date}-train" if args.isa == "native" else f"{date}-train-{args.isa}")
    stem.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    text = markdown(record)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

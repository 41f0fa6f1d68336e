#!/usr/bin/env python3
"""How near each model comes to what the machine can do, and what that leaves to win over LiteRT.

    python3 benchmarks/infer/limits.py --models DIR --record benchmarks/record/DATE-infer.json [--litesmith PATH]

Reads the record that run.py wrote on the same machine, profiles each model with `litesmith bench --profile`, and writes
DATE-limits.md beside it (of DATE-infer-2.json DATE-limits-2.md). The limit of a model is the sum over its ops of the time that each would take at the peak that
`bench` measures: multiply-accumulates a second of its type, or bytes a second from the cache, whichever takes longer.
"""

import argparse
import json
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FORMS = {"f32": "{}-f32.tflite", "int8": "{}-int8.tflite"}
# What the project is after, in times LiteRT's speed.
GOALS = {"int8": 1.7, "f32": 1.0}


def profile(litesmith, model, threads):
    """What `litesmith bench` says of a model."""
    command = [litesmith, "bench", model, "--threads", str(threads), "--profile", "--json", "-q"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found["results"][0], found["peaks"][0]


def held_back(ops):
    """The kinds of ops by the time that they lose to the peak, as words."""
    kinds = defaultdict(lambda: [0.0, 0.0])
    for op in ops:
        kinds[op["op"]][0] += op["latency_ns_p50"]
        kinds[op["op"]][1] += op["latency_ns_p50"] * min(op["peak_share"] or 0.0, 1.0)
    total = sum(time for time, _ in kinds.values()) or 1.0
    worst = sorted(kinds.items(), key=lambda kind: kind[1][1] - kind[1][0])[:3]
    return "; ".join(f"{name} {time / total:.0%} of the time at {best / time:.0%}" for name, (time, best) in worst if time > 0)


def speedup(record, cell, threads):
    """How many times as fast an engine is on these threads as on one, in the median of the rounds, as words."""
    one, more = (record["cells"].get(f"{cell[0]}|{cell[1]}|{count}|{cell[2]}") for count in (1, threads))
    return in_rounds(one, more)


def in_rounds(slower, faster):
    """How many times as fast, in the median of the rounds: what slows the machine down in one round slows both."""
    return f"{statistics.median(a / b for a, b in zip(slower, faster)):.2f}" if slower and faster else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder that models.py filled")
    parser.add_argument("--record", type=Path, required=True, help="what run.py wrote")
    parser.add_argument("--litesmith", default=ROOT / "target/release/litesmith", help="the program")
    args = parser.parse_args()
    record = json.loads(args.record.read_text(encoding="utf-8"))
    where = record["machine"]
    lines = [
        f"# Limits of inference, {record['date']}",
        "",
        f"{where['cpu']} (family/model {where['family_model']}), {where['cores']} cores. `limit`: the time of all ops at the peak that "
        "`litesmith bench` measures on this machine (multiply-accumulates of the op's type, or bytes from the cache). A Winograd "
        "convolution does with fewer products than are counted, so it counts as being at its peak when it is beyond. `possible`: LiteRT's "
        "time by that limit, what nothing that multiplies as often can exceed. `reached`: LiteRT's time by ours, the median of "
        f"the ratios of each round of `{args.record.name}`. `of one thread`: the same way, how many times as fast as on one thread we are, and LiteRT is. The last column says where the rest of the time goes: the share of each kind of op, and its share of the peak.",
    ]
    for threads in record["threads"]:
        for dtype in record["dtypes"]:
            lines += ["", f"## {dtype}, {threads} thread{'s' if threads > 1 else ''}", ""]
            more = "of one thread | LiteRT | " if threads > 1 and 1 in record["threads"] else ""
            columns = f"| model | limit, us | Litesmith, us | of the limit | LiteRT, us | possible | reached | {more}kinds of ops |"
            lines += [columns, "|---" * (columns.count("|") - 1) + "|"]
            for model in record["models"]:
                path = args.models / FORMS[dtype].format(model)
                ours = record["cells"].get(f"{model}|{dtype}|{threads}|litesmith")
                theirs = record["cells"].get(f"{model}|{dtype}|{threads}|litert")
                if not path.exists() or not ours:
                    continue
                found, peak = profile(args.litesmith, path, threads)
                limit = sum(op["latency_ns_p50"] * min(op["peak_share"] or 0.0, 1.0) for op in found["ops"]) / 1e3
                median = statistics.median(ours) / 1e3
                litert = statistics.median(theirs) / 1e3 if theirs else None
                possible = "" if litert is None else f"{litert / limit:.2f}" + ("" if litert / limit >= GOALS[dtype] else f" < {GOALS[dtype]}")
                reached = in_rounds(theirs, ours)
                if more:
                    reached += "".join(f" | {speedup(record, (model, dtype, engine), threads)}" for engine in ("litesmith", "litert"))
                lines.append(
                    f"| {model} | {limit:,.0f} | {median:,.0f} | {limit / median:.0%} | {'' if litert is None else f'{litert:,.0f}'} "
                    f"| {possible} | {reached} | {held_back(found['ops'])} |"
                )
            lines += ["", f"Peak: {peak['gmacs_per_s_f32']:.0f} GMAC/s float32, {peak['gmacs_per_s_i8']:.0f} GMAC/s int8, "
                      f"{peak['gb_per_s_cache']:.0f} GB/s in the cache, {peak['gb_per_s_memory']:.0f} GB/s in memory."]
    out = args.record.with_name(args.record.name.replace("-infer", "-limits")).with_suffix(".md")
    if out == args.record:
        parser.error(f"{args.record} is no DATE-infer.json, as run.py names it")
    out.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()

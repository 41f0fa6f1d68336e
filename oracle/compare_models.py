"""Every other model in a folder: whether Litesmith runs it, and how far its outputs are from LiteRT's.

A model that Litesmith does not run fails the suite, those that LiteRT refuses included; so does a crash of Litesmith (a signal,
or an exit status that is not 0, 1 or 2). How far the first outputs are apart is informational.
"""

import json
import subprocess
from pathlib import Path

import numpy as np

from compare_common import MODES, Report, Tools, difference
from compare_litert import draw


def inputs_by_litesmith(tools: Tools, path: Path) -> list:
    """Name, type and shape of the main graph's inputs, for models that LiteRT refuses."""
    command = [str(tools.litesmith), "inspect", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return []
    graph = json.loads(done.stdout)["subgraphs"][0]
    numpy_name = lambda name: {"float": "float32"}.get(name, name)
    return [t | {"dtype": numpy_name(t["dtype"])} for t in (graph["tensors"][index] for index in graph["inputs"])]


def check(report: Report, tools: Tools, folder: Path) -> None:
    paths = sorted(folder.rglob("*.tflite"))
    if not paths:
        report.check("models", False, f"no .tflite file under {folder}")
        return
    probes = [(path, "", tools.litert(path, "litert", "-", 0)) for path in paths]
    # Signatures one by one, where there are several: a model with one enters its main graph by it.
    for path, _, probe in list(probes):
        keys = probe.result().about.get("signatures", [])
        probes += [(path, key, tools.litert(path, "litert", "-", 0, key)) for key in keys if len(keys) > 1]
    waiting = []
    for path, key, probe in sorted(probes, key=lambda row: row[:2]):
        about = probe.result().about
        xs = []
        inputs = about.get("inputs") or inputs_by_litesmith(tools, path)
        for seed, details in enumerate(inputs):
            xs.append(tools.scratch_file())
            np.save(xs[-1], draw({"shape": details["shape"], "dtype": details["dtype"]}, seed))
        sides = None
        if xs:
            files = ",".join(map(str, xs))
            theirs = {mode: tools.litert(path, mode, files, 0, key) for mode in MODES}
            named = [f"{details['name']}={x}" for details, x in zip(inputs, xs)] if key else xs
            output = about["outputs"][0]["name"] if key else ""
            ours = {mode: tools.ours(path, mode, *named, signature=key, output=output) for mode in MODES}
            sides = (theirs, ours)
        waiting.append((path, key, probe, sides))

    ran = set(paths)
    for path, key, probe, sides in waiting:
        name = str(path.relative_to(folder)) + (f":{key}" if key else "")
        row = {"model": name}
        report.models.append(row)
        if sides is None:
            row["verdict"] = probe.result().error or "has no inputs"
            print(f"  -- {name}: {row['verdict'][:160]}")
            ran.discard(path)
            continue
        theirs, ours = ({mode: f.result() for mode, f in side.items()} for side in sides)
        crashed = [run.error for run in ours.values() if run.status not in (0, 1, 2)]
        if crashed:
            report.check(f"{name} does not crash", False, crashed[0])
        done = True
        for mode in MODES:
            if ours[mode].error:
                row[mode], done = ours[mode].error, False
            elif theirs[mode].error:
                row[mode] = f"ran; LiteRT {theirs[mode].error}"
            else:
                row[mode] = str(difference(ours[mode].y, theirs[mode].y))
        if not done:
            ran.discard(path)
        print(f"  {'ran' if done else ' --'} {name}")
        for mode in MODES:
            print(f"      {mode}: {row[mode][:200]}")
    report.check("models", len(ran) == len(paths), f"{len(ran)} of {len(paths)} ran")

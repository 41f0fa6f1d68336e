"""Every other model in a folder: which of them Litesmith runs, and how far its outputs are from LiteRT's.

Informational: the table says how many ran. What a model needs that is not built yet does not fail the suite; a crash of
Litesmith (a signal, or an exit status that is not 0, 1 or 2) does.
"""

from pathlib import Path

import numpy as np

from compare_common import MODES, Report, Tools, difference
from compare_litert import draw


def check(report: Report, tools: Tools, folder: Path) -> None:
    paths = sorted(folder.rglob("*.tflite"))
    if not paths:
        report.check("models", False, f"no .tflite file under {folder}")
        return
    probes = [tools.litert(path, "litert", "-", 0) for path in paths]
    waiting = []
    for path, probe in zip(paths, probes):
        xs = []
        for seed, details in enumerate(probe.result().about.get("inputs", [])):
            xs.append(tools.scratch_file())
            np.save(xs[-1], draw({"shape": details["shape"], "dtype": details["dtype"]}, seed))
        if not xs:
            waiting.append((path, None))
            continue
        theirs = {mode: tools.litert(path, mode, ",".join(map(str, xs)), 0) for mode in MODES}
        ours = {mode: tools.ours(path, mode, *xs) for mode in MODES}
        waiting.append((path, (theirs, ours)))

    ran = 0
    for (path, sides), probe in zip(waiting, probes):
        name = str(path.relative_to(folder))
        row = {"model": name}
        report.models.append(row)
        if sides is None:
            row["verdict"] = probe.result().error or "has no inputs"
            print(f"  -- {name}: {row['verdict'][:160]}")
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
        ran += done
        print(f"  {'ran' if done else ' --'} {name}")
        for mode in MODES:
            print(f"      {mode}: {row[mode][:200]}")
    report.check("models", ran > 0, f"{ran} of {len(paths)} ran")

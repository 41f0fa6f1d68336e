"""Recurrent layers. Their states are variables, so that each run goes on where the last one ended."""

import numpy as np

from grid.model import ACTIVATIONS, Model, OPS as BUILTIN, options
from grid.record import Case

RUNS = 2


def coarse(values):
    """Floats of few bits: they compress well."""
    return (np.round(np.asarray(values) * 64) / 64).astype(np.float32)


class Layer:
    """A model of one recurrent op under construction, built twice: as it is, and with absolute values for magnitudes."""

    def __init__(self, absolute=False):
        self.model, self.absolute = Model(), absolute
        self.graph = self.model.graph()
        self.inputs = []

    def add(self, dtype=None, shape=None, data=None, **details):
        """The next input of the op: left out, a constant, or a variable."""
        if dtype is None:
            self.inputs.append(-1)
            return
        if data is not None and self.absolute and dtype == "f32":
            data = np.abs(data)
        if data is not None and self.absolute and dtype == "i8":
            data = np.minimum(np.abs(np.asarray(data, np.int64)), 127)
        self.inputs.append(self.graph.tensor(dtype, shape, data=data, **details))


def lstm(rng, dtype, batch, steps, features, cells, outputs=None, **how):
    """The model of one UNIDIRECTIONAL_SEQUENCE_LSTM as a function of the absolute-values flag, and its input's shape."""
    coupled, peephole, norm = how.get("coupled"), how.get("peephole"), how.get("norm")
    time_major, diagonal = how.get("time_major", False), how.get("diagonal")
    projection = outputs is not None
    outputs = outputs or cells
    integer, hybrid = dtype == "i8", dtype == "hybrid"
    weight = "f32" if dtype == "f32" else "i8"
    gates = range(1 if coupled else 0, 4)
    spread = how.get("spread", 1.0)
    cell_scale, input_scale, input_point = 2.0 ** how.get("cell_exponent", -12), np.float32(0.021), -7
    state_scale, state_point = (np.float32(0.0079), 5) if not projection else (np.float32(0.011), -3)
    hidden = (np.float32(0.0079), 4) if projection else (state_scale, state_point)
    norm_scales = [np.float32(s) for s in (0.0011, 0.0009, 0.0013, 0.0010)]

    def matrix(rows, columns):
        real = rng.uniform(-1, 1, (rows, columns)) * spread / np.sqrt(columns) * 1.5
        if weight == "f32":
            return {"data": coarse(real)}
        scale = np.float32(np.abs(real).max() / 127)
        return {"data": np.round(real / scale).astype(np.int64), "scale": scale}

    weights = {g: (matrix(cells, features), matrix(cells, outputs)) for g in gates}
    if diagonal:
        weights = {g: (w, {"data": coarse(rng.uniform(-1, 1, cells))}) for g, (w, _) in weights.items()}
    peepholes = {}
    for g in gates:
        if peephole and g != 2:
            real = rng.uniform(-0.6, 0.6, cells)
            if dtype == "f32":
                peepholes[g] = ("f32", {"data": coarse(real)})
            elif hybrid:
                peepholes[g] = ("i8", {"data": np.round(real / 0.6 * 127), "scale": np.float32(0.6 / 127)})
            else:
                peepholes[g] = ("i16", {"data": np.round(real / 0.6 * 32767), "scale": np.float32(0.6 / 32767)})
    biases, norms = {}, {}
    for g in gates:
        real = rng.uniform(-0.5, 0.5, cells) + (0.5 if g == 1 else 0)
        if norm:
            coefficients = rng.uniform(0.5, 1.5, cells)
            norms[g] = {"data": coarse(coefficients)}
            if integer:
                norms[g] = {"data": np.round(coefficients / 1.5 * 32767), "scale": np.float32(1.5 / 32767)}
        if integer:
            scale = norms[g]["scale"] / 1024 if norm else weights[g][0]["scale"] * input_scale
            biases[g] = ("i32", {"data": np.round(real / scale), "scale": np.float32(scale)})
        else:
            biases[g] = ("f32", {"data": coarse(real)})
    if projection:
        project = matrix(outputs, cells)
        bias = rng.uniform(-0.2, 0.2, outputs)
        project_bias = ("f32", {"data": coarse(bias)})
        if integer:
            scale = np.float32(project["scale"] * hidden[0])
            project_bias = ("i32", {"data": np.round(bias / scale), "scale": scale})

    def build(absolute):
        layer = Layer(absolute)
        graph = layer.graph
        activation = "i8" if integer else "f32"
        shape = (steps, batch, features) if time_major else (batch, steps, features)
        details = {"scale": input_scale, "zero_point": input_point} if integer else {}
        layer.inputs.append(graph.input(activation, shape, **details))
        for part, size in ((0, (cells, features)), (1, (cells, outputs))):
            for g in range(4):
                if g not in gates:
                    layer.add()
                elif part == 1 and diagonal:
                    layer.add("f32", (cells,), **weights[g][1])
                else:
                    layer.add(weight, size, **weights[g][part])
        for g in (0, 1, 3):
            kind, data = peepholes.get(g, (None, {}))
            layer.add(kind, (cells,), **data)
        for g in range(4):
            kind, data = biases.get(g, (None, {}))
            layer.add(kind, (cells,), **data)
        layer.add(*([weight, (outputs, cells)] if projection else []), **(project if projection else {}))
        if projection and how.get("projection_bias", True):
            layer.add(project_bias[0], (outputs,), **project_bias[1])
        else:
            layer.add()
        state = {"scale": state_scale, "zero_point": state_point} if integer else {}
        cell = {"scale": np.float32(cell_scale), "zero_point": 0} if integer else {}
        layer.add(activation, (batch, outputs), variable=True, **state)
        layer.add("i16" if integer else "f32", (batch, cells), variable=True, **cell)
        for g in range(4):
            if g in norms:
                layer.add("i16" if integer else "f32", (cells,), **norms[g])
            else:
                layer.add()
        out_shape = (*shape[:2], outputs)
        output = graph.output(activation, out_shape, **state)
        intermediates = []
        if integer:
            for g in range(4):
                intermediates.append(graph.tensor("i16", (0,), scale=norm_scales[g] if norm else None))
            intermediates.append(graph.tensor("i8", (0,), scale=hidden[0], zero_point=hidden[1]))
        opts = options(
            "UnidirectionalSequenceLSTMOptions",
            fusedActivationFunction=how.get("activation", 4),
            cellClip=how.get("cell_clip", 0.0),
            projClip=how.get("projection_clip", 0.0),
            timeMajor=time_major,
            asymmetricQuantizeInputs=how.get("asymmetric", False),
            diagonalRecurrentTensors=bool(diagonal),
        )
        graph.op(BUILTIN.UNIDIRECTIONAL_SEQUENCE_LSTM, layer.inputs, [output], opts, 4 if diagonal else 1)
        graph.table.operators[-1].intermediates = intermediates
        return layer.model.bytes(), shape

    return build


def lstm_cases(rng):
    """Cases of UNIDIRECTIONAL_SEQUENCE_LSTM."""
    kinds = [
        ("plain", {}),
        ("time_major", {"time_major": True, "batch": 3}),
        ("batched", {"batch": 3}),
        ("coupled", {"coupled": True}),
        ("peephole", {"peephole": True, "cells": 19}),
        ("peephole_coupled", {"peephole": True, "coupled": True, "cells": 16}),
        ("projection", {"outputs": 5}),
        ("projection_no_bias_clips", {"outputs": 5, "projection_bias": False, "projection_clip": 0.3, "cell_clip": 0.4}),
        ("norm", {"norm": True, "cells": 16}),
        ("norm_odd", {"norm": True, "cells": 11}),
        (
            "everything",
            {"norm": True, "peephole": True, "outputs": 6, "cell_clip": 2.0, "batch": 2, "time_major": True, "cells": 17},
        ),
        ("cell_clip", {"cell_clip": 0.25}),
        ("wide", {"cells": 18, "features": 40, "steps": 2}),
        ("saturated", {"spread": 12.0}),
    ]
    for dtype in ("f32", "hybrid", "hybrid_asymmetric", "i8"):
        special = {
            "f32": [("relu", {"activation": ACTIVATIONS["relu"]}), ("diagonal", {"diagonal": True})],
            "i8": [("cell_9", {"cell_exponent": -9}), ("cell_15", {"cell_exponent": -15}), ("cell_11", {"cell_exponent": -11})],
        }
        fewer = {
            "f32": ("saturated", "norm_odd", "peephole_coupled"),
            "hybrid": ("time_major", "coupled", "peephole_coupled", "norm", "cell_clip", "projection", "saturated"),
        }
        only = ("plain", "peephole", "everything", "batched")
        for name, how in kinds + special.get(dtype, []):
            if name in fewer.get(dtype, ()) or dtype == "hybrid_asymmetric" and name not in only:
                continue
            how = dict(how)
            sizes = [how.pop(key, default) for key, default in (("batch", 1), ("steps", 3), ("features", 5), ("cells", 7))]
            if dtype == "hybrid_asymmetric":
                how["asymmetric"] = True
            build = lstm(rng, dtype.split("_")[0], *sizes, how.pop("outputs", None), **how)
            model, shape = build(False)
            if dtype == "i8":
                runs = [[rng.integers(-128, 127, shape, endpoint=True, dtype=np.int8)] for _ in range(RUNS)]
            else:
                runs = [[coarse(rng.uniform(-2, 2, shape))] for _ in range(RUNS)]
            case = Case(f"{dtype}_{name}", model, runs)
            if dtype != "i8":
                case.magnitude = build(True)[0]
                case.feeds_magnitude = [[np.abs(feed) for feed in feeds] for feeds in runs]
            yield case


OPS = {
    "unidirectional_sequence_lstm": lstm_cases,
}

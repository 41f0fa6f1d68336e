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
    time_major, diagonal, step = how.get("time_major", False), how.get("diagonal"), how.get("step")
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
        if step:
            shape = (batch, features)
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
        out_shape = (*shape[:-1], outputs)
        output = graph.output(activation, out_shape, **state)
        intermediates = []
        if integer:
            for g in range(4):
                intermediates.append(graph.tensor("i16", (0,), scale=norm_scales[g] if norm else None))
            intermediates.append(graph.tensor("i8", (0,), scale=hidden[0], zero_point=hidden[1]))
        fields = {
            "fusedActivationFunction": how.get("activation", 4),
            "cellClip": how.get("cell_clip", 0.0),
            "projClip": how.get("projection_clip", 0.0),
            "asymmetricQuantizeInputs": how.get("asymmetric", False),
        }
        if step:
            graph.op(BUILTIN.LSTM, layer.inputs, [output], options("LSTMOptions", **fields))
        else:
            fields |= {"timeMajor": time_major, "diagonalRecurrentTensors": bool(diagonal)}
            opts = options("UnidirectionalSequenceLSTMOptions", **fields)
            graph.op(BUILTIN.UNIDIRECTIONAL_SEQUENCE_LSTM, layer.inputs, [output], opts, 4 if diagonal else 1)
        graph.table.operators[-1].intermediates = intermediates
        return layer.model.bytes(), shape

    return build


def case_of(rng, name, build, runs=RUNS):
    """A case from what `build` gives for the model and the one with absolute values."""
    model, shape, dtype = build(False)
    if dtype == "i8":
        feeds = [[rng.integers(-128, 127, shape, endpoint=True, dtype=np.int8)] for _ in range(runs)]
    elif dtype == "u8":
        feeds = [[rng.integers(0, 255, shape, endpoint=True, dtype=np.uint8)] for _ in range(runs)]
    else:
        feeds = [[coarse(rng.uniform(-2, 2, shape))] for _ in range(runs)]
    case = Case(name, model, feeds)
    if dtype not in ("i8", "u8"):
        case.magnitude = build(True)[0]
        case.feeds_magnitude = [[np.abs(x) for x in run] for run in feeds]
    return case


def basic(rng, dtype, batch, features, cells, reads_state):
    """The model of one LSTM of five inputs, the basic kernel, and its input's shape."""
    together = features + cells
    real = rng.uniform(-1, 1, (4 * cells, together)) * 2.5 / np.sqrt(together)
    bias = rng.uniform(-0.5, 0.5, 4 * cells)
    # -1 to 127/128, and cells of four integer bits: the kernel assumes both.
    activation = {"scale": np.float32(1 / 128), "zero_point": 128} if dtype == "u8" else {}
    state = {"scale": np.float32(2.0**-11), "zero_point": 0} if dtype == "u8" else {}
    cell = "i16" if dtype == "u8" else "f32"

    def build(absolute):
        layer = Layer(absolute)
        graph = layer.graph
        layer.inputs.append(graph.input(dtype, (batch, features), **activation))
        layer.add(dtype, (batch, cells), variable=True, **activation)
        if dtype == "u8":
            scale, point = np.float32((real.max() - real.min()) / 255), 117
            stored = np.clip(np.round(real / scale) + point, 0, 255)
            layer.add("u8", real.shape, data=stored, scale=scale, zero_point=point)
            scale = np.float32(scale / 128)
            layer.add("i32", bias.shape, data=np.round(bias / scale), scale=scale, zero_point=0)
        else:
            layer.add("f32", real.shape, data=coarse(real))
            layer.add("f32", bias.shape, data=coarse(bias))
        layer.add(cell, (batch, cells), variable=True, **state)
        outputs = [graph.output(dtype, (batch, cells), **activation)]
        outputs.append((graph.output if reads_state else graph.tensor)(cell, (batch, cells), **state))
        outputs.append(graph.tensor(dtype, (batch, together), **activation))
        outputs.append(graph.tensor(cell, (batch, 4 * cells), **state))
        fields = {"fusedActivationFunction": 4, "kernelType": 1}
        graph.op(BUILTIN.LSTM, layer.inputs, outputs, options("LSTMOptions", **fields), 2)
        return layer.model.bytes(), (batch, features)

    return build


def step_cases(rng):
    """Cases of LSTM, the full kernel and the basic one."""
    kinds = [
        ("f32_plain", "f32", {"batch": 3}),
        ("f32_everything", "f32", {"norm": True, "peephole": True, "outputs": 4, "cell_clip": 0.8, "batch": 2}),
        ("hybrid_plain", "hybrid", {"batch": 2}),
        ("hybrid_coupled", "hybrid", {"batch": 2, "coupled": True, "asymmetric": True, "peephole": True}),
        ("i8_plain", "i8", {"batch": 3}),
        ("i8_everything", "i8", {"norm": True, "peephole": True, "outputs": 5, "cell_clip": 2.0, "batch": 2, "cells": 17}),
        ("i8_coupled", "i8", {"batch": 2, "coupled": True}),
    ]
    for name, dtype, how in kinds:
        how = dict(how)
        sizes = [how.pop(key, default) for key, default in (("batch", 1), ("steps", 1), ("features", 5), ("cells", 7))]
        build = lstm(rng, dtype, *sizes, how.pop("outputs", None), step=True, **how)
        yield case_of(rng, name, lambda absolute, build=build, dtype=dtype: (*build(absolute), dtype), 3)
    for name, dtype, sizes, reads_state in [
        ("f32_basic", "f32", (2, 5, 7), True),
        ("f32_basic_one", "f32", (1, 3, 16), False),
        ("u8_basic", "u8", (3, 5, 9), True),
        ("u8_basic_wide", "u8", (1, 20, 17), False),
    ]:
        build = basic(rng, dtype, *sizes, reads_state)
        yield case_of(rng, name, lambda absolute, build=build, dtype=dtype: (*build(absolute), dtype), 4)


def bidirectional_cases(rng):
    """Cases of BIDIRECTIONAL_SEQUENCE_LSTM, without a second input."""
    # LiteRT steps over states by the row of a merged output, so that only one sequence, or time-major ones, can be merged.
    kinds = [
        ("f32_merged", "f32", {"merge": True}),
        ("f32_two", "f32", {"merge": False, "batch": 2}),
        ("f32_time_major", "f32", {"merge": True, "time_major": True, "batch": 3, "coupled": True}),
        ("f32_peephole", "f32", {"merge": True, "peephole": True, "cell_clip": 0.4}),
        ("f32_projection", "f32", {"merge": True, "projection": 4}),
        ("hybrid_merged", "hybrid", {"merge": True}),
        ("hybrid_two", "hybrid", {"merge": False, "batch": 2, "asymmetric": True}),
    ]
    for name, dtype, how in kinds:
        batch, steps, features = how.get("batch", 1), 4, 5
        layers = []
        for cells in (6, 6):
            outputs = how.get("projection", cells)
            gates = range(1 if how.get("coupled") else 0, 4)
            parts = {
                "input": {g: hybrid_matrix(rng, dtype, cells, features, 2) for g in gates},
                "recurrent": {g: hybrid_matrix(rng, dtype, cells, outputs, 2) for g in gates},
                "peephole": {g: coarse(rng.uniform(-0.6, 0.6, cells)) for g in gates if how.get("peephole") and g != 2},
                "bias": {g: coarse(rng.uniform(-0.5, 0.5, cells)) for g in gates},
                "projection": hybrid_matrix(rng, dtype, outputs, cells) if "projection" in how else None,
            }
            layers.append((cells, outputs, parts))

        def build(absolute, dtype=dtype, how=how, layers=layers, batch=batch):
            layer = Layer(absolute)
            shape = (steps, batch, features) if how.get("time_major") else (batch, steps, features)
            layer.inputs.append(layer.graph.input("f32", shape))
            for cells, outputs, parts in layers:
                for part in ("input", "recurrent"):
                    for g in range(4):
                        kind, size, details = parts[part].get(g, (None, None, {}))
                        layer.add(kind, size, **details)
                for part, present in (("peephole", (0, 1, 3)), ("bias", range(4))):
                    for g in present:
                        if g in parts[part]:
                            layer.add("f32", (cells,), data=parts[part][g])
                        else:
                            layer.add()
                if parts["projection"]:
                    kind, size, details = parts["projection"]
                    layer.add(kind, size, **details)
                else:
                    layer.add()
                layer.add()
            for cells, outputs, _ in layers:
                layer.add("f32", (batch, outputs), variable=True)
                layer.add("f32", (batch, cells), variable=True)
            for _ in range(9):
                layer.add()
            rows = [outputs for _, outputs, _ in layers]
            sizes = [sum(rows)] if how["merge"] else rows
            outs = [layer.graph.output("f32", (*shape[:-1], size)) for size in sizes]
            opts = options(
                "BidirectionalSequenceLSTMOptions",
                fusedActivationFunction=4,
                cellClip=how.get("cell_clip", 0.0),
                projClip=0.0,
                mergeOutputs=how["merge"],
                timeMajor=how.get("time_major", False),
                asymmetricQuantizeInputs=how.get("asymmetric", False),
            )
            layer.graph.op(BUILTIN.BIDIRECTIONAL_SEQUENCE_LSTM, layer.inputs, outs, opts)
            return layer.model.bytes(), shape, "f32"

        yield case_of(rng, name, build, 2)


def hybrid_matrix(rng, dtype, rows, columns, spread=1.0):
    """Type, shape and details of a weight matrix."""
    real = rng.uniform(-1, 1, (rows, columns)) * spread / np.sqrt(columns)
    if dtype == "f32":
        return "f32", (rows, columns), {"data": coarse(real)}
    scale = np.float32(np.abs(real).max() / 127)
    return "i8", (rows, columns), {"data": np.round(real / scale), "scale": scale}


def rnn_cases(sequence):
    """Cases of RNN and of UNIDIRECTIONAL_SEQUENCE_RNN."""

    def cases(rng):
        kinds = [(dtype, major, 4) for dtype in ("f32", "hybrid", "hybrid_asymmetric") for major in (False, True)]
        kinds += [("f32", False, ACTIVATIONS[name]) for name in ("none", "relu", "relu6", "relu_n1_to_1")]
        for dtype, major, activation in kinds:
            if major and not sequence:
                continue
            batch, steps, features, units = 2, 4, 6, 9
            weights = hybrid_matrix(rng, dtype, units, features, 2), hybrid_matrix(rng, dtype, units, units)
            bias = coarse(rng.uniform(-0.5, 0.5, units))

            def build(absolute, dtype=dtype, major=major, activation=activation, weights=weights, bias=bias):
                layer = Layer(absolute)
                shape = (batch, features)
                if sequence:
                    shape = (steps, batch, features) if major else (batch, steps, features)
                layer.inputs.append(layer.graph.input("f32", shape))
                for kind, size, details in weights:
                    layer.add(kind, size, **details)
                layer.add("f32", (units,), data=bias)
                layer.add("f32", (batch, units), variable=True)
                output = layer.graph.output("f32", (*shape[:-1], units))
                fields = {"fusedActivationFunction": activation, "asymmetricQuantizeInputs": "asymmetric" in dtype}
                if sequence:
                    opts = options("SequenceRNNOptions", timeMajor=major, **fields)
                    layer.graph.op(BUILTIN.UNIDIRECTIONAL_SEQUENCE_RNN, layer.inputs, [output], opts)
                else:
                    layer.graph.op(BUILTIN.RNN, layer.inputs, [output], options("RNNOptions", **fields))
                return layer.model.bytes(), shape, "f32"

            yield case_of(rng, f"{dtype}_{'time' if major else 'batch'}_{activation}", build, 3)

    return cases


def bidirectional_rnn_cases(rng):
    """Cases of BIDIRECTIONAL_SEQUENCE_RNN, without a second input."""
    kinds = [(dtype, major, merge) for dtype in ("f32", "hybrid", "hybrid_asymmetric") for major in (0, 1) for merge in (0, 1)]
    # LiteRT runs a time-major dynamic-range sequence as often as it has steps.
    kinds = [kind for kind in kinds if kind[0] == "f32" or not kind[1]]
    for dtype, major, merge in kinds:
        batch, steps, features, sizes = 2, 4, 6, (9, 5)
        layers = [
            (n, hybrid_matrix(rng, dtype, n, features, 2), hybrid_matrix(rng, dtype, n, n), coarse(rng.uniform(-0.5, 0.5, n)))
            for n in sizes
        ]

        def build(absolute, dtype=dtype, major=major, merge=merge, layers=layers):
            layer = Layer(absolute)
            shape = (steps, batch, features) if major else (batch, steps, features)
            layer.inputs.append(layer.graph.input("f32", shape))
            for units, *weights, bias in layers:
                for kind, size, details in weights:
                    layer.add(kind, size, **details)
                layer.add("f32", (units,), data=bias)
                layer.add("f32", (batch, units), variable=True)
            for _ in range(3):
                layer.add()
            rows = [sum(sizes)] if merge else sizes
            outputs = [layer.graph.output("f32", (*shape[:-1], row)) for row in rows]
            opts = options(
                "BidirectionalSequenceRNNOptions",
                timeMajor=bool(major),
                mergeOutputs=bool(merge),
                fusedActivationFunction=4,
                asymmetricQuantizeInputs="asymmetric" in dtype,
            )
            layer.graph.op(BUILTIN.BIDIRECTIONAL_SEQUENCE_RNN, layer.inputs, outputs, opts)
            return layer.model.bytes(), shape, "f32"

        yield case_of(rng, f"{dtype}_{'time' if major else 'batch'}_{'merged' if merge else 'two'}", build, 2)


def svdf_cases(rng):
    """Cases of SVDF."""
    sizes = [("one", 1, 6, 8, 1, 5), ("rank", 2, 7, 12, 2, 4), ("short", 3, 5, 6, 3, 1), ("wide", 1, 40, 32, 2, 10)]
    for dtype in ("f32", "hybrid", "hybrid_asymmetric", "i8"):
        for label, batch, features, filters, rank, memory in sizes:
            for biased in (True, False):
                if not biased and label != "rank":
                    continue
                units = filters // rank
                kind = "i8" if dtype == "i8" else dtype
                weights = hybrid_matrix(rng, kind, filters, features, 2)
                time = hybrid_matrix(rng, "f32" if dtype == "f32" else dtype, filters, memory)
                bias = ("f32", coarse(rng.uniform(-0.5, 0.5, units)), None)
                if dtype == "i8":
                    real = rng.uniform(-1, 1, (filters, memory))
                    time = "i16", (filters, memory), {"data": np.round(real * 32767), "scale": np.float32(1 / 32767)}
                    scale = np.float32(2.0**-12 / 32767)
                    bias = ("i32", np.round(rng.uniform(-0.5, 0.5, units) / scale), scale)

                def build(absolute, dtype=dtype, weights=weights, time=time, bias=bias, biased=biased, sizes=(batch, features, filters, rank, memory, units)):
                    batch, features, filters, rank, memory, units = sizes
                    integer = dtype == "i8"
                    layer = Layer(absolute)
                    details = {"scale": np.float32(0.02), "zero_point": 3} if integer else {}
                    activation = "i8" if integer else "f32"
                    layer.inputs.append(layer.graph.input(activation, (batch, features), **details))
                    for kind, size, details in (weights, time):
                        layer.add(kind, size, **details)
                    layer.add(*((bias[0], (units,), bias[1]) if biased else ()), **({"scale": bias[2]} if biased else {}))
                    # Old converters wrote a zero point; it means nothing.
                    zero_point = -13 if label == "short" else 0
                    state = {"scale": np.float32(2.0**-12), "zero_point": zero_point} if integer else {}
                    layer.add("i16" if integer else "f32", (batch, filters * memory), variable=True, **state)
                    details = {"scale": np.float32(0.05), "zero_point": -11} if integer else {}
                    output = layer.graph.output(activation, (batch, units), **details)
                    opts = options(
                        "SVDFOptions",
                        rank=rank,
                        fusedActivationFunction=ACTIVATIONS["relu"] if integer or not biased else 0,
                        asymmetricQuantizeInputs="asymmetric" in dtype,
                    )
                    layer.graph.op(BUILTIN.SVDF, layer.inputs, [output], opts)
                    return layer.model.bytes(), (batch, features), activation

                yield case_of(rng, f"{dtype}_{label}_{'bias' if biased else 'relu'}", build, 4)


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
    "bidirectional_sequence_lstm": bidirectional_cases,
    "bidirectional_sequence_rnn": bidirectional_rnn_cases,
    "lstm": step_cases,
    "rnn": rnn_cases(False),
    "svdf": svdf_cases,
    "unidirectional_sequence_rnn": rnn_cases(True),
    "unidirectional_sequence_lstm": lstm_cases,
}

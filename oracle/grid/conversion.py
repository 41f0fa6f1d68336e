"""CAST, QUANTIZE, LOG_SOFTMAX."""

import numpy as np

from grid.binary import QUANTIZED, quantized
from grid.model import OPS as BUILTIN, TYPES, Model, options
from grid.record import Case, T, single

INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64")


def numbers(rng, dtype, n=40):
    """Numbers of a type, extremes included."""
    if dtype == "bool":
        return rng.random(n) < 0.5
    if dtype in INTEGERS:
        info = np.iinfo(TYPES[dtype][0])
        values = rng.integers(info.min, info.max, n, dtype=info.dtype, endpoint=True)
        values[:5] = [info.min, info.max, 0, 1, 100]
        return values
    values = rng.standard_normal(n) * np.exp(rng.uniform(-2, 12, n))
    values[:8] = [0, -0.0, 0.5, -0.5, 1.999, -1.999, 3e4, -3e4]
    return values.astype(TYPES[dtype][0])


def to_int4_and_back(rng, name, there, back, opts, details):
    """A case of two ops: the interpreter unpacks an output of int4."""
    model = Model()
    graph = model.graph()
    x = graph.input("f32", (31,))
    packed = graph.tensor("i4", (31,), **details)
    graph.op(there, [x], [packed], opts, 4)
    graph.op(back, [packed], [graph.output("f32", (31,))], opts, 6)
    return Case(name, model.bytes(), [[rng.uniform(-12, 12, 31).astype(np.float32)]])


def cast(rng):
    """Cases of CAST: every pair of types."""
    types = ("f32", "f16", "f64", "bool", *INTEGERS)
    for a in types:
        for b in types:
            x = T(a, (40,), feed=numbers(rng, a))
            yield single(f"{a}_{b}", BUILTIN.CAST, [x], [T(b, (40,))], options("CastOptions"))
    extremes = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e10, -1e10, 5e9], np.float32)
    for b in INTEGERS:
        yield single(f"extreme_{b}", BUILTIN.CAST, [T("f32", (8,), feed=extremes)], [T(b, (8,))], options("CastOptions"))
    yield to_int4_and_back(rng, "f32_i4", BUILTIN.CAST, BUILTIN.CAST, options("CastOptions"), {})
    for shape in ((30,), (3, 5)):
        packed = T("i4", shape, data=rng.integers(-8, 7, shape, endpoint=True))
        yield single(f"i4_f32_{len(shape)}", BUILTIN.CAST, [packed], [T("f32", shape)], options("CastOptions"))


def quantize(rng):
    """Cases of QUANTIZE: the pairs that are rarer than float to 8 bits."""
    for dtype in QUANTIZED:
        x = T("f32", (3, 5, 4), feed=rng.standard_normal((3, 5, 4)) * 4)
        y = T(dtype, (3, 5, 4), np.float32(0.031), 0 if dtype == "i16" else 7)
        yield single(f"f32_{dtype}", BUILTIN.QUANTIZE, [x], [y], None, 2)
        for axis in (0, 1, 2):
            scales = rng.uniform(0.01, 0.1, (3, 5, 4)[axis]).astype(np.float32)
            y = T(dtype, (3, 5, 4), scales, 0, axis)
            yield single(f"f32_{dtype}_axis{axis}", BUILTIN.QUANTIZE, [x], [y], None, 3)
        for other in QUANTIZED:
            for ratio in (0.3, 1.0, 2.5):
                x = quantized(rng, dtype, (61,))
                y = T(other, (61,), np.float32(x.scale * ratio), 0 if other == "i16" else 9)
                yield single(f"{dtype}_{other}_{ratio}", BUILTIN.QUANTIZE, [x], [y], None, 2)
    for other in ("i8", "i16"):
        x = T("i32", (40,), np.float32(0.002), 3, feed=rng.integers(-20000, 20000, 40))
        y = T(other, (40,), np.float32(0.1), 0 if other == "i16" else -5)
        yield single(f"i32_{other}", BUILTIN.QUANTIZE, [x], [y], None, 2)
    x = quantized(rng, "i16", (40,))
    yield single("i16_i32", BUILTIN.QUANTIZE, [x], [T("i32", (40,), np.float32(1e-6), 5)], None, 2)
    # The last elements, fewer than 16, may be rounded otherwise: every value among them, and ties.
    for dtype, other in (("i8", "u8"), ("u8", "i8"), ("i8", "i8"), ("u8", "u8")):
        low = QUANTIZED[dtype][0]
        for ratio in (0.3, 0.7, 2.0, 4.0):
            values = np.tile(np.arange(low, low + 256), 2)[: 256 + 13]
            x = T(dtype, values.shape, np.float32(rng.uniform(0.005, 0.1)), low + 240, feed=np.roll(values, int(low * ratio)))
            y = T(other, values.shape, np.float32(x.scale / np.float32(ratio)), QUANTIZED[other][0] + 159)
            yield single(f"{dtype}_{other}_{ratio}_last", BUILTIN.QUANTIZE, [x], [y], None, 2)
    details = {"scale": np.float32(0.7), "zero_point": 0}
    yield to_int4_and_back(rng, "f32_i4", BUILTIN.QUANTIZE, BUILTIN.DEQUANTIZE, None, details)


def log_softmax(rng):
    """Cases of LOG_SOFTMAX."""
    opts = options("LogSoftmaxOptions")
    for shape in ((7,), (3, 10), (2, 3, 4, 5), (2, 130)):
        x = T("f32", shape, feed=rng.standard_normal(shape) * 2)
        yield single(f"f32_{len(shape)}_{shape[-1]}", BUILTIN.LOG_SOFTMAX, [x], [T("f32", shape)], opts)
        for dtype, point in (("i8", 127), ("u8", 255)):
            for scale in (0.02, 0.1, 0.7):
                values = rng.integers(*QUANTIZED[dtype], shape, endpoint=True)
                x = T(dtype, shape, np.float32(scale), 3, feed=values)
                y = T(dtype, shape, np.float32(1 / 16), point)
                yield single(f"{dtype}_{len(shape)}_{shape[-1]}_{scale}", BUILTIN.LOG_SOFTMAX, [x], [y], opts, 2)
    for shape in (3, 17), (2, 300):
        x = T("f32", shape, feed=rng.standard_normal(shape) * 30)
        yield single(f"f32_{shape[1]}_spread30", BUILTIN.LOG_SOFTMAX, [x], [T("f32", shape)], opts)


OPS = {"cast": cast, "quantize": quantize, "log_softmax": log_softmax}

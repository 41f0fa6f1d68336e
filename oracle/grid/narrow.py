"""Elements of fewer bits than a kernel computes with: float16 activations, and int4 that is only moved."""

import numpy as np

from grid.model import OPS as BUILTIN, Model, options
from grid.record import Case, T, single


def halves(rng, shape, low=-4.0, high=4.0):
    """A float16 input."""
    return T("f16", shape, feed=rng.uniform(low, high, shape).astype(np.float16))


def float16(rng):
    """Ops of every kind. XNNPACK computes EXP, HARD_SWISH, LOGISTIC, SOFTMAX, SQUARED_DIFFERENCE by several roundings to float16; the others like these."""
    shape = (2, 3, 5)
    unary = ("ABS", "NEG", "SQUARE", "FLOOR", "CEIL", "ROUND", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")
    for name in (*unary, "SIN", "COS", "ELU"):
        yield single(name.lower(), getattr(BUILTIN, name), [halves(rng, shape)], [T("f16", shape)])
    for name in ("LOG", "SQRT", "RSQRT"):
        yield single(name.lower(), getattr(BUILTIN, name), [halves(rng, shape, 0.5, 9)], [T("f16", shape)])
    for name, opts in (
        ("ADD", options("AddOptions")),
        ("SUB", options("SubOptions")),
        ("MUL", options("MulOptions")),
        ("DIV", options("DivOptions")),
        ("MAXIMUM", None),
        ("MINIMUM", None),
    ):
        version = {"ADD": 6, "MUL": 8}.get(name, 1)
        operands = [halves(rng, shape), halves(rng, (3, 1), 1, 3)]
        yield single(name.lower(), getattr(BUILTIN, name), operands, [T("f16", shape)], opts, version)
    leaky = options("LeakyReluOptions", alpha=0.25)
    yield single("leaky_relu", BUILTIN.LEAKY_RELU, [halves(rng, shape)], [T("f16", shape)], leaky)
    pool = options("Pool2DOptions", padding=1, strideW=2, strideH=2, filterWidth=2, filterHeight=2)
    for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        yield single(name.lower(), getattr(BUILTIN, name), [halves(rng, (1, 4, 4, 3))], [T("f16", (1, 2, 2, 3))], pool)
    # Weights of few bits, whose products and sums are exact in float16 as well.
    coarse = lambda size: np.round(rng.uniform(-1, 1, size) * 4) / 4
    dense = [T("f16", (3, 8), feed=coarse((3, 8))), T("f16", (5, 8), data=coarse((5, 8))), T("f16", (5,), data=coarse(5))]
    yield single("fully_connected", BUILTIN.FULLY_CONNECTED, dense, [T("f16", (3, 5))], options("FullyConnectedOptions"))
    convolution = [
        T("f16", (1, 4, 5, 2), feed=coarse((1, 4, 5, 2))),
        T("f16", (3, 2, 2, 2), data=coarse((3, 2, 2, 2))),
        T("f16", (3,), data=coarse(3)),
    ]
    opts = options("Conv2DOptions", padding=1, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1)
    yield single("conv_2d", BUILTIN.CONV_2D, convolution, [T("f16", (1, 3, 4, 3))], opts)


def int4_moved(rng):
    """int4 between QUANTIZE and DEQUANTIZE, as Python cannot feed it; computed and constant."""
    update = rng.integers(-7, 8, (1, 5))
    cases = [
        ("transpose", "TRANSPOSE", (3, 5), (5, 3), lambda g, q: [q, ints(g, 1, 0)], None, 6),
        ("transpose_3", "TRANSPOSE", (2, 3, 5), (5, 2, 3), lambda g, q: [q, ints(g, 2, 0, 1)], None, 6),
        # LiteRT gathers whole bytes: only even rows are right.
        ("gather", "GATHER", (4, 6), (3, 6), lambda g, q: [q, ints(g, 1, 0, 3)], options("GatherOptions", axis=0), 6),
        ("slice", "SLICE", (4, 6), (2, 3), lambda g, q: [q, ints(g, 1, 2), ints(g, 2, 3)], None, 6),
        ("concatenation", "CONCATENATION", (2, 5), (2, 10), lambda g, q: [q, q], options("ConcatenationOptions", axis=1), 5),
        (
            "dynamic_update_slice",
            "DYNAMIC_UPDATE_SLICE",
            (4, 5),
            (4, 5),
            lambda g, q: [q, g.tensor("i4", (1, 5), 0.5, data=update), ints(g, 2, 0)],
            None,
            3,
        ),
    ]
    for name, op, shape, result, operands, opts, version in cases:
        model = Model()
        graph = model.graph()
        value = rng.integers(-7, 8, shape)
        x, q = graph.input("f32", shape), graph.tensor("i4", shape, 0.5)
        graph.op(BUILTIN.QUANTIZE, [x], [q], version=3)
        y = graph.tensor("i4", result, 0.5)
        graph.op(getattr(BUILTIN, op), operands(graph, q), [y], opts, version)
        graph.op(BUILTIN.DEQUANTIZE, [y], [graph.output("f32", result)], version=6)
        yield Case(name, model.bytes(), [[(value * 0.5).astype(np.float32)]])


def ints(graph, *values):
    """A constant vector of int32."""
    return graph.tensor("i32", (len(values),), data=values)


OPS = {"float16": float16, "int4_moved": int4_moved}

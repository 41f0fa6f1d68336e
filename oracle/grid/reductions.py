"""Ops along axes: reductions, positions, running sums, normalizations."""

import numpy as np

from grid.binary import QUANTIZED, quantized
from grid.convolution import floats, wide
from grid.model import OPS as BUILTIN, options
from grid.record import T, single

# Name, shape, axes.
AXES = [
    ("last", (3, 4, 5), (2,)),
    ("first", (4, 3, 5), (0,)),
    ("middle", (2, 6, 3), (1,)),
    ("image", (2, 4, 3, 5), (1, 2)),
    ("apart", (3, 2, 4, 2), (0, -2)),
    ("all", (3, 7), (0, 1)),
    ("long", (2, 67), (1,)),
]


def reduced(shape, axes, keep):
    """The shape of a result."""
    axes = {axis % len(shape) for axis in axes}
    return tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)


def plain(rng, dtype, shape, small=False):
    """An input that is not quantized."""
    if dtype == "f32":
        return T("f32", shape, feed=floats(rng, shape, 1 if small else 4))
    if dtype == "bool":
        return T("bool", shape, feed=rng.random(shape) < (0.8 if small else 0.2))
    high = 4 if small else 2**31 - 1
    return T(dtype, shape, feed=rng.integers(-high, high, shape, endpoint=True))


def reduction(builtin, version, types, scale=None, small=False):
    """Cases of a reduction; `scale(count, input)` gives the output of quantized types, else it is quantized as the input."""

    def cases(rng):
        for dtype in types:
            for at, (label, shape, axes) in enumerate(AXES):
                keep = bool(at % 2)
                count = int(np.prod(shape) // np.prod(reduced(shape, axes, False)))
                opts = options("ReducerOptions", keepDims=keep)
                out = reduced(shape, axes, keep)
                if dtype in QUANTIZED:
                    x = quantized(rng, dtype, shape)
                    y = T(dtype, out, x.scale, x.zero_point)
                    if scale is not None:
                        y.scale = np.float32(scale(count, x))
                        y.zero_point = 0 if dtype == "i16" else int(rng.integers(0, 20))
                else:
                    x, y = plain(rng, dtype, shape, small), T(dtype, out)
                ids = T("i32", (len(axes),), data=axes)
                # The reference SUM takes every quantized type for uint8.
                wrong = ("reference",) if builtin == BUILTIN.SUM and dtype in ("i8", "i16") else ()
                yield single(f"{dtype}_{label}", builtin, [x, ids], [y], opts, version, dtype == "f32", wrong)
        for shape, axis in ((3, 300), 1), ((67, 9), 0), ((2, 41, 18), 1):
            if builtin not in (BUILTIN.MEAN, BUILTIN.SUM, BUILTIN.REDUCE_PROD):
                continue
            inputs = wide(rng, [T("f32", shape, feed=0)]) + [T("i32", (1,), data=[axis])]
            if builtin == BUILTIN.REDUCE_PROD:
                # Near 1, so that the product stays in range.
                inputs[0].feed = rng.uniform(0.7, 1.4, shape) * rng.choice([-1, 1], shape)
            y = T("f32", reduced(shape, (axis,), True))
            opts = options("ReducerOptions", keepDims=True)
            yield single(f"f32_wide_{len(shape)}_{axis}", builtin, inputs, [y], opts, version, True)

    return cases


def product_scale(count, x):
    """A scale that keeps a product in range: elements are some 60 % of the largest."""
    low, high = QUANTIZED[x.dtype]
    return (x.scale * (high - low) * 0.35) ** count / (high - low) * 4


# Name, shape, axis.
POSITIONS = [
    ("last", (3, 4, 7), -1),
    ("first", (5, 3), 0),
    ("middle", (2, 6, 3), 1),
    ("vector", (33,), 0),
    ("long", (2, 131), 1),
]


def position(builtin, kind):
    """Cases of ARG_MAX and ARG_MIN."""

    def cases(rng):
        for dtype in ("f32", "i8", "u8", "i32", "bool"):
            for label, shape, axis in POSITIONS:
                wide = dtype in ("i8", "i32") and label != "long"
                output = "i64" if wide else "i32"
                opts = options(kind, outputType=4 if wide else 2)
                # Few different values, for ties.
                x = plain(rng, dtype, shape, True) if dtype in ("f32", "bool", "i32") else quantized(rng, dtype, shape)
                if dtype == "i8":
                    x.feed //= 40
                y = T(output, reduced(shape, (axis,), False))
                yield single(f"{dtype}_{label}", builtin, [x, T("i32", (), data=axis)], [y], opts, 3 if dtype == "bool" else 2)

    return cases


def topk_v2(rng):
    """Cases of TOPK_V2."""
    for dtype in ("f32", "u8", "i8", "i16", "i32", "i64"):
        for label, shape, k in [("vector", (9,), 4), ("rows", (3, 20), 5), ("all", (2, 3, 6), 6), ("one", (4, 7), 1)]:
            x = plain(rng, dtype, shape, True) if dtype in ("f32", "i32", "i64") else quantized(rng, dtype, shape)
            details = {"scale": x.scale, "zero_point": x.zero_point}
            out = (*shape[:-1], k)
            values, positions = T(dtype, out, **details), T("i32", out)
            opts = options("TopKV2Options")
            yield single(f"{dtype}_{label}", BUILTIN.TOPK_V2, [x, T("i32", (), data=k)], [values, positions], opts, 3)


def cumsum(rng):
    """Cases of CUMSUM."""
    for dtype in ("f32", "i32", "i64"):
        for label, shape, axis in [("last", (3, 9), -1), ("first", (6, 4), 0), ("middle", (2, 5, 3), 1)]:
            for exclusive in (False, True):
                for reverse in (False, True):
                    opts = options("CumsumOptions", exclusive=exclusive, reverse=reverse)
                    x, y = plain(rng, dtype, shape), T(dtype, shape)
                    name = f"{dtype}_{label}{'_exclusive' * exclusive}{'_reverse' * reverse}"
                    yield single(name, BUILTIN.CUMSUM, [x, T("i32", (), data=axis)], [y], opts, 1, dtype == "f32")
    for shape, axis in ((3, 130), 1), ((67, 9), 0):
        inputs = wide(rng, [T("f32", shape, feed=0)]) + [T("i32", (), data=axis)]
        yield single(f"f32_wide_{axis}", BUILTIN.CUMSUM, inputs, [T("f32", shape)], options("CumsumOptions"), 1, True)


def l2_normalization(rng):
    """Cases of L2_NORMALIZATION."""
    for dtype in ("f32", "i8", "u8"):
        for label, shape in [("rows", (3, 20)), ("image", (1, 2, 3, 5)), ("long", (2, 200)), ("zeros", (2, 4)), ("one", (5, 1))]:
            opts = options("L2NormOptions")
            if dtype == "f32":
                x, y = T("f32", shape, feed=floats(rng, shape, 4)), T("f32", shape)
            else:
                x = quantized(rng, dtype, shape)
                y = T(dtype, shape, 1 / 128, 0 if dtype == "i8" else 128)
            if label == "zeros":
                x.feed = np.full(shape, x.zero_point)
            yield single(f"{dtype}_{label}", BUILTIN.L2_NORMALIZATION, [x], [y], opts, 2)
    for shape in (4, 67), (2, 300):
        inputs = wide(rng, [T("f32", shape, feed=0)])
        yield single(f"f32_wide_{shape[1]}", BUILTIN.L2_NORMALIZATION, inputs, [T("f32", shape)], options("L2NormOptions"))


def local_response_normalization(rng):
    """Cases of LOCAL_RESPONSE_NORMALIZATION."""
    for radius, bias, alpha, beta in [(2, 1.0, 0.5, 0.75), (5, 2.0, 1e-2, 0.5), (1, 1.0, 1.0, 1.0), (20, 0.5, 0.1, 0.6)]:
        opts = options("LocalResponseNormalizationOptions", radius=radius, bias=bias, alpha=alpha, beta=beta)
        shape = (1, 2, 3, 12)
        x, y = T("f32", shape, feed=floats(rng, shape, 2)), T("f32", shape)
        # The reference leaves out the channel at the upper end.
        wrong = ("reference",)
        yield single(f"f32_radius{radius}", BUILTIN.LOCAL_RESPONSE_NORMALIZATION, [x], [y], opts, wrong=wrong)
    # The power multiplies the error of its base.
    for radius, bias, alpha, beta, shape in [
        (3, 1.0, 0.7, 2.0, (1, 3, 3, 23)),
        (2, 0.5, 1.5, 5.0, (1, 3, 3, 23)),
        (12, 1.0, 0.3, 3.3, (1, 3, 3, 29)),
        (20, 1.0, 1.0, 5.0, (1, 6, 7, 40)),
    ]:
        opts = options("LocalResponseNormalizationOptions", radius=radius, bias=bias, alpha=alpha, beta=beta)
        x, y = T("f32", shape, feed=rng.standard_normal(shape) * 3), T("f32", shape)
        name = f"f32_radius{radius}_beta{beta}"
        yield single(name, BUILTIN.LOCAL_RESPONSE_NORMALIZATION, [x], [y], opts, wrong=("reference",))


ALL = ("f32", "i8", "u8", "i16", "i32", "i64")
OPS = {
    "mean": reduction(BUILTIN.MEAN, 3, ALL, lambda count, x: x.scale * 0.7),
    "sum": reduction(BUILTIN.SUM, 2, ALL, lambda count, x: x.scale * np.sqrt(count) * 0.9),
    "reduce_max": reduction(BUILTIN.REDUCE_MAX, 3, ALL),
    "reduce_min": reduction(BUILTIN.REDUCE_MIN, 3, ALL),
    "reduce_prod": reduction(BUILTIN.REDUCE_PROD, 2, ("f32", "i8", "i16", "i32", "i64"), product_scale, True),
    "reduce_any": reduction(BUILTIN.REDUCE_ANY, 1, ("bool",)),
    "reduce_all": reduction(BUILTIN.REDUCE_ALL, 1, ("bool",), None, True),
    "arg_max": position(BUILTIN.ARG_MAX, "ArgMaxOptions"),
    "arg_min": position(BUILTIN.ARG_MIN, "ArgMinOptions"),
    "topk_v2": topk_v2,
    "cumsum": cumsum,
    "l2_normalization": l2_normalization,
    "local_response_normalization": local_response_normalization,
}

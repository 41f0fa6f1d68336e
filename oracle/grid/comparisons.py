"""Comparisons, what takes their results, and POW, FLOOR_DIV, FLOOR_MOD."""

import numpy as np

from grid.binary import QUANTIZED, SHAPES, integer, quantized
from grid.model import OPS as BUILTIN, options
from grid.record import T, single


def comparison(builtin, kind, types):
    """Cases of a comparison; a third of the elements are equal."""

    def cases(rng):
        opts = options(kind)
        for label, a, b, out in SHAPES:
            for dtype in types:
                if dtype == "bool":
                    x, y = (T("bool", s, feed=rng.random(s) < 0.5) for s in (a, b))
                elif dtype == "f32":
                    x, y = (T("f32", s, feed=np.round(rng.standard_normal(s) * 2)) for s in (a, b))
                else:
                    x, y = (integer(rng, dtype, s) for s in (a, b))
                yield single(f"{dtype}_{label}", builtin, [x, y], [T("bool", out)], opts)
            for dtype in QUANTIZED:
                for alike in (True, False):
                    x, y = quantized(rng, dtype, a), quantized(rng, dtype, b)
                    if alike:
                        y.scale, y.zero_point = x.scale, x.zero_point
                        if b == out:
                            y.feed = np.where(rng.random(b) < 0.3, np.broadcast_to(x.feed, b), y.feed)
                    yield single(f"{dtype}_{label}_{alike}", builtin, [x, y], [T("bool", out)], opts, 2)
        x, y = quantized(rng, "i8", (60,)), quantized(rng, "i8", (60,))
        x.scale, y.scale = np.float32(1.5), np.float32(4.0)
        yield single("i8_scales_over_1", builtin, [x, y], [T("bool", (60,))], opts, 2)

    return cases


def logical(builtin, kind):
    """Cases of LOGICAL_AND and LOGICAL_OR."""

    def cases(rng):
        for label, a, b, out in SHAPES[:5]:
            x, y = (T("bool", s, feed=rng.random(s) < 0.5) for s in (a, b))
            yield single(label, builtin, [x, y], [T("bool", out)], options(kind))

    return cases


def any_values(rng, dtype, shape):
    """Values of any type."""
    if dtype == "bool":
        return T("bool", shape, feed=rng.random(shape) < 0.5)
    if dtype in ("f32", "f16"):
        return T(dtype, shape, feed=rng.standard_normal(shape))
    if dtype in QUANTIZED:
        return quantized(rng, dtype, shape)
    return integer(rng, dtype, shape)


def select(builtin, kind, shapes):
    """Cases of SELECT and SELECT_V2."""

    def cases(rng):
        for label, c, a, b, out in shapes:
            for dtype in ("f32", "i8", "u8", "i16", "i32", "i64", "bool", "u32"):
                condition = T("bool", c, feed=rng.random(c) < 0.5)
                x, y = any_values(rng, dtype, a), any_values(rng, dtype, b)
                z = T(dtype, out, x.scale, x.zero_point)
                yield single(f"{dtype}_{label}", builtin, [condition, x, y], [z], options(kind), 2)

    return cases


SELECT_SHAPES = [
    ("same", (2, 3, 4), (2, 3, 4), (2, 3, 4), (2, 3, 4)),
    ("rows", (3,), (3, 2, 4), (3, 2, 4), (3, 2, 4)),
    ("scalar", (), (3, 5), (3, 5), (3, 5)),
    ("one", (1,), (1,), (1,), (1,)),
]
SELECT_V2_SHAPES = [
    ("same", (2, 3, 4), (2, 3, 4), (2, 3, 4), (2, 3, 4)),
    ("columns", (4,), (3, 2, 4), (3, 2, 4), (3, 2, 4)),
    ("scalars", (3, 5), (), (), (3, 5)),
    ("mixed", (2, 1, 4), (3, 1), (1, 1, 4), (2, 3, 4)),
    ("rank5", (2, 1, 3, 1, 2), (1, 2, 1, 2, 1), (2,), (2, 2, 3, 2, 2)),
]


def power(rng):
    """Cases of POW."""
    opts = options("PowOptions")
    for label, a, b, out in SHAPES[:5]:
        x = T("f32", a, feed=rng.uniform(0.1, 4, a))
        y = T("f32", b, feed=rng.uniform(-3, 3, b))
        yield single(f"f32_{label}", BUILTIN.POW, [x, y], [T("f32", out)], opts)
        x = integer(rng, "i32", a, low=-12, high=12)
        y = integer(rng, "i32", b, low=0, high=12)
        yield single(f"i32_{label}", BUILTIN.POW, [x, y], [T("i32", out)], opts)
    for exponent in (1, 2, 3, 5, 8, 0.5, -1, 0):
        x = T("f32", (30,), feed=rng.uniform(0.1, 4, 30))
        y = T("f32", (), data=np.array(exponent))
        yield single(f"f32_by_{exponent}", BUILTIN.POW, [x, y], [T("f32", (30,))], opts)
    for exponent in (0, 1, 2, 3, 11):
        x = integer(rng, "i32", (30,), low=-40, high=40)
        y = T("i32", (1,), data=np.array([exponent]))
        yield single(f"i32_by_{exponent}", BUILTIN.POW, [x, y], [T("i32", (30,))], opts)
    x = T("i32", (4,), feed=[2, -2, 3, 46341])
    y = T("i32", (4,), feed=[31, 31, 40, 2])
    yield single("i32_too_large", BUILTIN.POW, [x, y], [T("i32", (4,))], opts)
    # Results out to both ends of the range, bases beside 1, negative bases, and what has no result or is 1 by definition.
    bases = [np.geomspace(1e-12, 1e12, 41), 1 + rng.uniform(-1e-3, 1e-3, 40), -rng.uniform(0.1, 4, 20), [0, 0, -0.0, 1, -1, -2, 3]]
    exponents = [rng.uniform(-3, 3, 41), rng.uniform(-3e4, 3e4, 40), rng.integers(-9, 10, 20), [0, 2, 3, 1e9, 7, 0.5, 0]]
    x, y = (np.concatenate(parts) for parts in (bases, exponents))
    yield single("f32_tails", BUILTIN.POW, [T("f32", x.shape, feed=x), T("f32", y.shape, feed=y)], [T("f32", x.shape)], opts)


def angle(rng):
    """Cases of ATAN2."""
    opts = options("ATan2Options")
    for label, shape in [("vector", (67,)), ("image", (1, 5, 7, 3))]:
        x, y = (T("f32", shape, feed=rng.uniform(-4, 4, shape)) for _ in range(2))
        yield single(f"f32_{label}", BUILTIN.ATAN2, [x, y], [T("f32", shape)], opts)
    ends = np.array([0.0, -0.0, 1, -1, 1e-30, -1e-30, 1e30, np.inf, -np.inf, 5e-39])
    a, b = (grid.ravel() for grid in np.meshgrid(ends, ends))
    yield single("f32_ends", BUILTIN.ATAN2, [T("f32", a.shape, feed=a), T("f32", b.shape, feed=b)], [T("f32", a.shape)], opts)


def whole_division(builtin, kind, types):
    """Cases of FLOOR_DIV and FLOOR_MOD."""

    def cases(rng):
        opts = options(kind)
        for label, a, b, out in SHAPES[:5]:
            x = T("f32", a, feed=rng.uniform(-20, 20, a))
            y = T("f32", b, feed=rng.uniform(0.5, 5, b) * rng.choice([-1, 1], b))
            yield single(f"f32_{label}", builtin, [x, y], [T("f32", out)], opts, 2)
            for dtype in types:
                x, y = integer(rng, dtype, a), integer(rng, dtype, b, nonzero=True)
                y.feed = np.where(y.feed == -1, 2, y.feed)
                yield single(f"{dtype}_{label}", builtin, [x, y], [T(dtype, out)], opts, 2)

    return cases


ORDERED = ("f32", "i32", "i64")
OPS = {
    "equal": comparison(BUILTIN.EQUAL, "EqualOptions", (*ORDERED, "bool", "i16")),
    "not_equal": comparison(BUILTIN.NOT_EQUAL, "NotEqualOptions", (*ORDERED, "bool")),
    "less": comparison(BUILTIN.LESS, "LessOptions", (*ORDERED, "i16")),
    "less_equal": comparison(BUILTIN.LESS_EQUAL, "LessEqualOptions", ORDERED),
    "greater": comparison(BUILTIN.GREATER, "GreaterOptions", ORDERED),
    "greater_equal": comparison(BUILTIN.GREATER_EQUAL, "GreaterEqualOptions", ORDERED),
    "logical_and": logical(BUILTIN.LOGICAL_AND, "LogicalAndOptions"),
    "logical_or": logical(BUILTIN.LOGICAL_OR, "LogicalOrOptions"),
    "select": select(BUILTIN.SELECT, "SelectOptions", SELECT_SHAPES),
    "select_v2": select(BUILTIN.SELECT_V2, "SelectV2Options", SELECT_V2_SHAPES),
    "pow": power,
    "atan2": angle,
    "floor_div": whole_division(BUILTIN.FLOOR_DIV, "FloorDivOptions", ("i8", "i16", "i32")),
    "floor_mod": whole_division(BUILTIN.FLOOR_MOD, "FloorModOptions", ("i8", "i16", "i32", "i64")),
}

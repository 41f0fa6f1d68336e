"""Element-wise ops of two inputs, with broadcasting."""

import numpy as np

from grid.model import ACTIVATIONS, Model, OPS as BUILTIN, TYPES, options
from grid.record import Case, T, single

SHAPES = [
    ("same", (2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5)),
    ("scalar", (3, 7), (), (3, 7)),
    ("channels", (2, 3, 4, 5), (5,), (2, 3, 4, 5)),
    ("rows", (1, 6, 1, 5), (2, 1, 4, 1), (2, 6, 4, 5)),
    ("first_smaller", (4, 1), (3, 4, 9), (3, 4, 9)),
    ("rank5", (2, 1, 3, 2, 4), (2, 5, 1, 2, 1), (2, 5, 3, 2, 4)),
]
QUANTIZED = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767)}


def quantized(rng, dtype, shape, **how):
    """A quantized tensor with every value of its type likely."""
    low, high = QUANTIZED[dtype]
    symmetric = dtype == "i16"
    scale = np.float32(np.exp(rng.uniform(-9, -7) if symmetric else rng.uniform(-5, -2)))
    point = 0 if symmetric else int(rng.integers(low // 2, high // 2))
    values = rng.integers(low, high, shape, endpoint=True)
    return T(dtype, shape, scale, point, **{how.get("key", "feed"): values})


def arithmetic(builtin, kind, integers, **fields):
    """Cases of ADD, SUB and MUL; `integers` are the plain types."""

    def cases(rng):
        for label, a, b, out in SHAPES:
            for activation in ("none", "relu6"):
                opts = options(kind, fusedActivationFunction=ACTIVATIONS[activation], **fields)
                x, y = (T("f32", s, feed=rng.standard_normal(s) * 4) for s in (a, b))
                yield single(f"f32_{label}_{activation}", builtin, [x, y], [T("f32", out)], opts)
            for dtype in QUANTIZED:
                for activation in ("none", "relu"):
                    x, y = quantized(rng, dtype, a), quantized(rng, dtype, b)
                    scale = x.scale * y.scale * 60 if builtin == BUILTIN.MUL else max(x.scale, y.scale) * 1.3
                    if dtype == "i16" and builtin == BUILTIN.MUL:
                        scale = x.scale * y.scale * 15000
                    z = T(dtype, out, np.float32(scale), 0 if dtype == "i16" else int(rng.integers(0, 20)))
                    opts = options(kind, fusedActivationFunction=ACTIVATIONS[activation], **fields)
                    yield single(f"{dtype}_{label}_{activation}", builtin, [x, y], [z], opts, 2)
        yield from plain(rng, builtin, integers, SHAPES[3:5], ["none", "relu6"], kind, **fields)
        if builtin == BUILTIN.MUL:
            yield from zero_scale(rng, kind)
            yield from squares(rng, builtin, kind)
        if "potScaleInt16" in fields:
            yield from powers_of_two(rng, builtin, kind)

    return cases


def squares(rng, builtin, kind):
    """MUL of a tensor by itself, which XNNPACK computes otherwise, with scales that give ties."""
    for at, (dtype, low) in enumerate((("i8", -128), ("u8", 0)) * 4):
        model = Model()
        graph = model.graph()
        scale, values = np.float32(rng.uniform(0.005, 0.1)), np.arange(low, low + 256).astype(TYPES[dtype][0])
        steps, half = int(rng.integers(20, 120)), int(rng.integers(3, 60))
        result = np.float32(np.float64(scale) ** 2 * steps * steps / (half + 0.5))
        x = graph.input(dtype, values.shape, scale=scale, zero_point=low + int(rng.integers(30, 90)))
        y = graph.output(dtype, values.shape, scale=result, zero_point=low + int(rng.integers(0, 100)))
        opts = options(kind, fusedActivationFunction=ACTIVATIONS["relu6" if at > 3 else "none"])
        graph.op(builtin, [x, x], [y], opts, 2)
        yield Case(f"{dtype}_square_{at}", model.bytes(), [[values]])


def zero_scale(rng, kind):
    """MUL by a tensor of zeros whose scale is 0, as converters write it for the first state of a recurrent layer."""
    for dtype in QUANTIZED:
        x, y = quantized(rng, dtype, (2, 7)), T(dtype, (2, 7), np.float32(0), 0, feed=np.zeros((2, 7)))
        z = T(dtype, (2, 7), np.float32(0.01), 0 if dtype == "i16" else 7)
        yield single(f"{dtype}_zero_scale", BUILTIN.MUL, [x, y], [z], options(kind, fusedActivationFunction=0), 4)


def powers_of_two(rng, builtin, kind):
    """int16 ADD and SUB with `pot_scale_int16`: of powers of two the operands are shifted; other scales are as without it."""
    for label, a, b, out in SHAPES[:1] if builtin == BUILTIN.ADD else SHAPES[:4]:
        for exponents in ((-12, -12, -12), (-15, -12, -12), (-10, -11, -10), (-12, -14, -10.5)):
            for activation in ("none", "relu6"):
                x, y = quantized(rng, "i16", a), quantized(rng, "i16", b)
                x.scale, y.scale, scale = (np.float32(2.0**e) for e in exponents)
                opts = options(kind, fusedActivationFunction=ACTIVATIONS[activation], potScaleInt16=True)
                name = f"i16_{label}_{activation}_{'_'.join(map(str, exponents))}"
                yield single(name, builtin, [x, y], [T("i16", out, scale, 0)], opts)


def integer(rng, dtype, shape, nonzero=False, **limits):
    """A plain integer tensor: a third small values, the others over the whole range."""
    info = np.iinfo(TYPES[dtype][0])
    low, high = limits.get("low", info.min), limits.get("high", info.max)
    values = rng.integers(low, high, shape, dtype=info.dtype, endpoint=True)
    small = rng.integers(max(low, -3), min(high, 9), shape, dtype=info.dtype, endpoint=True)
    values = np.where(rng.random(shape) < 0.3, small, values)
    return T(dtype, shape, feed=np.where(values == 0, 1, values) if nonzero else values)


def plain(rng, builtin, dtypes, shapes, activations, kind=None, nonzero=False, limits=None, **fields):
    """Cases of two plain integers."""
    for label, a, b, out in shapes:
        for dtype in dtypes:
            for activation in activations:
                opts = options(kind, fusedActivationFunction=ACTIVATIONS[activation], **fields) if kind else None
                x = integer(rng, dtype, a, **(limits or {}))
                y = integer(rng, dtype, b, nonzero, **(limits or {}))
                yield single(f"{dtype}_plain_{label}_{activation}", builtin, [x, y], [T(dtype, out)], opts)


def extremum(builtin):
    """Cases of MAXIMUM and MINIMUM, whose quantized operands may have different scales."""

    def cases(rng):
        for label, a, b, out in SHAPES:
            x, y = (T("f32", s, feed=rng.standard_normal(s) * 4) for s in (a, b))
            yield single(f"f32_{label}", builtin, [x, y], [T("f32", out)], options("MaximumMinimumOptions"))
            for dtype in QUANTIZED:
                x, y = quantized(rng, dtype, a), quantized(rng, dtype, b)
                for alike in (True, False):
                    if alike:
                        y.scale, y.zero_point = x.scale, x.zero_point
                    z = T(dtype, out, x.scale, x.zero_point)
                    yield single(f"{dtype}_{label}_{alike}", builtin, [x, y], [z], options("MaximumMinimumOptions"), 2)
        yield from plain(rng, builtin, ["i32", "i64"], SHAPES, ["none"])

    return cases


def division(rng):
    """Cases of DIV."""
    for label, a, b, out in (SHAPES[0], SHAPES[1], SHAPES[4], SHAPES[5]):
        for activation in ("none", "relu6"):
            opts = options("DivOptions", fusedActivationFunction=ACTIVATIONS[activation])
            x, y = (T("f32", s, feed=rng.standard_normal(s) * 4) for s in (a, b))
            yield single(f"f32_{label}_{activation}", BUILTIN.DIV, [x, y], [T("f32", out)], opts)
        for dtype in QUANTIZED:
            for activation, ratios in (("none", (0.05, 1.0, 20.0)), ("relu", (0.1,))):
                for ratio in ratios:
                    x, y = quantized(rng, dtype, a), quantized(rng, dtype, b)
                    y.feed = np.where(y.feed == y.zero_point, y.zero_point + 1, y.feed)
                    z = T(dtype, out, np.float32(x.scale / y.scale * ratio), 0 if dtype == "i16" else 5)
                    opts = options("DivOptions", fusedActivationFunction=ACTIVATIONS[activation])
                    yield single(f"{dtype}_{label}_{activation}_{ratio}", BUILTIN.DIV, [x, y], [z], opts)
    yield from plain(rng, BUILTIN.DIV, ["i32"], SHAPES[3:], ACTIVATIONS, "DivOptions", nonzero=True)
    zero = T("i32", (3,), feed=np.array([1, 0, 2]))
    opts = options("DivOptions", fusedActivationFunction=0)
    yield single("i32_by_zero", BUILTIN.DIV, [zero, zero], [T("i32", (3,))], opts)


def squared_difference(rng):
    """Cases of SQUARED_DIFFERENCE."""
    opts = options("SquaredDifferenceOptions")
    for label, a, b, out in SHAPES[:5]:
        x, y = (T("f32", s, feed=rng.standard_normal(s) * 4) for s in (a, b))
        yield single(f"f32_{label}", BUILTIN.SQUARED_DIFFERENCE, [x, y], [T("f32", out)], opts)
        for ratio in (0.3, 4.0, 60.0):
            x, y = quantized(rng, "i8", a), quantized(rng, "i8", b)
            z = T("i8", out, np.float32(max(x.scale, y.scale) ** 2 * ratio), int(rng.integers(-128, 0)))
            yield single(f"i8_{label}_{ratio}", BUILTIN.SQUARED_DIFFERENCE, [x, y], [z], opts, 2)
    limits = {"low": -40000, "high": 40000}
    yield from plain(rng, BUILTIN.SQUARED_DIFFERENCE, ["i32"], SHAPES[:5], ["none"], limits=limits)


def prelu(rng):
    """Cases of PRELU, alpha given and constant."""
    shapes = [
        ("same", (2, 3, 4), (2, 3, 4)),
        ("channels", (2, 3, 4, 5), (5,)),
        ("shared", (2, 3, 4, 5), (1, 1, 5)),
        ("scalar", (7, 6), (1,)),
        ("rows", (2, 3, 4, 5), (3, 1, 5)),
    ]
    for label, a, b in shapes:
        for key in ("feed", "data"):
            x = T("f32", a, feed=rng.standard_normal(a) * 4)
            alpha = T("f32", b, **{key: rng.standard_normal(b)})
            yield single(f"f32_{label}_{key}", BUILTIN.PRELU, [x, alpha], [T("f32", a)])
            for dtype in QUANTIZED:
                for ratio in (0.4, 1.7):
                    x = quantized(rng, dtype, a)
                    alpha = quantized(rng, "i8" if dtype == "i16" else dtype, b, key=key)
                    point = 0 if dtype == "i16" else int(rng.integers(-9, 9)) + (128 if dtype == "u8" else 0)
                    y = T(dtype, a, np.float32(x.scale * ratio), point)
                    yield single(f"{dtype}_{label}_{key}_{ratio}", BUILTIN.PRELU, [x, alpha], [y])


def add_n(rng):
    """Cases of ADD_N."""
    for count in (2, 3, 5):
        x = [T("f32", (2, 5), feed=np.round(rng.standard_normal((2, 5)) * 64) / 64) for _ in range(count)]
        yield single(f"f32_{count}", BUILTIN.ADD_N, x, [T("f32", (2, 5))], options("AddNOptions"), sums=True)
        x = [integer(rng, "i32", (3, 4)) for _ in range(count)]
        yield single(f"i32_{count}", BUILTIN.ADD_N, x, [T("i32", (3, 4))], options("AddNOptions"))
    x = [T("f32", (3, 17), feed=rng.standard_normal((3, 17)) * 10**at) for at in range(4)]
    yield single("f32_wide", BUILTIN.ADD_N, x, [T("f32", (3, 17))], options("AddNOptions"), sums=True)


OPS = {
    "add": arithmetic(BUILTIN.ADD, "AddOptions", ["i16", "i32", "i64"], potScaleInt16=False),
    "sub": arithmetic(BUILTIN.SUB, "SubOptions", ["i32", "i64"], potScaleInt16=False),
    "mul": arithmetic(BUILTIN.MUL, "MulOptions", ["i16", "i32", "i64", "u32"]),
    "div": division,
    "maximum": extremum(BUILTIN.MAXIMUM),
    "minimum": extremum(BUILTIN.MINIMUM),
    "squared_difference": squared_difference,
    "prelu": prelu,
    "add_n": add_n,
}

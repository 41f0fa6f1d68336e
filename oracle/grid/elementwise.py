"""Functions of one operand."""

import numpy as np

from grid.binary import QUANTIZED, quantized
from grid.model import OPS as BUILTIN, options
from grid.record import T, single

SHAPES = {"long": (3, 5, 7), "scalar": (), "rank5": (2, 1, 3, 2, 2)}


def floats(rng, shape, low, high):
    """Floats in a range, a few of them halves and whole numbers."""
    values = rng.uniform(low, high, shape)
    return np.clip(np.where(rng.random(shape) < 0.2, np.round(values * 2) / 2, values), low, high)


def every(dtype, part):
    """All values of an 8-bit type; of int16 every 97th and some around 0."""
    low, high = QUANTIZED[dtype]
    values = np.arange(low, high + 1) if dtype != "i16" else np.append(np.arange(low, high + 1, 97), range(-20, 20))
    return values[values >= 0] if part == "positive" else values


def function(builtin, kind, low, high, quantized_types=(), ratios=(), output=None, positive=False, **how):
    """Cases of a function: floats in [low, high]; quantized values of all kinds, where `output` gives the output's scale and
    zero point; `how["plain"]` are types of plain integers, `how["tails"]` floats far out, `how["huge"]` such for which
    XNNPACK is wrong."""

    def cases(rng):
        opts = options(kind) if kind else None
        for label, shape in SHAPES.items():
            values = how["floats"](rng, shape) if "floats" in how else floats(rng, shape, low, high)
            yield single(f"f32_{label}", builtin, [T("f32", shape, feed=values)], [T("f32", shape)], opts)
        if "tails" in how:
            values = np.asarray(how["tails"], np.float32)
            yield single("f32_tails", builtin, [T("f32", values.shape, feed=values)], [T("f32", values.shape)], opts)
        if "huge" in how:
            values = np.asarray(how["huge"], np.float32)
            yield single("f32_huge", builtin, [T("f32", values.shape, feed=values)], [T("f32", values.shape)], opts, wrong=("litert",))
        for dtype in quantized_types:
            for number, ratio in enumerate(ratios):
                symmetric = dtype == "i16"
                info = QUANTIZED[dtype]
                scale = np.float32((high - (0 if positive and not symmetric else low)) / (info[1] - info[0]) * ratio)
                if symmetric:
                    scale = np.float32(max(high, -low) / 32767 * ratio)
                middle = (info[0] + info[1] + 1) // 2
                point = 0 if symmetric else (info[0] if positive else middle + [0, -37, 60][number % 3])
                values = every(dtype, "positive" if positive and symmetric else "all")
                x = T(dtype, values.shape, scale, point, feed=values)
                real = (values.astype(np.float64) - point) * scale
                out_scale, out_point = output(dtype, real, x)
                y = T(dtype, values.shape, np.float32(out_scale), out_point)
                yield single(f"{dtype}_{ratio}", builtin, [x], [y], opts, how.get("version", 2))
        for dtype in how.get("plain", ()):
            x = how["feed"](rng, dtype)
            yield single(f"{dtype}_plain", builtin, [x], [T(dtype, x.shape)], opts)

    return cases


def covering(transform):
    """Output parameters that cover what `transform` gives."""

    def parameters(dtype, real, _):
        with np.errstate(all="ignore"):
            values = transform(real)
        values = values[np.isfinite(values)]
        if dtype == "i16":
            return max(np.abs(values).max(), 1e-6) / 32767, 0
        low, high = min(values.min(), 0), max(values.max(), 0.1)
        scale = (high - low) / 255
        return scale, int(np.clip(round(QUANTIZED[dtype][0] - low / scale), *QUANTIZED[dtype]))

    return parameters


def plain(rng, dtype):
    """Plain integers over the whole range."""
    info = np.iinfo({"i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}[dtype])
    values = rng.integers(info.min, info.max, 60, dtype=info.dtype, endpoint=True)
    return T(dtype, (60,), feed=np.append(values[:55], [0, 1, -1, info.max, info.min + 1]))


def away_from_zeros(of):
    """Angles at which the function is not near zero: there XNNPACK's error is large for the small result."""

    def draw(rng, shape):
        values = rng.uniform(-9, 9, (*shape, 40))
        best = np.argmax(np.abs(of(values)) > 0.3, axis=-1)
        return np.take_along_axis(values, best[..., None], -1)[..., 0]

    return draw


# From the least normal number to the largest.
MAGNITUDES = np.append(np.geomspace(1.2e-38, 3.4e38, 90), 1 + np.geomspace(-0.3, -1e-6, 15)).tolist() + [1.0, 1.0000001, 1.001]

# Many turns, and beside multiples of a quarter turn.
ANGLES = np.concatenate([np.geomspace(1e-20, 30000, 60), np.arange(-9, 9) * np.pi / 2 + 1e-3])
# There XNNPACK's polynomials leave the range from -1 to 1.
HUGE_ANGLES = np.geomspace(1e5, 1e30, 60)


def logical_not(rng):
    """Cases of LOGICAL_NOT."""
    for label, shape in SHAPES.items():
        x = T("bool", shape, feed=rng.random(shape) < 0.5)
        yield single(label, BUILTIN.LOGICAL_NOT, [x], [T("bool", shape)], options("LogicalNotOptions"))


def abs_(rng):
    """Cases of ABS; with the input's scale the output is not rescaled."""
    yield from function(
        BUILTIN.ABS, "AbsOptions", -9, 9, ("i8", "i16"), (1, 0.3, 2.5), covering(np.abs), plain=("i16", "i32"), feed=plain
    )(rng)
    for dtype in ("i8", "i16"):
        x = quantized(rng, dtype, (50,))
        y = T(dtype, (50,), x.scale, 0 if dtype == "i16" else -100)
        yield single(f"{dtype}_same_scale", BUILTIN.ABS, [x], [y], options("AbsOptions"), 2)


def relu_0_to_1(rng):
    """Cases of RELU_0_TO_1."""
    yield from function(BUILTIN.RELU_0_TO_1, None, -2, 3, ("i8", "u8"), (1, 0.3, 2.5), covering(lambda x: np.clip(x, 0, 1)), version=1)(rng)


def leaky(rng):
    """Cases of LEAKY_RELU: slopes of all kinds."""
    for alpha in (0.1, 0.0, -0.4, 1.5):
        opts = options("LeakyReluOptions", alpha=alpha)
        x = T("f32", (60,), feed=rng.standard_normal(60) * 5)
        yield single(f"f32_{alpha}", BUILTIN.LEAKY_RELU, [x], [T("f32", (60,))], opts)
        for dtype in QUANTIZED:
            for ratio in (0.7, 3.0):
                values = every(dtype, "all")
                point = {"i8": -11, "u8": 140, "i16": 0}[dtype]
                x = T(dtype, values.shape, np.float32(0.05), point, feed=values)
                y = T(dtype, values.shape, np.float32(0.05 * ratio), 0 if dtype == "i16" else point + 5)
                yield single(f"{dtype}_{alpha}_{ratio}", BUILTIN.LEAKY_RELU, [x], [y], opts, 2)


BOTH = ("i8", "i16")
OPS = {
    "abs": abs_,
    "ceil": function(BUILTIN.CEIL, None, -9, 9),
    "cos": function(
        BUILTIN.COS, "CosOptions", -9, 9, floats=away_from_zeros(np.cos), tails=ANGLES, huge=HUGE_ANGLES
    ),
    "elu": function(
        BUILTIN.ELU, None, -6, 6, ("i8",), (1, 0.3, 2.5), covering(lambda x: np.where(x < 0, np.expm1(x), x)), version=1,
        tails=np.append(np.linspace(-90, 9, 60), -np.geomspace(1e-30, 1, 30)),
    ),
    "exp": function(
        BUILTIN.EXP, "ExpOptions", -7, 7, BOTH, (1, 0.2, 0.6), covering(np.exp), tails=np.linspace(-100, 88.7, 120)
    ),
    "floor": function(BUILTIN.FLOOR, None, -9, 9),
    "leaky_relu": leaky,
    "log": function(BUILTIN.LOG, None, 0.01, 30, BOTH, (1, 0.1, 5.0), covering(np.log), tails=MAGNITUDES),
    "logical_not": logical_not,
    "neg": function(BUILTIN.NEG, "NegOptions", -9, 9, plain=("i8", "i16", "i32", "i64"), feed=plain),
    "relu_0_to_1": relu_0_to_1,
    "round": function(BUILTIN.ROUND, None, -9, 9),
    "rsqrt": function(
        BUILTIN.RSQRT, None, 0.01, 30, BOTH, (1, 0.1, 5.0), covering(lambda x: 1 / np.sqrt(x)), positive=True,
        tails=MAGNITUDES,
    ),
    "sign": function(BUILTIN.SIGN, "SignOptions", -9, 9, plain=("i32",), feed=plain),
    "sin": function(BUILTIN.SIN, None, -9, 9, floats=away_from_zeros(np.sin), tails=ANGLES, huge=HUGE_ANGLES),
    "sqrt": function(
        BUILTIN.SQRT, None, 0.0, 30, BOTH, (1, 0.1, 5.0), covering(np.sqrt), positive=True, tails=MAGNITUDES
    ),
    "square": function(BUILTIN.SQUARE, "SquareOptions", -9, 9),
}

"""Activations as ops of their own, and SOFTMAX: all values of small types, floats out to where a result is all but a limit."""

import numpy as np

from grid.binary import QUANTIZED
from grid.elementwise import covering, every
from grid.model import OPS as BUILTIN, options
from grid.record import T, single

# Scales and zero points that LiteRT wants of what lies between 0 and 1, and between -1 and 1.
PROBABILITIES = {"i8": (1 / 256, -128), "u8": (1 / 256, 0), "i16": (1 / 32768, 0)}
SIGNED_UNIT = {"i8": (1 / 128, 0), "u8": (1 / 128, 128), "i16": (1 / 32768, 0)}


def reals(rng, reach):
    """Floats that lie evenly out to both tails, random ones, zeros, and the least normal numbers."""
    tails = np.linspace(-reach, reach, 97)
    near = rng.standard_normal(40)
    rare = [0.0, -0.0, 1e-30, -1e-30, np.finfo(np.float32).tiny, -np.finfo(np.float32).tiny]
    return np.concatenate([tails, near, rare]).astype(np.float32)


def unary(builtin, reach, transform, types, ratios, fixed=None, opts=None, label="", version=1, i16_scales=()):
    """Cases of an activation: floats in -reach to reach; values of small types that cover them `ratio` times, and int16 of the
    scales `i16_scales`. The output has the scale and zero point that `fixed` gives for the type, or such as cover what `transform`
    gives."""

    def cases(rng):
        floats = {"tails": reals(rng, reach), "rank4": rng.standard_normal((2, 3, 1, 7)) * reach / 3, "scalar": np.array(0.7)}
        for name, x in floats.items():
            yield single(f"f32{label}_{name}", builtin, [T("f32", x.shape, feed=x)], [T("f32", x.shape)], opts)
        for dtype in types:
            low, high = QUANTIZED[dtype]
            scales = [(ratio, np.float32(2 * reach / (high - low) * ratio)) for ratio in ratios]
            scales += [(f"scale_{n}", np.float32(scale)) for n, scale in enumerate(i16_scales) if dtype == "i16"]
            for at, (ratio, scale) in enumerate(scales):
                point = 0 if dtype == "i16" else (low + high + 1) // 2 + (0, -37, 60)[at % 3]
                values = every(dtype, "all")
                x = T(dtype, values.shape, scale, point, feed=values)
                real = (values.astype(np.float64) - point) * scale
                out_scale, out_point = fixed[dtype] if fixed else covering(transform)(dtype, real, x)
                y = T(dtype, values.shape, np.float32(out_scale), out_point)
                number = version(dtype) if callable(version) else version
                yield single(f"{dtype}{label}_{ratio}", builtin, [x], [y], opts, number)

    return cases


def both_forms(rng):
    """GELU by the error function and by tanh."""
    curve = lambda x: x / (1 + np.exp(-1.702 * x))
    for approximate in (False, True):
        opts = options("GeluOptions", approximate=approximate)
        label = "_approximate" if approximate else ""
        yield from unary(
            BUILTIN.GELU, 6, curve, ("i8", "u8", "i16"), (1, 0.3, 2.5), None, opts, label, lambda dtype: 1 if dtype == "i16" else 2
        )(rng)


def clip(builtin, low, high, types, version=2):
    """Cases of an op that cuts off: the output's scale is another than the input's, or the same."""

    def cases(rng):
        yield from unary(builtin, 9, lambda x: np.clip(x, low, high), types, (1, 0.3, 2.5), version=version)(rng)
        for dtype in types:
            values = every(dtype, "all")
            x = T(dtype, values.shape, np.float32(0.05 if dtype != "i16" else 0.0005), 0 if dtype == "i16" else 20, feed=values)
            y = T(dtype, values.shape, x.scale, x.zero_point)
            number = version(dtype) if callable(version) else version
            yield single(f"{dtype}_same_scale", builtin, [x], [y], None, number)

    return cases


def softmax(rng):
    """Cases of SOFTMAX."""
    for beta in (1.0, 0.5, 2.5):
        opts = options("SoftmaxOptions", beta=beta)
        for shape in ((1,), (5, 1), (4, 2), (7,), (3, 10), (2, 3, 4, 5), (3, 17), (2, 130), (1, 1000)):
            if beta != 1 and shape not in ((3, 10), (1, 1000)):
                continue
            for spread in (1, 30):
                x = T("f32", shape, feed=rng.standard_normal(shape) * spread)
                name = f"f32_{'x'.join(map(str, shape))}_spread{spread}_beta{beta}"
                yield single(name, BUILTIN.SOFTMAX, [x], [T("f32", shape)], opts)
        for dtype, version in (("i8", 2), ("u8", 2), ("i16", 3)):
            for shape in ((4, 2), (3, 10), (2, 3, 4, 5), (2, 300)):
                if beta != 1 and shape != (3, 10):
                    continue
                for scale in (0.01, 0.1, 0.7):
                    scale = np.float32(scale / 256 if dtype == "i16" else scale)
                    point = {"i8": -9, "u8": 131, "i16": 0}[dtype]
                    x = T(dtype, shape, scale, point, feed=rng.integers(*QUANTIZED[dtype], shape, endpoint=True))
                    y = T(dtype, shape, *PROBABILITIES[dtype])
                    name = f"{dtype}_{'x'.join(map(str, shape))}_{scale:.5f}_beta{beta}"
                    yield single(name, BUILTIN.SOFTMAX, [x], [y], opts, version)
                    if dtype != "i16":
                        y = T("i16", shape, np.float32(1 / 65536), -32768)
                        yield single(f"{name}_to_i16", BUILTIN.SOFTMAX, [x], [y], opts, version)


def by_type(dtype):
    """The version of most activations."""
    return 3 if dtype == "i16" else 2


# Scales of int16 inputs for which LiteRT has a function in fixed point.
SHIFTED = (1 / 4096, 1 / 2048)
SMALL = ("i8", "u8", "i16")
OPS = {
    "gelu": both_forms,
    "hard_swish": unary(
        BUILTIN.HARD_SWISH,
        6,
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        ("i8", "u8"),
        (1, 0.3, 2.5),
        opts=options("HardSwishOptions"),
    ),
    "logistic": unary(BUILTIN.LOGISTIC, 110, None, SMALL, (1, 0.1, 0.03), PROBABILITIES, version=by_type, i16_scales=SHIFTED),
    "relu": clip(BUILTIN.RELU, 0, np.inf, SMALL, by_type),
    "relu6": clip(BUILTIN.RELU6, 0, 6, SMALL, by_type),
    "relu_n1_to_1": clip(BUILTIN.RELU_N1_TO_1, -1, 1, ("i8", "u8"), 1),
    "softmax": softmax,
    "tanh": unary(BUILTIN.TANH, 12, None, SMALL, (1, 0.3, 3), SIGNED_UNIT, version=by_type, i16_scales=SHIFTED),
}

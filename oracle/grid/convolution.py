"""Convolutions, matrix products with constant weights, and pooling."""

import numpy as np

from grid.binary import QUANTIZED, quantized
from grid.model import ACTIVATIONS, OPS as BUILTIN, options
from grid.record import T, single

# Activations and weights, then the bias: what LiteRT registers.
TYPES = {
    "f32": ("f32", "f32", "f32"),
    "i8": ("i8", "i8", "i32"),
    "u8": ("u8", "u8", "i32"),
    "i16_b64": ("i16", "i8", "i64"),
    "i16_b32": ("i16", "i8", "i32"),
    "hybrid": ("f32", "i8", "f32"),
    "hybrid_i4": ("f32", "i4", "f32"),
    "i8_i4": ("i8", "i4", "i32"),
    "i16_i4": ("i16", "i4", "i64"),
}
WEIGHTS = {"i8": (-127, 127), "u8": (0, 255), "i4": (-7, 7)}


def floats(rng, shape, scale):
    """Floats of few bits, which pack well."""
    return np.round(rng.standard_normal(shape) * scale * 64) / 64


def wide(rng, tensors):
    """The same float tensors with values of all bits and of many sizes, so that sums round and cancel: few bits often add up
    exactly."""
    for t in tensors:
        if t is not None and t.dtype == "f32":
            values = rng.standard_normal(t.shape) * np.exp(rng.uniform(-3, 3, t.shape))
            t.feed, t.data = (values, None) if t.data is None else (None, values)
    return tensors


def spread(low, high):
    """The standard deviation of an evenly distributed integer."""
    return (high - low + 1) / np.sqrt(12)


def weights(rng, dtype, shape, axis, per_channel, key="data"):
    """Weights, quantized for each index along `axis` or as a whole; `key` is "feed" to have them computed."""
    if dtype == "f32":
        return T("f32", shape, **{key: floats(rng, shape, 1)})
    low, high = WEIGHTS[dtype]
    count = shape[axis] if per_channel else 1
    scale = np.exp(rng.uniform(-6, -5, count)).astype(np.float32)
    point = int(rng.integers(100, 150)) if dtype == "u8" else 0
    return T(dtype, shape, scale, point, axis if per_channel else 0, **{key: rng.integers(low, high, shape, endpoint=True)})


def product(rng, kind, x_shape, w_shape, out_shape, axis, terms, per_channel, bias=True, key="data"):
    """Input, weights, bias and output of a product that sums `terms` terms for each element of the output."""
    x_type, w_type, bias_type = TYPES[kind]
    channels = w_shape[axis]
    w = weights(rng, w_type, w_shape, axis, per_channel, key)
    if x_type == "f32":
        x = T("f32", x_shape, feed=floats(rng, x_shape, 3))
        b = T("f32", (channels,), data=floats(rng, channels, 2)) if bias else None
        return [x, w, b], T("f32", out_shape)
    x = quantized(rng, x_type, x_shape)
    size = spread(*QUANTIZED[x_type]) * spread(*WEIGHTS[w_type]) * np.sqrt(terms)
    b = None
    if bias:
        data = (rng.standard_normal(channels) * size / 3).astype(np.int64)
        b = T(bias_type, (channels,), x.scale * np.asarray(w.scale, np.float32), 0, data=data)
    low, high = QUANTIZED[x_type]
    scale = np.float32(x.scale * np.mean(w.scale) * size * 5 / (high - low))
    point = 0 if x_type == "i16" else int(rng.integers(low // 4, high // 4))
    return [x, w, b], T(x_type, out_shape, scale, point)


def with_zero_channel(inputs, axis):
    """The operands of a product with a channel of zeros whose scale is 0, as converters write it."""
    _, w, b = inputs
    w.scale[1] = 0
    np.moveaxis(w.data, axis, 0)[1] = 0
    if b.scale is not None:
        b.scale[1] = 0
        b.data[1] = 0
    return inputs


def reach(size, kernel, stride, dilation, padding):
    """Output size along one axis."""
    kernel = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "same" else (size - kernel) // stride + 1


def bias_type(kind):
    """The bias type as an option: only int16 needs it."""
    return {"i16_b64": 4, "i16_b32": 2, "i16_i4": 4}.get(kind, 0)


# Name; batch, height, width, channels in and out; kernel, stride, dilation (each vertical, horizontal); groups.
CONVOLUTIONS = [
    ("3x3", 1, 4, 5, 3, 5, (3, 3), (1, 1), (1, 1), 1),
    ("3x3_stride2", 1, 5, 6, 4, 3, (3, 3), (2, 2), (1, 1), 1),
    ("1x1", 2, 3, 2, 5, 7, (1, 1), (1, 1), (1, 1), 1),
    ("1x1_stride2", 1, 5, 3, 6, 4, (1, 1), (2, 2), (1, 1), 1),
    ("2x5_stride3x1", 1, 6, 7, 2, 3, (2, 5), (3, 1), (1, 1), 1),
    ("dilated", 1, 5, 7, 3, 4, (3, 3), (1, 1), (2, 3), 1),
    ("dilated_stride2", 1, 6, 7, 2, 3, (2, 3), (2, 2), (2, 2), 1),
    ("grouped", 1, 3, 4, 6, 9, (3, 3), (1, 1), (1, 1), 3),
    ("grouped_dilated", 1, 4, 5, 4, 2, (2, 2), (1, 1), (2, 1), 2),
    ("whole_image", 2, 3, 2, 5, 4, (3, 2), (1, 1), (1, 1), 1),
    ("one_channel", 1, 5, 4, 1, 1, (3, 3), (1, 1), (1, 1), 1),
    ("deep", 1, 2, 2, 17, 33, (2, 2), (1, 1), (1, 1), 1),
]


def conv_2d(rng):
    """Cases of CONV_2D."""
    for kind in TYPES:
        for at, (label, batch, height, width, c_in, c_out, kernel, stride, dilation, groups) in enumerate(CONVOLUTIONS):
            if label == "deep" and kind not in ("f32", "i8", "hybrid_i4"):
                continue
            padding = ("same", "valid")[(at + len(kind)) % 2]
            activation = ("none", "relu", "relu6", "none", "relu_n1_to_1")[(at + len(kind)) % 5]
            sizes = [reach(s, k, t, d, padding) for s, k, t, d in zip((height, width), kernel, stride, dilation)]
            opts = options(
                "Conv2DOptions",
                padding=0 if padding == "same" else 1,
                strideH=stride[0],
                strideW=stride[1],
                dilationHFactor=dilation[0],
                dilationWFactor=dilation[1],
                fusedActivationFunction=ACTIVATIONS[activation],
                quantizedBiasType=bias_type(kind),
            )
            x, w = (batch, height, width, c_in), (c_out, *kernel, c_in // groups)
            terms = np.prod(w[1:])
            inputs, y = product(rng, kind, x, w, (batch, *sizes, c_out), 0, terms, kind != "u8" and at % 4 != 1)
            yield single(f"{kind}_{label}", BUILTIN.CONV_2D, inputs, [y], opts, 8, kind == "f32")
    opts = options("Conv2DOptions", padding=0, strideH=1, strideW=2, dilationHFactor=1, dilationWFactor=1)
    for kind in ("i8", "i16_b64", "hybrid"):
        inputs, y = product(rng, kind, (1, 4, 5, 3), (12, 2, 3, 3), (1, 4, 3, 12), 0, 18, True)
        yield single(f"{kind}_zero_channel", BUILTIN.CONV_2D, with_zero_channel(inputs, 0), [y], opts, 3)
    for kind in ("f32", "i8", "u8"):
        shapes = (1, 4, 5, 3), (4, 2, 3, 3), (1, 4, 3, 4)
        inputs, y = product(rng, kind, *shapes, 0, 18, kind == "i8", key="feed")
        yield single(f"{kind}_computed_filter", BUILTIN.CONV_2D, inputs, [y], opts, 3, kind == "f32")
    opts = options("Conv2DOptions", padding=0, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
    for label, x, w in [
        ("wide_3x3", (1, 4, 5, 3), (5, 3, 3, 3)),
        ("wide_1x1", (2, 3, 2, 19), (7, 1, 1, 19)),
        ("wide_16_channels", (1, 5, 6, 16), (16, 3, 3, 16)),
        ("wide_32_channels", (1, 3, 4, 32), (32, 3, 3, 32)),
        ("hollow_16_channels", (1, 3, 6, 16), (16, 3, 3, 16)),
        ("hollow_32_channels", (1, 3, 4, 32), (32, 3, 3, 32)),
    ]:
        inputs, y = product(rng, "f32", x, w, (*x[:3], w[0]), 0, 1, False)
        wide(rng, inputs)
        if "hollow" in label:
            # A bright line, and filters that leave out the column under it: a sum that is made of other sums keeps its rounding.
            inputs[0].feed[:, :, 1] *= 1e6
            inputs[1].data[:, :, 1] = 0
        yield single(f"f32_{label}", BUILTIN.CONV_2D, inputs, [y], opts, 1, True)


# Name; batch, height, width, channels in, multiplier; kernel, stride, dilation.
DEPTHWISE = [
    ("3x3", 1, 4, 5, 8, 1, (3, 3), (1, 1), (1, 1)),
    ("3x3_odd", 2, 3, 4, 5, 1, (3, 3), (1, 1), (1, 1)),
    ("3x3_stride2", 1, 5, 6, 16, 1, (3, 3), (2, 2), (1, 1)),
    ("5x5", 1, 5, 6, 3, 1, (5, 5), (1, 1), (1, 1)),
    ("multiplier2", 1, 4, 4, 3, 2, (3, 3), (1, 1), (1, 1)),
    ("multiplier8", 1, 4, 5, 1, 8, (3, 2), (2, 2), (1, 1)),
    ("dilated", 1, 6, 5, 6, 1, (3, 3), (1, 1), (2, 2)),
    ("dilated_multiplier", 1, 5, 6, 2, 3, (2, 3), (1, 1), (3, 2)),
    ("1x1", 1, 3, 3, 7, 1, (1, 1), (1, 1), (1, 1)),
    ("2x4_stride1x2", 1, 4, 7, 4, 1, (2, 4), (1, 2), (1, 1)),
    ("channels33", 1, 3, 3, 33, 1, (3, 3), (1, 1), (1, 1)),
]


def depthwise_conv_2d(rng):
    """Cases of DEPTHWISE_CONV_2D."""
    for kind in ("f32", "i8", "u8", "i16_b64", "hybrid", "i8_i4"):
        for at, (label, batch, height, width, c_in, multiplier, kernel, stride, dilation) in enumerate(DEPTHWISE):
            padding = ("same", "valid")[(at + len(kind)) % 2]
            activation = ("none", "relu", "relu6", "none", "relu_n1_to_1")[(at + len(kind)) % 5]
            sizes = [reach(s, k, t, d, padding) for s, k, t, d in zip((height, width), kernel, stride, dilation)]
            opts = options(
                "DepthwiseConv2DOptions",
                padding=0 if padding == "same" else 1,
                strideH=stride[0],
                strideW=stride[1],
                dilationHFactor=dilation[0],
                dilationWFactor=dilation[1],
                depthMultiplier=multiplier,
                fusedActivationFunction=ACTIVATIONS[activation],
            )
            x, w = (batch, height, width, c_in), (1, *kernel, c_in * multiplier)
            # With one scale for dynamic range LiteRT reads past its end.
            per_channel = kind == "hybrid" or (kind != "u8" and at % 4 != 1)
            inputs, y = product(rng, kind, x, w, (batch, *sizes, w[3]), 3, np.prod(kernel), per_channel)
            yield single(f"{kind}_{label}", BUILTIN.DEPTHWISE_CONV_2D, inputs, [y], opts, 6, kind == "f32")
    opts = options(
        "DepthwiseConv2DOptions", padding=0, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1, depthMultiplier=1
    )
    for kind in ("i8", "i16_b64", "hybrid"):
        inputs, y = product(rng, kind, (1, 4, 5, 11), (1, 2, 3, 11), (1, 4, 5, 11), 3, 6, True)
        yield single(f"{kind}_zero_channel", BUILTIN.DEPTHWISE_CONV_2D, with_zero_channel(inputs, 3), [y], opts, 3)
    shapes = (1, 4, 5, 6), (1, 2, 3, 6), (1, 4, 5, 6)
    for kind in ("f32", "i8", "u8"):
        inputs, y = product(rng, kind, *shapes, 3, 6, kind == "i8", key="feed")
        yield single(f"{kind}_computed_filter", BUILTIN.DEPTHWISE_CONV_2D, inputs, [y], opts, 3, kind == "f32")
    for kind in ("f32", "i8"):
        inputs, y = product(rng, kind, *shapes, 3, 6, True, bias=False)
        yield single(f"{kind}_no_bias", BUILTIN.DEPTHWISE_CONV_2D, inputs[:2], [y], opts, 3, kind == "f32")
    for kind, per_channel in (("i8", True), ("i8", False), ("i16_b64", True), ("i8_i4", True)):
        inputs, y = product(rng, kind, *shapes, 3, 6, per_channel)
        inputs[1].zero_point = 3
        name = f"{kind}_filter_zero_point{'_channels' if per_channel else ''}"
        yield single(name, BUILTIN.DEPTHWISE_CONV_2D, inputs, [y], opts, 6)
    for label, x, w in [
        ("3x3", (1, 5, 6, 19), (1, 3, 3, 19)),
        ("5x5", (1, 6, 7, 8), (1, 5, 5, 8)),
        ("multiplier", (1, 4, 5, 3), (1, 3, 2, 12)),
    ]:
        inputs, y = product(rng, "f32", x, w, (*x[:3], w[3]), 3, 1, False)
        opts[1].depthMultiplier = w[3] // x[3]
        yield single(f"f32_wide_{label}", BUILTIN.DEPTHWISE_CONV_2D, wide(rng, inputs), [y], opts, 1, True)


# Name; batch, height, width of the output, channels in and out; kernel, stride; padding.
TRANSPOSED = [
    ("2x2", 1, 6, 8, 3, 5, (2, 2), (2, 2), "same"),
    ("3x3_stride2", 1, 7, 6, 4, 3, (3, 3), (2, 2), "same"),
    ("3x3_stride2_valid", 2, 7, 5, 3, 4, (3, 3), (2, 2), "valid"),
    ("3x3_stride1", 1, 4, 5, 5, 2, (3, 3), (1, 1), "same"),
    ("4x4_stride2", 1, 8, 6, 2, 3, (4, 4), (2, 2), "same"),
    ("1x3_stride3x2", 1, 8, 7, 3, 3, (1, 3), (3, 2), "same"),
    ("5x2_stride1x3", 1, 6, 8, 2, 6, (5, 2), (1, 3), "valid"),
    ("3x3_stride3", 1, 7, 9, 1, 1, (3, 3), (3, 3), "same"),
    ("deep", 1, 2, 4, 17, 9, (2, 2), (2, 2), "same"),
]


def transpose_conv(rng):
    """Cases of TRANSPOSE_CONV."""
    for kind in ("f32", "i8", "u8", "i16_b64", "i16_b32", "hybrid"):
        for at, (label, batch, height, width, c_in, c_out, kernel, stride, padding) in enumerate(TRANSPOSED):
            activation = ("none", "relu", "none", "relu6")[(at + len(kind)) % 4]
            sizes = [reach(s, k, t, 1, padding) for s, k, t in zip((height, width), kernel, stride)]
            out = (batch, height, width, c_out)
            opts = options(
                "TransposeConvOptions",
                padding=0 if padding == "same" else 1,
                strideH=stride[0],
                strideW=stride[1],
                fusedActivationFunction=ACTIVATIONS[activation],
                quantizedBiasType=bias_type(kind),
            )
            shapes = (batch, *sizes, c_in), (c_out, *kernel, c_in), out
            terms = max(1, np.prod(kernel) * c_in // np.prod(stride))
            per_channel, bias = kind != "u8" and at % 4 != 1, kind == "i16_b32" or at % 3 != 2
            inputs, y = product(rng, kind, *shapes, 0, terms, per_channel, bias)
            shape = T("i32", (4,), data=out)
            tensors = [shape, inputs[1], inputs[0], *([inputs[2]] if bias else [])]
            yield single(f"{kind}_{label}", BUILTIN.TRANSPOSE_CONV, tensors, [y], opts, 5, kind == "f32")
        if kind in ("f32", "i8"):
            inputs, y = product(rng, kind, *shapes, 0, terms, True, key="feed")
            tensors = [shape, inputs[1], inputs[0], inputs[2]]
            yield single(f"{kind}_computed_filter", BUILTIN.TRANSPOSE_CONV, tensors, [y], opts, 4, kind == "f32")
    shapes = (1, 3, 4, 5), (6, 3, 3, 5), (1, 6, 7, 6)
    for kind, per_channel in (("i8", True), ("i8", False), ("i16_b64", True), ("i16_b64", False)):
        opts = options("TransposeConvOptions", padding=0, strideH=2, strideW=2, quantizedBiasType=bias_type(kind))
        inputs, y = product(rng, kind, *shapes, 0, 12, per_channel)
        inputs[1].zero_point = -7
        tensors = [T("i32", (4,), data=shapes[2]), inputs[1], inputs[0], inputs[2]]
        name = f"{kind}_filter_zero_point{'_channels' if per_channel else ''}"
        yield single(name, BUILTIN.TRANSPOSE_CONV, tensors, [y], opts, 5)
    # Roundings that differ are rare.
    shapes = (1, 7, 9, 5), (6, 3, 3, 5), (1, 14, 18, 6)
    opts = options("TransposeConvOptions", padding=0, strideH=2, strideW=2)
    for at, per_channel in enumerate((False, False, True)):
        inputs, y = product(rng, "i8", *shapes, 0, 12, per_channel)
        inputs[1].zero_point = (-7, 19, 4)[at]
        tensors = [T("i32", (4,), data=shapes[2]), inputs[1], inputs[0], inputs[2]]
        yield single(f"i8_filter_zero_point_{at}", BUILTIN.TRANSPOSE_CONV, tensors, [y], opts, 5)
    for size, kernel in ((2, 2), (2, 4), (1, 3)):
        opts = options("TransposeConvOptions", padding=0, strideH=size, strideW=size)
        shapes = (1, 3, 4, 19), (6, kernel, kernel, 19), (1, 3 * size, 4 * size, 6)
        inputs, y = product(rng, "f32", *shapes, 0, 1, False)
        x, w, b = wide(rng, inputs)
        name = f"f32_wide_{kernel}x{kernel}_stride{size}"
        yield single(name, BUILTIN.TRANSPOSE_CONV, [T("i32", (4,), data=shapes[2]), w, x, b], [y], opts, 3, True)


# Name; batch, height, width of the input, channels in and out; kernel, stride; padding.
MEDIAPIPE = [
    ("2x2", 1, 3, 4, 3, 5, (2, 2), (2, 2), "same"),
    ("3x3_stride2", 1, 4, 3, 4, 3, (3, 3), (2, 2), "same"),
    ("3x3_stride2_valid", 2, 3, 2, 3, 4, (3, 3), (2, 2), "valid"),
    ("4x4_stride2", 1, 4, 3, 2, 13, (4, 4), (2, 2), "same"),
    ("4x4_stride2_valid", 1, 3, 4, 7, 1, (4, 4), (2, 2), "valid"),
    ("3x3_stride1", 1, 4, 5, 5, 2, (3, 3), (1, 1), "same"),
    ("2x3_stride2x1_valid", 1, 3, 4, 9, 6, (2, 3), (2, 1), "valid"),
    ("deep", 1, 3, 2, 17, 9, (2, 2), (2, 2), "same"),
    ("deep_16", 1, 3, 2, 16, 16, (2, 2), (2, 2), "valid"),
]


def convolution_2d_transpose_bias(rng):
    """Cases of MediaPipe's Convolution2DTransposeBias, which XNNPACK takes and no kernel of LiteRT's own. MediaPipe infers the size
    of the output; XNNPACK takes any of which the convolution that is reversed makes the input."""
    for label, batch, height, width, c_in, c_out, kernel, stride, padding in MEDIAPIPE:
        sizes = []
        for n, k, s in zip((height, width), kernel, stride):
            last = k if padding == "valid" else min(k, (n - 1) % s + 1)
            sizes.append((n - 1) * s + last)
        inputs = [
            T("f32", (batch, height, width, c_in), feed=floats(rng, (batch, height, width, c_in), 3)),
            T("f32", (c_out, *kernel, c_in), data=floats(rng, (c_out, *kernel, c_in), 1)),
            T("f32", (c_out,), data=floats(rng, c_out, 2)),
        ]
        custom_options = np.array([1 if padding == "same" else 2, stride[1], stride[0]], "<i4").tobytes()
        y = T("f32", (batch, *sizes, c_out))
        custom = {"custom": "Convolution2DTransposeBias", "custom_options": custom_options}
        yield single(label, BUILTIN.CUSTOM, inputs, [y], **custom)


# Name; shape of the input; inputs and outputs of a row; whether the outer sizes are kept.
DENSE = [
    ("one_row", (1, 20), 20, 9, False),
    ("rows", (5, 17), 17, 16, False),
    ("flattened", (2, 3, 10), 15, 4, False),
    ("kept", (2, 3, 10), 10, 5, True),
    ("odd", (3, 7), 7, 3, False),
    ("wide", (2, 64), 64, 20, False),
]


def fully_connected(rng):
    """Cases of FULLY_CONNECTED."""
    for kind in TYPES:
        for at, (label, shape, depth, units, keep) in enumerate(DENSE):
            for per_channel in (False, True):
                for bias in (True, False):
                    if (kind in ("f32", "u8") and per_channel) or (not bias and at % 3) or (bias and at % 2 == per_channel):
                        continue
                    batch = int(np.prod(shape)) // depth
                    activation = ("none", "relu", "relu6")[(at + len(kind)) % 3]
                    opts = options(
                        "FullyConnectedOptions",
                        fusedActivationFunction=ACTIVATIONS[activation],
                        keepNumDims=keep,
                        asymmetricQuantizeInputs=bool(at % 2),
                        quantizedBiasType=bias_type(kind) if bias else 0,
                    )
                    out = (*shape[:-1], units) if keep else (batch, units)
                    inputs, y = product(rng, kind, shape, (units, depth), out, 0, depth, per_channel, bias)
                    name = f"{kind}_{label}{'_channels' if per_channel else ''}{'' if bias else '_no_bias'}"
                    yield single(name, BUILTIN.FULLY_CONNECTED, inputs, [y], opts, 12, kind == "f32")
    for kind in ("i8", "i16_b64"):
        for bias in (True, False):
            opts = options("FullyConnectedOptions", quantizedBiasType=bias_type(kind) if bias else 0)
            inputs, y = product(rng, kind, (4, 18), (9, 18), (4, 9), 0, 18, True, bias)
            inputs[0].scale, inputs[0].zero_point, inputs[0].feed = np.float32(0), 0, np.zeros((4, 18))
            if bias:
                inputs[2].scale = inputs[2].scale * 0
            yield single(f"{kind}_zero_input{'' if bias else '_no_bias'}", BUILTIN.FULLY_CONNECTED, inputs, [y], opts, 12)
    for kind in ("i8", "i16_b64", "hybrid"):
        opts = options("FullyConnectedOptions", quantizedBiasType=bias_type(kind))
        inputs, y = product(rng, kind, (4, 18), (9, 18), (4, 9), 0, 18, True)
        yield single(f"{kind}_zero_channel", BUILTIN.FULLY_CONNECTED, with_zero_channel(inputs, 0), [y], opts, 12)
    for label, shape, depth, units, _ in DENSE:
        for per_channel in (False, True):
            for bias in ("i32", "i64", None):
                x, w = quantized(rng, "i16", shape), quantized(rng, "i16", (units, depth), key="data" if bias else "feed")
                if per_channel:
                    w.scale, w.zero_point = w.scale * rng.uniform(0.5, 2, units).astype(np.float32), 0
                scale = np.float32(x.scale * np.max(w.scale) * 32768 * np.sqrt(depth) * (0.3 if bias else 1))
                inputs = [x, w, None]
                if bias:
                    inputs[2] = T(bias, (units,), np.float32(x.scale) * w.scale, data=rng.integers(-(2**30), 2**30, units))
                opts = options("FullyConnectedOptions", quantizedBiasType={"i32": 2, "i64": 4}.get(bias, 0))
                name = f"i16_i16_{label}_{bias or 'computed'}{'_channels' if per_channel else ''}"
                y = T("i16", (int(np.prod(shape)) // depth, units), scale, 0)
                yield single(name, BUILTIN.FULLY_CONNECTED, inputs, [y], opts, 12)
    for kind in ("f32", "i8", "u8", "i16_b64", "hybrid"):
        for per_channel in (False, True):
            if per_channel and kind in ("f32", "u8"):
                continue
            opts = options("FullyConnectedOptions", quantizedBiasType=bias_type(kind))
            inputs, y = product(rng, kind, (4, 18), (6, 18), (4, 6), 0, 18, per_channel, key="feed")
            name = f"{kind}_computed_weights{'_channels' if per_channel else ''}"
            yield single(name, BUILTIN.FULLY_CONNECTED, inputs, [y], opts, 12, kind == "f32")
    # Asymmetric signed weights, which the 8-bit specification does not have.
    for kind in ("i8", "i16_b64", "i16_b32"):
        for at, (label, shape, depth, units, _) in enumerate(DENSE):
            for per_channel, key in ((False, "data"), (False, "feed"), (True, "data")):
                if (per_channel or key == "feed") and at > 1:
                    continue
                bias = at % 3 != 2
                opts = options("FullyConnectedOptions", quantizedBiasType=bias_type(kind) if bias else 0)
                out = (int(np.prod(shape)) // depth, units)
                inputs, y = product(rng, kind, shape, (units, depth), out, 0, depth, per_channel, bias, key)
                inputs[1].zero_point = (5, -7, 127, -128, -20, 33)[at]
                computed = "_computed" if key == "feed" else ""
                name = f"{kind}_{label}_weights_zero_point{computed}{'_channels' if per_channel else ''}"
                yield single(name, BUILTIN.FULLY_CONNECTED, inputs, [y], opts, 12)
    for batch, depth, units in ((1, 130, 18), (5, 67, 33)):
        for key in ("data", "feed"):
            inputs, y = product(rng, "f32", (batch, depth), (units, depth), (batch, units), 0, depth, False, key=key)
            name = f"f32_wide_{batch}{'_computed' if key == 'feed' else ''}"
            yield single(name, BUILTIN.FULLY_CONNECTED, wide(rng, inputs), [y], options("FullyConnectedOptions"), 1, True)


# Name; shape of the input; inputs and outputs of a row; inputs that share a scale; whether the outer sizes are kept.
BLOCKS = [
    ("one_row", (1, 64), 64, 9, 32, False),
    ("rows", (5, 96), 96, 16, 32, False),
    ("many_blocks", (2, 320), 320, 18, 32, False),
    ("flattened", (2, 3, 64), 96, 4, 48, False),
    ("flattened_32", (2, 3, 64), 192, 7, 64, False),
    ("kept", (2, 3, 128), 128, 3, 128, True),
    ("one_block", (3, 32), 32, 70, 32, False),
    ("large", (9, 512), 512, 6, 256, False),
]


def fully_connected_blockwise(rng):
    """FULLY_CONNECTED of int4 weights with a float16 scale for each block. The reference kernels take none of it for what it is."""
    for at, (label, shape, depth, units, size, keep) in enumerate(BLOCKS):
        for activation in ("none", "relu", "relu6"):
            # The builtin, which runs blocks that are no multiple of 32, leaves the activation out.
            if activation != "none" and size % 32 != 0:
                continue
            opts = options(
                "FullyConnectedOptions",
                fusedActivationFunction=ACTIVATIONS[activation],
                keepNumDims=keep,
                asymmetricQuantizeInputs=bool(at % 2),
            )
            scales = np.exp(rng.uniform(-6, -3, (units, depth // size))).astype(np.float16)
            w = T("i4", (units, depth), scales, data=rng.integers(-8, 8, (units, depth)), block_size=size)
            x = T("f32", shape, feed=floats(rng, shape, 3))
            b = [T("f32", (units,), data=floats(rng, units, 2))] if at % 3 != 1 else []
            y = T("f32", (*shape[:-1], units) if keep else (int(np.prod(shape)) // depth, units))
            name = f"{label}_{activation}{'' if b else '_no_bias'}"
            yield single(name, BUILTIN.FULLY_CONNECTED, [x, w, *b], [y], opts, 12, wrong=("reference",))


# Name; shapes of the operands; whether they are transposed.
MATRICES = [
    ("plain", (3, 9), (9, 5), False, False),
    ("batch", (2, 4, 7), (2, 7, 6), False, False),
    ("transposed_right", (2, 3, 4, 5), (2, 3, 6, 5), False, True),
    ("transposed_left", (3, 5, 4), (3, 5, 2), True, False),
    ("transposed_both", (2, 6, 3), (2, 5, 6), True, True),
    ("broadcast_right", (4, 3, 8), (8, 3), False, False),
    ("broadcast_left", (3, 8), (2, 2, 8, 3), False, False),
    ("broadcast_each", (2, 1, 3, 4), (1, 3, 5, 4), False, True),
    ("one_row", (1, 33), (33, 19), False, False),
]


def batch_matmul(rng):
    """Cases of BATCH_MATMUL."""
    for kind in (
        "f32", "f32_constant", "i8", "i8_constant", "i8_symmetric", "i16", "i16_i8", "i8_i32", "hybrid", "hybrid_computed"
    ):
        for at, (label, left, right, adj_x, adj_y) in enumerate(MATRICES):
            m, depth = left[-2:][::-1] if adj_x else left[-2:]
            n = right[-2] if adj_y else right[-1]
            out = (*np.broadcast_shapes(left[:-2], right[:-2]), m, n)
            key = "data" if kind in ("f32_constant", "i8_constant", "hybrid") else "feed"
            if kind.startswith("f32"):
                x, y = T("f32", left, feed=floats(rng, left, 3)), T("f32", right, **{key: floats(rng, right, 1)})
                z = T("f32", out)
            elif kind.startswith("hybrid"):
                x = T("f32", left, feed=floats(rng, left, 3))
                axis = len(right) - (2 if adj_y else 1)
                y, z = weights(rng, "i8", right, axis, at % 2 == 0, key), T("f32", out)
            else:
                x = quantized(rng, kind.split("_")[0], left)
                y = quantized(rng, "i8" if "i8" in kind else "i16", right, key=key)
                if kind != "i8":
                    y.zero_point = 0
                size = spread(*QUANTIZED[x.dtype]) * spread(*QUANTIZED[y.dtype]) * np.sqrt(depth)
                low, high = QUANTIZED[x.dtype]
                point = 0 if x.dtype == "i16" else int(rng.integers(-20, 20))
                z = T(x.dtype, out, np.float32(x.scale * y.scale * size * 5 / (high - low)), point)
                if kind == "i8_i32":
                    z = T("i32", out)
            opts = options("BatchMatMulOptions", adjX=adj_x, adjY=adj_y, asymmetricQuantizeInputs=at % 3 == 0)
            # The builtin takes scales of other rows when there are two axes of matrices.
            wrong = ("reference",) if kind == "hybrid" and len(right) > 3 else ()
            # The default resolver leaves the result as it was.
            if kind == "hybrid_computed":
                wrong = ("litert", "reference") if len(right) > 3 else ("litert",)
            sums = kind.startswith("f32")
            yield single(f"{kind}_{label}", BUILTIN.BATCH_MATMUL, [x, y], [z], opts, 4, sums, wrong)
    for label, left, right, adj_x, adj_y in (
        ("wide", (2, 5, 67), (2, 67, 19), False, False),
        ("wide_turned", (2, 67, 3), (2, 5, 67), True, True),
        ("wide_one_row", (1, 130), (130, 18), False, False),
    ):
        opts = options("BatchMatMulOptions", adjX=adj_x, adjY=adj_y)
        operands = wide(rng, [T("f32", left, feed=0), T("f32", right, feed=0)])
        m, n = left[-1 if adj_x else -2], right[-2 if adj_y else -1]
        z = T("f32", (*left[:-2], m, n))
        yield single(f"f32_{label}", BUILTIN.BATCH_MATMUL, operands, [z], opts, 1, True)


# Name; shape; window, stride.
POOLS = [
    ("2x2", (1, 4, 6, 5), (2, 2), (2, 2)),
    ("3x3", (2, 4, 5, 3), (3, 3), (1, 1)),
    ("3x2_stride2x1", (1, 5, 4, 16), (3, 2), (2, 1)),
    ("whole_image", (1, 4, 5, 9), (4, 5), (1, 1)),
    ("larger", (1, 3, 3, 4), (5, 5), (2, 2)),
    ("stride_over", (1, 9, 9, 2), (1, 2), (3, 3)),
    ("channels33", (1, 3, 3, 33), (2, 2), (1, 1)),
]


def pool(builtin, version, types):
    """Cases of a pooling."""

    def cases(rng):
        for dtype in types:
            for at, (label, shape, window, stride) in enumerate(POOLS):
                for padding in ("same", "valid"):
                    if label == "larger" and padding == "valid":
                        continue
                    activation = ("none", "relu", "relu6", "relu_n1_to_1")[(at + (padding == "same")) % 4]
                    sizes = [reach(s, k, t, 1, padding) for s, k, t in zip(shape[1:3], window, stride)]
                    opts = options(
                        "Pool2DOptions",
                        padding=0 if padding == "same" else 1,
                        filterHeight=window[0],
                        filterWidth=window[1],
                        strideH=stride[0],
                        strideW=stride[1],
                        fusedActivationFunction=ACTIVATIONS[activation],
                    )
                    out = (shape[0], *sizes, shape[3])
                    if dtype == "f32":
                        x, y = T("f32", shape, feed=floats(rng, shape, 4)), T("f32", out)
                    else:
                        x = quantized(rng, dtype, shape)
                        y = T(dtype, out, x.scale, x.zero_point)
                    yield single(f"{dtype}_{label}_{padding}", builtin, [x], [y], opts, version, dtype == "f32")
        for size, padding in ((3, 0), (5, 1)) if builtin != BUILTIN.MAX_POOL_2D else ():
            opts = options("Pool2DOptions", padding=padding, filterHeight=size, filterWidth=size, strideH=1, strideW=1)
            shape, result = (1, 6, 7, 9), (1, 6, 7, 9) if padding == 0 else (1, 2, 3, 9)
            inputs = wide(rng, [T("f32", shape, feed=0)])
            yield single(f"f32_wide_{size}x{size}", builtin, inputs, [T("f32", result)], opts, 1, True)

    return cases


OPS = {
    "conv_2d": conv_2d,
    "depthwise_conv_2d": depthwise_conv_2d,
    "fully_connected": fully_connected,
    "fully_connected_blockwise": fully_connected_blockwise,
    "transpose_conv": transpose_conv,
    "convolution_2d_transpose_bias": convolution_2d_transpose_bias,
    "batch_matmul": batch_matmul,
    "average_pool_2d": pool(BUILTIN.AVERAGE_POOL_2D, 3, ("f32", "i8", "u8", "i16")),
    "max_pool_2d": pool(BUILTIN.MAX_POOL_2D, 3, ("f32", "i8", "u8", "i16")),
    "l2_pool_2d": pool(BUILTIN.L2_POOL_2D, 1, ("f32",)),
}

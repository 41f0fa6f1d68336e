"""What single ops of float32 give in float64: the results that the bounds of crates/runtime/src/exactness.rs are measured from.

The op, its options and its constants are read from the finished file, so that a case is only described once. Each function of
`FUNCTIONS` says what its op means, in numpy, and is no copy of a kernel: sums in any order, no blocks, functions as they are
defined. Where a result is a sum its second value is the sum of the absolute values of the terms, before a fused activation. A
third is that of the terms of Winograd's form of a convolution.
"""

import math

import numpy as np

from grid.exact_recurrent import RECURRENT
from grid.model import ACTIVATIONS, OPS as BUILTIN, TYPES, schema

ELEMENTS = {number: element for element, number in TYPES.values()}
TANH = 4


class Node:
    """The only op of a model: its options and outputs, and its constants and states by the place among the inputs."""

    def __init__(self, model, mode):
        self.mode = mode
        table = schema.ModelT.InitFromPackedBuf(model, 0)
        self.graph = table.subgraphs[0]
        (self.op,) = self.graph.operators
        code = table.operatorCodes[self.op.opcodeIndex]
        self.builtin, self.custom = code.builtinCode, code.customCode
        self.options = self.op.builtinOptions
        self.custom_options = self.op.customOptions
        self.constants = {}
        if not self.is_float32():
            return
        for index in self.op.inputs:
            if index < 0:
                continue
            tensor = self.graph.tensors[index]
            data = table.buffers[tensor.buffer].data
            shape = [] if tensor.shape is None else list(tensor.shape)
            if data is not None and len(data):
                self.constants[index] = wide(np.frombuffer(bytes(data), ELEMENTS[tensor.type]).reshape(shape))
            elif tensor.isVariable:
                self.constants[index] = np.zeros(shape)

    def inputs(self, feeds):
        """The operands of a run; None stands for one that is left out."""
        known = self.constants | {index: wide(feed) for index, feed in zip(self.graph.inputs, feeds, strict=True)}
        return [None if index < 0 else known[index] for index in self.op.inputs]

    def remember(self, place, value):
        """Keeps a state, the input at `place`, for the next run."""
        self.constants[self.op.inputs[place]] = value

    def output_shape(self, at=0):
        """The shape of an output, as the file has it."""
        return tuple(self.graph.tensors[self.op.outputs[at]].shape)

    def is_float32(self):
        """Whether all that is computed with are float32."""
        tensors = [self.graph.tensors[index] for index in (*self.op.inputs, *self.op.outputs) if index >= 0]
        types = schema.TensorType
        floating, plain = {types.FLOAT32, types.COMPLEX64}, {types.INT32, types.INT64, types.BOOL}
        first = self.graph.tensors[self.op.outputs[0]].type
        return {tensor.type for tensor in tensors} <= floating | plain and first in floating


def wide(values):
    """Floats as float64, complex numbers of such; others as they are."""
    return values.astype({"f": np.float64, "c": np.complex128}.get(values.dtype.kind, values.dtype))


def pairs(values):
    """Complex numbers as a last axis of two; others as they are."""
    return np.stack([values.real, values.imag], -1) if values.dtype.kind == "c" else values


def exact(model, runs, mode):
    """For each run and output of the graph, the result and the sum of |terms| (None where it is no sum); None for a model that is
    not one op of float32 with a function here. Modes differ where they define an op differently, not where they round so."""
    if len(schema.ModelT.InitFromPackedBuf(model, 0).subgraphs[0].operators) != 1:
        return None
    node = Node(model, mode)
    function = FUNCTIONS.get(node.custom.decode() if node.builtin == BUILTIN.CUSTOM else node.builtin)
    if function is None or not node.is_float32():
        return None
    results = []
    with np.errstate(all="ignore"):
        for feeds in runs:
            outputs = dict(zip(node.op.outputs, function(node, *node.inputs(feeds))))
            results.append([outputs[index] for index in node.graph.outputs])
    return results


def activation(values, code):
    """A fused activation."""
    limits = {
        ACTIVATIONS["none"]: (-np.inf, np.inf),
        ACTIVATIONS["relu"]: (0, np.inf),
        ACTIVATIONS["relu_n1_to_1"]: (-1, 1),
        ACTIVATIONS["relu6"]: (0, 6),
    }
    return np.tanh(values) if code == TANH else np.clip(values, *limits[code])


def function(of):
    """An op of one operand, or of two that are broadcast."""
    return lambda node, *operands: [(of(*operands), None)]


def linear(node, of, operands, code=0):
    """A sum that is linear in each operand, with the same of their absolute values."""
    magnitudes = [None if operand is None else np.abs(operand) for operand in operands]
    return [(activation(of(*operands), code).reshape(node.output_shape()), of(*magnitudes).reshape(node.output_shape()))]


def padding_before(size, result, kernel, stride, dilation):
    """Rows of padding before the first one, with padding SAME."""
    return max((result - 1) * stride + (kernel - 1) * dilation + 1 - size, 0) // 2


def positions(x, kernel, result, stride, dilation, is_same):
    """For each place in a window, that place in all windows, and which of them lie in the image."""
    befores = [
        padding_before(n, r, k, s, d) if is_same else 0
        for n, r, k, s, d in zip(x.shape[1:3], result, kernel, stride, dilation)
    ]
    for place in np.ndindex(*kernel):
        rows, columns = (
            np.arange(r) * s + p * d - before for r, s, p, d, before in zip(result, stride, place, dilation, befores)
        )
        inside = ((rows >= 0) & (rows < x.shape[1]))[:, None] & ((columns >= 0) & (columns < x.shape[2]))[None]
        taken = x[:, np.clip(rows, 0, x.shape[1] - 1)[:, None], np.clip(columns, 0, x.shape[2] - 1)[None]]
        yield place, np.where(inside[None, :, :, None], taken, 0), inside


def convolution(node, depthwise):
    """CONV_2D and DEPTHWISE_CONV_2D as a function of the operands."""
    opts, result = node.options, node.output_shape()
    geometry = (result[1:3], (opts.strideH, opts.strideW), (opts.dilationHFactor, opts.dilationWFactor), opts.padding == 0)

    def sums(x, w, b=None):
        total = np.zeros(result)
        groups = x.shape[3] // w.shape[3]
        for (row, column), taken, _ in positions(x, w.shape[1:3], *geometry):
            if depthwise:
                total += np.repeat(taken, w.shape[3] // x.shape[3], axis=3) * w[0, row, column]
                continue
            parts = np.split(taken, groups, axis=3), np.split(w[:, row, column], groups)
            total += np.concatenate([part @ filters.T for part, filters in zip(*parts)], axis=3)
        return total if b is None else total + b

    return sums


def conv_2d(node, *operands):
    """CONV_2D."""
    (result,) = linear(node, convolution(node, False), operands, node.options.fusedActivationFunction)
    return [(*result, winograd_terms(node, *operands))]


def winograd_terms(node, x, w, b=None):
    """The sum of the absolute values of all that Winograd's F(2x2, 3x3) adds up for a result: the same form, each number of its
    transforms and operands without its sign. None for a convolution that has no such form."""
    opts, (batch, height, width, channels) = node.options, node.output_shape()
    unit = (opts.strideH, opts.strideW, opts.dilationHFactor, opts.dilationWFactor) == (1, 1, 1, 1)
    if not unit or w.shape[1:3] != (3, 3) or w.shape[3] != x.shape[3]:
        return None
    operand = np.abs([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    filters = np.abs([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    back = np.abs([[1, 1, 1, 0], [0, 1, -1, -1]])
    before = [padding_before(n, r, 3, 1, 1) if opts.padding == 0 else 0 for n, r in zip(x.shape[1:3], (height, width))]
    tiles = [-(-size // 2) for size in (height, width)]
    padded = np.zeros((batch, *(2 * count + 2 for count in tiles), x.shape[3]))
    rows, columns = (min(n, size - b) for n, size, b in zip(x.shape[1:3], padded.shape[1:3], before))
    padded[:, before[0] : before[0] + rows, before[1] : before[1] + columns] = np.abs(x[:, :rows, :columns])
    turned = np.einsum("pi,oijc,qj->pqco", filters, np.abs(w), filters)
    result = np.zeros((batch, 2 * tiles[0], 2 * tiles[1], channels))
    for row, column in np.ndindex(*tiles):
        tile = padded[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
        products = np.einsum("pi,nijc,qj,pqco->npqo", operand, tile, operand, turned)
        result[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = np.einsum("ap,npqo,bq->nabo", back, products, back)
    return result[:, :height, :width] + (0 if b is None else np.abs(b))


def depthwise_conv_2d(node, *operands):
    """DEPTHWISE_CONV_2D."""
    return linear(node, convolution(node, True), operands, node.options.fusedActivationFunction)


def scattered(result, stride, is_same):
    """A transposed convolution as a function of input, filter and bias: each input is added to a window of outputs."""

    def sums(x, w, b=None):
        (height, width), kernel = x.shape[1:3], w.shape[1:3]
        befores = [
            padding_before(r, n, k, s, 1) if is_same else 0 for n, r, k, s in zip((height, width), result[1:3], kernel, stride)
        ]
        sizes = [
            max((n - 1) * s + k, r + before)
            for n, s, k, r, before in zip((height, width), stride, kernel, result[1:3], befores)
        ]
        canvas = np.zeros((x.shape[0], *sizes, w.shape[0]))
        for row, column in np.ndindex(*kernel):
            rows, columns = (slice(p, p + (n - 1) * s + 1, s) for p, n, s in zip((row, column), (height, width), stride))
            canvas[:, rows, columns] += x @ w[:, row, column].T
        total = canvas[:, befores[0] : befores[0] + result[1], befores[1] : befores[1] + result[2]]
        return total if b is None else total + b

    return sums


def transpose_conv(node, _, w, x, *bias):
    """TRANSPOSE_CONV."""
    opts = node.options
    sums = scattered(node.output_shape(), (opts.strideH, opts.strideW), opts.padding == 0)
    return linear(node, sums, (x, w, *bias), opts.fusedActivationFunction)


def convolution_2d_transpose_bias(node, *operands):
    """Convolution2DTransposeBias, whose options are padding (1 is SAME) and strides."""
    is_same, width, height = np.frombuffer(bytes(node.custom_options), np.int32)[:3]
    return linear(node, scattered(node.output_shape(), (height, width), is_same == 1), operands)


def fully_connected(node, *operands):
    """FULLY_CONNECTED."""

    def sums(x, w, b=None):
        total = x.reshape(-1, w.shape[1]) @ w.T
        return total if b is None else total + b

    return linear(node, sums, operands, node.options.fusedActivationFunction)


def batch_matmul(node, *operands):
    """BATCH_MATMUL."""

    def sums(x, y):
        turned = lambda m, turn: np.swapaxes(m, -1, -2) if turn else m
        return turned(x, node.options.adjX) @ turned(y, node.options.adjY)

    return linear(node, sums, operands)


def reduction(of):
    """A reduction along axes that are its second operand."""

    def reduce(node, x, axes):
        along = tuple(int(axis) for axis in np.atleast_1d(axes))
        return linear(node, lambda x: of(x, axis=along), (x,))

    return reduce


def cumsum(node, x, axis):
    """CUMSUM."""

    def sums(x):
        along = np.moveaxis(x, int(axis), -1)
        along = along[..., ::-1] if node.options.reverse else along
        total = np.cumsum(along, axis=-1)
        if node.options.exclusive:
            total = np.concatenate([np.zeros((*total.shape[:-1], 1)), total[..., :-1]], -1)
        return np.moveaxis(total[..., ::-1] if node.options.reverse else total, -1, int(axis))

    return linear(node, sums, (x,))


def rfft2d(node, x, lengths):
    """RFFT2D: each part of a frequency is a sum of all numbers, by factors of at most one."""
    lengths = tuple(int(length) for length in lengths)
    total = np.abs(x[..., : lengths[0], : lengths[1]]).sum((-2, -1), keepdims=True)
    result = pairs(np.fft.rfft2(x, lengths))
    return [(result, np.broadcast_to(total[..., np.newaxis], result.shape))]


def pool(squares):
    """AVERAGE_POOL_2D and L2_POOL_2D: the mean of what lies in the image."""

    def pooled(node, x):
        opts, result = node.options, node.output_shape()
        kernel, stride = (opts.filterHeight, opts.filterWidth), (opts.strideH, opts.strideW)

        def means(x):
            total, count = np.zeros(result), np.zeros(result[1:3])
            for _, taken, inside in positions(x, kernel, result[1:3], stride, (1, 1), opts.padding == 0):
                total += taken**2 if squares else taken
                count += inside
            total /= count[None, :, :, None]
            return np.sqrt(total) if squares else total

        return linear(node, means, (x,), opts.fusedActivationFunction)

    return pooled


def l2_normalization(node, x):
    """L2_NORMALIZATION; a norm below 1e-6 counts as that."""
    return linear(node, lambda x: x / np.maximum(np.sqrt(np.sum(x**2, axis=-1, keepdims=True)), 1e-6), (x,))


def local_response_normalization(node, x):
    """LOCAL_RESPONSE_NORMALIZATION."""
    opts = node.options
    bias, alpha, beta = (float(np.float32(value)) for value in (opts.bias, opts.alpha, opts.beta))
    sums = np.stack(
        [np.sum(x[..., max(c - opts.radius, 0) : c + opts.radius + 1] ** 2, axis=-1) for c in range(x.shape[-1])], -1
    )
    return [(x * (bias + alpha * sums) ** -beta, None)]


def softmax(node, x):
    """SOFTMAX."""
    powers = np.exp(float(np.float32(node.options.beta)) * (x - x.max(axis=-1, keepdims=True)))
    return [(powers / powers.sum(axis=-1, keepdims=True), None)]


def log_softmax(node, x):
    """LOG_SOFTMAX."""
    less = x - x.max(axis=-1, keepdims=True)
    return [(less - np.log(np.exp(less).sum(axis=-1, keepdims=True)), None)]


def resize_bilinear(node, x, _):
    """RESIZE_BILINEAR. Where a pixel comes from is a float32 in the definition of the op, and XNNPACK, which takes sizes that are
    constant, has one of its own; all after it is exact. The terms are the four pixels: a difference of two is added to one."""
    opts, (_, *sizes, _) = node.options, node.output_shape()
    is_xnnpack = node.mode == "litert" and node.op.inputs[1] not in node.graph.inputs
    half = np.float32(0.5)

    def along(x, axis, result, of):
        size, at = x.shape[axis], np.arange(result, dtype=np.float32)
        scale = np.float32(size) / np.float32(result)
        if opts.alignCorners and result > 1:
            scale = np.float32(size - 1) / np.float32(result - 1)
        if not opts.halfPixelCenters:
            at = at * scale
        elif is_xnnpack:
            at = np.clip(at * scale + (half * scale - half), 0, np.float32(size - 1))
        else:
            at = (at + half) * scale - half
        low, high = np.maximum(np.floor(at).astype(int), 0), np.minimum(np.ceil(at).astype(int), size - 1)
        share = (at.astype(np.float64) - low).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        return of(x.take(low, axis), x.take(high, axis), share)

    def both(x, of):
        return along(along(x, 1, sizes[0], of), 2, sizes[1], of)

    return [(both(x, lambda a, b, share: a * (1 - share) + b * share), both(np.abs(x), lambda a, b, _: a + b))]


def gelu(node, x):
    """GELU, neither form of which may cancel for negative numbers."""
    if node.options.approximate:
        return [(x / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), None)]
    return [(0.5 * x * np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2)), None)]


FUNCTIONS = {
    **RECURRENT,
    "Convolution2DTransposeBias": convolution_2d_transpose_bias,
    BUILTIN.ADD_N: lambda node, *operands: linear(node, lambda *operands: sum(operands), operands),
    BUILTIN.ATAN2: function(np.arctan2),
    BUILTIN.AVERAGE_POOL_2D: pool(False),
    BUILTIN.BATCH_MATMUL: batch_matmul,
    BUILTIN.COMPLEX_ABS: function(np.abs),
    BUILTIN.CONV_2D: conv_2d,
    BUILTIN.COS: function(np.cos),
    BUILTIN.CUMSUM: cumsum,
    BUILTIN.DEPTHWISE_CONV_2D: depthwise_conv_2d,
    BUILTIN.ELU: function(lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x)),
    BUILTIN.EXP: function(np.exp),
    BUILTIN.FULLY_CONNECTED: fully_connected,
    BUILTIN.GELU: gelu,
    BUILTIN.HARD_SWISH: function(lambda x: x * np.clip(x + 3, 0, 6) / 6),
    BUILTIN.L2_NORMALIZATION: l2_normalization,
    BUILTIN.L2_POOL_2D: pool(True),
    BUILTIN.LOCAL_RESPONSE_NORMALIZATION: local_response_normalization,
    BUILTIN.LOG: function(np.log),
    BUILTIN.LOGISTIC: function(lambda x: 1 / (1 + np.exp(-x))),
    BUILTIN.LOG_SOFTMAX: log_softmax,
    BUILTIN.MEAN: reduction(np.mean),
    BUILTIN.POW: function(np.power),
    BUILTIN.REDUCE_PROD: reduction(np.prod),
    BUILTIN.RESIZE_BILINEAR: resize_bilinear,
    BUILTIN.RFFT2D: rfft2d,
    BUILTIN.RSQRT: function(lambda x: 1 / np.sqrt(x)),
    BUILTIN.SIN: function(np.sin),
    BUILTIN.SOFTMAX: softmax,
    BUILTIN.SQRT: function(np.sqrt),
    BUILTIN.SQUARED_DIFFERENCE: function(lambda x, y: (x - y) ** 2),
    BUILTIN.SUM: reduction(np.sum),
    BUILTIN.TANH: function(np.tanh),
    BUILTIN.TRANSPOSE_CONV: transpose_conv,
}

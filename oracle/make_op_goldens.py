#!/usr/bin/env python3
"""Records what LiteRT computes for single ops, as golden files for the tests of crates/kernels.

    pip install ai-edge-litert==2.3.0 numpy flatbuffers
    python oracle/make_op_goldens.py [--out testdata/ops] [--seed N] [OP ...]

For each op it writes OP.json (an array of cases: attributes, tensors with type, shape and quantization, and where their
bytes are) and OP.bin (the bytes). Outputs are recorded twice: from the default resolver with one thread, and from
BUILTIN_REF, which runs in a child process because it aborts on some inputs; an output it cannot compute is null.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    "f32": (np.float32, schema.TensorType.FLOAT32),
    "f16": (np.float16, schema.TensorType.FLOAT16),
    "i8": (np.int8, schema.TensorType.INT8),
    "u8": (np.uint8, schema.TensorType.UINT8),
    "i16": (np.int16, schema.TensorType.INT16),
    "i32": (np.int32, schema.TensorType.INT32),
    "i64": (np.int64, schema.TensorType.INT64),
}
OPS = schema.BuiltinOperator
ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}
rng = np.random.default_rng()


class Tensor:
    """A tensor of the one-op model. `data` makes it a constant, `feed` is the input given to a variable one."""

    def __init__(self, dtype, shape, scale=None, zero_point=0, axis=0, data=None, feed=None):
        self.dtype, self.shape = dtype, list(shape)
        self.scale = None if scale is None else np.atleast_1d(np.float32(scale))
        self.zero_point = zero_point
        self.axis = axis
        self.data = None if data is None else np.ascontiguousarray(data, TYPES[dtype][0]).reshape(shape)
        self.feed = None if feed is None else np.ascontiguousarray(feed, TYPES[dtype][0]).reshape(shape)


def build(op, version, options, inputs, output):
    """The bytes of a .tflite with one op. `options` is None or (BuiltinOptions member name, object)."""
    model = schema.ModelT()
    model.version = 3
    model.description = ""
    code = schema.OperatorCodeT()
    code.builtinCode = op
    code.deprecatedBuiltinCode = min(op, 127)
    code.version = version
    model.operatorCodes = [code]
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs = [], []
    tensors = [t for t in inputs if t is not None] + [output]
    for index, tensor in enumerate(tensors):
        t = schema.TensorT()
        t.name = f"t{index}"
        t.shape = tensor.shape
        t.type = TYPES[tensor.dtype][1]
        if tensor.scale is not None:
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale = tensor.scale
            t.quantization.zeroPoint = [tensor.zero_point] * len(tensor.scale)
            t.quantization.quantizedDimension = tensor.axis
        buffer = schema.BufferT()
        if tensor.data is not None:
            buffer.data = np.frombuffer(tensor.data.tobytes(), np.uint8)
        elif index < len(tensors) - 1:
            graph.inputs.append(index)
        model.buffers.append(buffer)
        t.buffer = len(model.buffers) - 1
        graph.tensors.append(t)
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    present = iter(range(len(tensors)))
    operator.inputs = [-1 if t is None else next(present) for t in inputs]
    operator.outputs = [len(tensors) - 1]
    if options is not None:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
        operator.builtinOptions = options[1]
    graph.operators = [operator]
    graph.outputs = [len(tensors) - 1]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(model, feeds, reference):
    kind = litert.OpResolverType.BUILTIN_REF if reference else litert.OpResolverType.AUTO
    it = litert.Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=kind)
    it.allocate_tensors()
    for detail, feed in zip(it.get_input_details(), feeds):
        it.set_tensor(detail["index"], feed)
    it.invoke()
    return it.get_tensor(it.get_output_details()[0]["index"])


def worker(pipe, reference):
    while True:
        model, feeds = pipe.recv()
        try:
            pipe.send(run(model, feeds, reference))
        except Exception as error:  # The interpreter raises ValueError and RuntimeError with its own text.
            pipe.send(str(error))


class Oracle:
    """One mode of LiteRT in a child process that is started again when it dies."""

    def __init__(self, reference):
        self.reference, self.process = reference, None

    def __call__(self, model, feeds):
        if self.process is None or not self.process.is_alive():
            self.pipe, child = multiprocessing.Pipe()
            self.process = multiprocessing.Process(target=worker, args=(child, self.reference), daemon=True)
            self.process.start()
            child.close()
        try:
            self.pipe.send((model, feeds))
            return self.pipe.recv()
        except EOFError:
            self.process.join()
            self.process = None
            return "aborted"


class Golden:
    """Collects the cases of one op."""

    def __init__(self, name, oracles):
        self.name, self.oracles, self.cases, self.blob = name, oracles, [], bytearray()

    def put(self, array):
        raw = array.tobytes()
        at = self.blob.find(raw) if len(raw) > 64 else -1
        if at < 0:
            at = len(self.blob)
            self.blob += raw
        return at

    def add(self, label, op, inputs, output, options=None, version=1, **attributes):
        """`inputs` is a list of (name, Tensor or None)."""
        model = build(op, version, options, [t for _, t in inputs], output)
        feeds = [t.feed for _, t in inputs if t is not None and t.data is None]
        results = {}
        for mode, oracle in self.oracles.items():
            result = oracle(model, feeds)
            if isinstance(result, str):
                print(f"  {self.name} {label}: {mode}: {result.strip().splitlines()[0][:140]}", file=sys.stderr)
                result = None
            results[mode] = result
        if all(result is None for result in results.values()):
            return
        both = [r for r in results.values() if r is not None]
        note = ""
        if len(both) == 2:
            wrong = np.count_nonzero(both[0].view() != both[1])
            note = f"modes differ in {wrong} of {both[0].size}" if wrong else "modes agree"
        print(f"  {self.name} {label}: {note}")
        tensors = {}
        for name, t in inputs + [("output", output)]:
            if t is None:
                continue
            value = t.data if t.data is not None else t.feed
            tensors[name] = {"dtype": t.dtype, "shape": t.shape}
            if t.scale is not None:
                tensors[name]["scale_bits"] = [int(s) for s in t.scale.view(np.uint32)]
                tensors[name]["zero_point"] = t.zero_point
            if value is not None:
                tensors[name]["at"] = self.put(value)
        self.cases.append({
            "name": label,
            **attributes,
            "tensors": tensors,
            "litert": None if results["litert"] is None else self.put(results["litert"]),
            "reference": None if results["reference"] is None else self.put(results["reference"]),
        })

    def save(self, folder):
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in self.cases)
        (folder / f"{self.name}.json").write_text(f"[\n{lines}\n]\n")
        (folder / f"{self.name}.bin").write_bytes(self.blob)
        print(f"{self.name}: {len(self.cases)} cases, {len(self.blob)} bytes")


def ints(dtype, shape, low=None, high=None):
    info = np.iinfo(TYPES[dtype][0])
    low, high = info.min if low is None else low, info.max if high is None else high
    return rng.integers(low, high, shape, dtype=np.int64, endpoint=True).astype(TYPES[dtype][0])


def scale(low=1e-3, high=1e-1):
    return np.float32(np.exp(rng.uniform(np.log(low), np.log(high))))


def zero(dtype):
    return {"i8": int(rng.integers(-128, 128)), "u8": int(rng.integers(0, 256))}.get(dtype, 0)


def out_size(size, kernel, stride, dilation, same):
    return -(-size // stride) if same else -(-(size - (kernel - 1) * dilation) // stride)


def fill(cls, **fields):
    options = cls()
    for name, value in fields.items():
        setattr(options, name, value)
    return options


def bias_type(dtype, bias):
    """What the converter writes beside an int16 op; LiteRT reads an int32 bias as int64 without it."""
    return TYPES[bias][1] if dtype == "i16" and bias else schema.TensorType.FLOAT32


def add_conv_ties(golden, op, kind, attributes, make_options, shape_of):
    """Multipliers that are powers of two and small sums, so that many outputs are exact ties."""
    for dtype, bias, version in (("i8", "i32", 3), ("u8", "i32", 1), ("i16", "i64", 4), ("i16", "i32", 4)):
        if (op, bias, dtype) == (OPS.DEPTHWISE_CONV_2D, "i32", "i16"):
            continue
        in_shape, w_shape, axis, channels, out_shape = shape_of
        zx, zw, zy = (zero(dtype) // 2, 128 if dtype == "u8" else 0, 0 if dtype == "i16" else zero(dtype))
        x = Tensor(dtype, in_shape, 2.0**-4, zx, feed=zx + ints("i8", in_shape, -9, 9).astype(np.int64))
        wtype = "u8" if dtype == "u8" else "i8"
        scales = [2.0**-5] if dtype == "u8" else 2.0 ** -rng.integers(4, 7, channels)
        w = Tensor(wtype, w_shape, scales, zw, 0 if wtype == "u8" else axis, data=zw + ints("i8", w_shape, -9, 9).astype(np.int64))
        b = Tensor(bias, [channels], np.float32(2.0**-4) * w.scale, data=rng.integers(-50, 50, channels))
        y = Tensor(dtype, out_shape, 2.0**-6, zy)
        options = make_options()
        if hasattr(options, "quantizedBiasType"):
            options.quantizedBiasType = bias_type(dtype, bias)
        golden.add(f"{dtype}_ties_bias_{bias}", op, [("input", x), ("weights", w), ("bias", b)], y,
                   (kind, options), version, **attributes)


def weights_and_bias(dtype, shape, axis, channels, input_scale, spread, per_channel, bias):
    """Weights that use their whole range, and a bias of the size of the sums."""
    wtype = "u8" if dtype == "u8" else "i8"
    scales = np.array([scale(2e-3, 2e-2) for _ in range(channels if per_channel else 1)], np.float32)
    zero_point = zero("u8") if wtype == "u8" else 0
    low = None if wtype == "u8" else -127
    # XNNPACK takes uint8 weights only with the axis that old converters wrote.
    weights = Tensor(wtype, shape, scales, zero_point, 0 if wtype == "u8" else axis, data=ints(wtype, shape, low))
    bias_tensor = None
    if bias:
        values = rng.integers(-spread, spread + 1, channels)
        bias_tensor = Tensor(bias, [channels], np.float32(input_scale) * scales, 0, 0, data=values)
    return weights, bias_tensor, scales


def conv_2d(golden):
    cases = [
        # label, input hwc, out channels, kernel, stride, dilation, same, activation, batch, groups
        ("3x3_same_relu", (9, 7, 3), 8, (3, 3), (1, 1), (1, 1), True, "relu", 1, 1),
        ("3x3_valid_stride2_relu6", (11, 10, 16), 33, (3, 3), (2, 2), (1, 1), False, "relu6", 1, 1),
        ("1x1", (5, 6, 24), 40, (1, 1), (1, 1), (1, 1), True, "none", 2, 1),
        ("5x3_same_stride2x1", (9, 12, 1), 10, (5, 3), (2, 1), (1, 1), True, "relu_n1_to_1", 1, 1),
        ("3x3_dilated_same", (12, 11, 5), 7, (3, 3), (1, 1), (2, 2), True, "relu", 1, 1),
        ("3x3_grouped", (7, 7, 8), 12, (3, 3), (1, 1), (1, 1), True, "none", 1, 4),
        ("1x1_stride2", (7, 8, 9), 5, (1, 1), (2, 2), (1, 1), False, "none", 1, 1),
    ]
    variants = [
        ("i8", True, "i32"), ("i8", False, "i32"), ("u8", False, "i32"), ("i16", True, "i64"), ("i16", True, "i32"),
    ]
    for label, (h, w, c), oc, kernel, stride, dilation, same, activation, batch, groups in cases:
        for dtype, per_channel, bias in variants:
            if groups > 1 and dtype == "u8":
                continue
            depth = c // groups
            wide = dtype == "i16"
            x_scale = scale(1e-5, 1e-4) if wide else scale(5e-3, 5e-2)
            x = Tensor(dtype, [batch, h, w, c], x_scale, zero(dtype), feed=ints(dtype, [batch, h, w, c]))
            shape = [oc, *kernel, depth]
            span = (32767 if wide else 255) * 127
            spread = int(span * np.sqrt(depth * kernel[0] * kernel[1]))
            weights, bias_tensor, scales = weights_and_bias(dtype, shape, 0, oc, x_scale, spread, per_channel, bias)
            out = [batch, *(out_size(n, k, s, d, same) for n, k, s, d in zip((h, w), kernel, stride, dilation)), oc]
            steps = 40000 if wide else 150
            y_scale = float(x_scale) * float(np.mean(scales)) * spread / steps
            y = Tensor(dtype, out, y_scale, zero(dtype))
            options = fill(schema.Conv2DOptionsT, padding=0 if same else 1, strideH=stride[0], strideW=stride[1],
                           dilationHFactor=dilation[0], dilationWFactor=dilation[1],
                           fusedActivationFunction=ACTIVATIONS[activation], quantizedBiasType=bias_type(dtype, bias))
            inputs = [("input", x), ("weights", weights)] + ([("bias", bias_tensor)] if bias else [])
            golden.add(f"{dtype}_{label}_{'channel' if per_channel else 'tensor'}_bias_{bias}", OPS.CONV_2D, inputs, y,
                       ("Conv2DOptions", options), 4 if wide else 3 if dtype == "i8" else 1, stride=stride,
                       dilation=dilation, same=same, activation=activation)
    options = lambda: fill(schema.Conv2DOptionsT, padding=1, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
    attributes = {"stride": (1, 1), "dilation": (1, 1), "same": False, "activation": "none"}
    add_conv_ties(golden, OPS.CONV_2D, "Conv2DOptions", attributes, options,
                  ([1, 7, 7, 4], [20, 2, 2, 4], 0, 20, [1, 6, 6, 20]))


DEPTHWISE = [
    # label, input hwc, multiplier, kernel, stride, dilation, same, activation, batch
    ("3x3_same_relu", (9, 7, 8), 1, (3, 3), (1, 1), (1, 1), True, "relu", 1),
    ("3x3_valid_stride2_relu6", (11, 10, 70), 1, (3, 3), (2, 2), (1, 1), False, "relu6", 1),
    ("5x5_same", (8, 8, 17), 1, (5, 5), (1, 1), (1, 1), True, "none", 2),
    ("3x3_multiplier3", (7, 6, 5), 3, (3, 3), (1, 1), (1, 1), True, "none", 1),
    ("10x4_same_stride2", (25, 5, 1), 8, (10, 4), (2, 2), (1, 1), True, "relu", 1),
    ("3x3_dilated", (9, 9, 6), 1, (3, 3), (1, 1), (2, 2), True, "relu_n1_to_1", 1),
]


def depthwise_options(multiplier, stride, dilation, same, activation):
    return fill(schema.DepthwiseConv2DOptionsT, padding=0 if same else 1, strideH=stride[0], strideW=stride[1],
                dilationHFactor=dilation[0], dilationWFactor=dilation[1], depthMultiplier=multiplier,
                fusedActivationFunction=ACTIVATIONS[activation])


def depthwise_conv_2d(golden):
    for label, (h, w, c), multiplier, kernel, stride, dilation, same, activation, batch in DEPTHWISE:
        for dtype, per_channel, bias in (("i8", True, "i32"), ("i8", False, "i32"), ("u8", False, "i32"), ("i16", True, "i64")):
            oc, wide = c * multiplier, dtype == "i16"
            x_scale = scale(1e-5, 1e-4) if wide else scale(5e-3, 5e-2)
            x = Tensor(dtype, [batch, h, w, c], x_scale, zero(dtype), feed=ints(dtype, [batch, h, w, c]))
            spread = int((32767 if wide else 255) * 127 * np.sqrt(kernel[0] * kernel[1]))
            weights, bias_tensor, scales = weights_and_bias(dtype, [1, *kernel, oc], 3, oc, x_scale, spread, per_channel, bias)
            out = [batch, *(out_size(n, k, s, d, same) for n, k, s, d in zip((h, w), kernel, stride, dilation)), oc]
            y_scale = float(x_scale) * float(np.mean(scales)) * spread / (40000 if wide else 150)
            golden.add(f"{dtype}_{label}_{'channel' if per_channel else 'tensor'}", OPS.DEPTHWISE_CONV_2D,
                       [("input", x), ("weights", weights), ("bias", bias_tensor)], Tensor(dtype, out, y_scale, zero(dtype)),
                       ("DepthwiseConv2DOptions", depthwise_options(multiplier, stride, dilation, same, activation)), 3,
                       stride=stride, dilation=dilation, same=same, activation=activation, multiplier=multiplier)
    attributes = {"stride": (1, 1), "dilation": (1, 1), "same": False, "activation": "none", "multiplier": 1}
    options = lambda: depthwise_options(1, (1, 1), (1, 1), False, "none")
    add_conv_ties(golden, OPS.DEPTHWISE_CONV_2D, "DepthwiseConv2DOptions", attributes, options,
                  ([1, 7, 7, 20], [1, 3, 3, 20], 3, 20, [1, 5, 5, 20]))


def hybrid_depthwise_conv_2d(golden):
    for label, (h, w, c), multiplier, kernel, stride, dilation, same, activation, batch in DEPTHWISE:
        oc = c * multiplier
        batch = max(batch, 2)
        x = (rng.standard_normal([batch, h, w, c]) * rng.uniform(0.1, 5, [batch, 1, 1, 1]) + 0.3).astype(np.float32)
        scales = np.array([scale(2e-3, 2e-2) for _ in range(oc)], np.float32)
        weights = Tensor("i8", [1, *kernel, oc], scales, 0, 3, data=ints("i8", [1, *kernel, oc], -127))
        out = [batch, *(out_size(n, k, s, d, same) for n, k, s, d in zip((h, w), kernel, stride, dilation)), oc]
        golden.add(label, OPS.DEPTHWISE_CONV_2D,
                   [("input", Tensor("f32", x.shape, feed=x)), ("weights", weights),
                    ("bias", Tensor("f32", [oc], data=rng.standard_normal(oc)))], Tensor("f32", out),
                   ("DepthwiseConv2DOptions", depthwise_options(multiplier, stride, dilation, same, activation)), 6,
                   stride=stride, dilation=dilation, same=same, activation=activation, multiplier=multiplier)


def fully_connected(golden):
    cases = [("small", 1, 7, 5, "none"), ("batch", 5, 64, 33, "relu"), ("wide", 1, 300, 40, "relu6"), ("one", 3, 1, 1, "none")]
    variants = [
        ("i8", True, "i32"), ("i8", False, "i32"), ("i8", False, None), ("i8", True, None), ("u8", False, "i32"),
        ("u8", False, None), ("i16", False, "i64"), ("i16", False, "i32"), ("i16", True, "i64"), ("i16", True, "i32"),
        ("i16", False, None), ("i16", True, None),
    ]
    for label, batch, k, n, activation in cases:
        for dtype, per_channel, bias in variants:
            wide = dtype == "i16"
            x_scale = scale(1e-5, 1e-4) if wide else scale(5e-3, 5e-2)
            x = Tensor(dtype, [batch, k], x_scale, zero(dtype), feed=ints(dtype, [batch, k]))
            spread = int((32767 if wide else 255) * 127 * np.sqrt(k))
            weights, bias_tensor, scales = weights_and_bias(dtype, [n, k], 0, n, x_scale, spread, per_channel, bias)
            y_scale = float(x_scale) * float(np.mean(scales)) * spread / (40000 if wide else 150)
            y = Tensor(dtype, [batch, n], y_scale, zero(dtype))
            options = fill(schema.FullyConnectedOptionsT, fusedActivationFunction=ACTIVATIONS[activation],
                           quantizedBiasType=bias_type(dtype, bias))
            inputs = [("input", x), ("weights", weights), ("bias", bias_tensor)]
            golden.add(f"{dtype}_{label}_{'channel' if per_channel else 'tensor'}_bias_{bias}", OPS.FULLY_CONNECTED,
                       inputs, y, ("FullyConnectedOptions", options), 4, activation=activation)
    add_conv_ties(golden, OPS.FULLY_CONNECTED, "FullyConnectedOptions", {"activation": "none"},
                  schema.FullyConnectedOptionsT, ([20, 16], [20, 16], 0, 20, [20, 20]))


def pool(golden, op):
    cases = [
        ("2x2_valid", (8, 6, 5), (2, 2), (2, 2), False, "none"),
        ("3x3_same_stride2", (9, 8, 19), (3, 3), (2, 2), True, "relu6"),
        ("3x2_same_stride1", (5, 7, 70), (3, 2), (1, 1), True, "relu"),
        ("global", (7, 7, 33), (7, 7), (7, 7), False, "none"),
        ("1x1", (4, 4, 3), (1, 1), (1, 1), False, "relu6"),
        ("2x2_stride3", (8, 8, 4), (2, 2), (3, 3), False, "relu6"),
    ]
    for label, (h, w, c), kernel, stride, same, activation in cases:
        for dtype in ("i8", "u8", "i16"):
            s, z = scale(3e-5, 3e-4) if dtype == "i16" else scale(2e-2, 8e-2), zero(dtype)
            x = Tensor(dtype, [2, h, w, c], s, z, feed=ints(dtype, [2, h, w, c]))
            out = [2, *(out_size(n, k, t, 1, same) for n, k, t in zip((h, w), kernel, stride)), c]
            options = fill(schema.Pool2DOptionsT, padding=0 if same else 1, strideH=stride[0], strideW=stride[1],
                           filterHeight=kernel[0], filterWidth=kernel[1],
                           fusedActivationFunction=ACTIVATIONS[activation])
            golden.add(f"{dtype}_{label}", op, [("input", x)], Tensor(dtype, out, s, z), ("Pool2DOptions", options), 3,
                       kernel=kernel, stride=stride, dilation=(1, 1), same=same, activation=activation)


def softmax(golden):
    for dtype, low, high in (("i8", 1e-3, 0.3), ("u8", 1e-3, 0.3), ("i16", 1e-5, 2e-3)):
        for rows, depth, beta in ((1, 1, 1.0), (7, 10, 1.0), (3, 100, 0.7), (2, 300, 1.0), (5, 10, 2.5), (1, 1000, 1.0)):
            for spread in (1.0, 0.2):
                s = scale(low, high)
                x = ints(dtype, [rows, depth])
                if spread < 1:
                    x = (x * spread).astype(x.dtype)
                out_scale, out_zero = {"i8": (1 / 256, -128), "u8": (1 / 256, 0), "i16": (1 / 32768, 0)}[dtype]
                options = fill(schema.SoftmaxOptionsT, beta=beta)
                golden.add(f"{dtype}_{rows}x{depth}_beta{beta}_{spread}", OPS.SOFTMAX,
                           [("input", Tensor(dtype, [rows, depth], s, zero(dtype), feed=x))],
                           Tensor(dtype, [rows, depth], out_scale, out_zero), ("SoftmaxOptions", options), 3,
                           beta_bits=int(np.float32(beta).view(np.uint32)))


def quantize(golden):
    for dtype in ("i8", "u8", "i16"):
        for case in range(6):
            s, z = scale(1e-5, 1e-2) if dtype == "i16" else scale(1e-3, 0.5), zero(dtype)
            if case == 0:
                s = np.float32(0.5)
            span = float(s) * (40000 if dtype == "i16" else 200)
            x = rng.uniform(-span, span, 300).astype(np.float32)
            x[:80] = (np.arange(-40, 40) + 0.5).astype(np.float32) * s  # Ties, as nearly as f32 has them.
            x[80:88] = [0.0, -0.0, 1e30, -1e30, np.inf, -np.inf, 3e9, -3e9]
            golden.add(f"f32_to_{dtype}_{case}", OPS.QUANTIZE, [("input", Tensor("f32", [300], feed=x))],
                       Tensor(dtype, [300], s, z), ("QuantizeOptions", schema.QuantizeOptionsT()), 2)
    pairs = [("i8", "i8"), ("u8", "u8"), ("i8", "u8"), ("u8", "i8"), ("i16", "i8"), ("i16", "i16"), ("i8", "i16"), ("u8", "i16")]
    for a, b in pairs:
        for case in range(5):
            s, z = scale(1e-5, 1e-4) if a == "i16" else scale(5e-3, 5e-2), zero(a)
            ratio = [1.0, 0.37, 3.1, 0.0021, 1.0][case]
            n = 256 - case
            t = np.float32(float(s) * ratio * (1 / 256 if b == "i16" and a != "i16" else 256 if a == "i16" and b == "i8" else 1))
            y = zero(b)
            if case == 4:
                t, y = s, {"i8u8": z + 128, "u8i8": z - 128}.get(a + b, y)
            values = ints(a, [400]) if a == "i16" else np.arange(n).astype(np.uint8).view(TYPES[a][0])
            golden.add(f"{a}_to_{b}_{case}", OPS.QUANTIZE, [("input", Tensor(a, values.shape, s, z, feed=values))],
                       Tensor(b, values.shape, t, y), ("QuantizeOptions", schema.QuantizeOptionsT()), 2)


def dequantize(golden):
    for dtype in ("i8", "u8", "i16"):
        for case in range(3):
            values = ints(dtype, [500]) if dtype == "i16" else np.arange(256).astype(np.uint8).view(TYPES[dtype][0])
            golden.add(f"{dtype}_{case}", OPS.DEQUANTIZE,
                       [("input", Tensor(dtype, values.shape, scale(1e-4, 1.0), zero(dtype), feed=values))],
                       Tensor("f32", values.shape), ("DequantizeOptions", schema.DequantizeOptionsT()), 3)
    halves = np.concatenate([rng.standard_normal(200).astype(np.float16),
                             np.array([0, -0.0, 65504, 6e-8, 6.1e-5, np.inf, -np.inf], np.float16)])
    golden.add("f16", OPS.DEQUANTIZE, [("input", Tensor("f16", halves.shape, feed=halves))],
               Tensor("f32", halves.shape), ("DequantizeOptions", schema.DequantizeOptionsT()), 3)


def hybrid_conv_2d(golden):
    cases = [
        ("3x3_same_relu", (8, 7, 3), 8, (3, 3), (1, 1), (1, 1), True, "relu", 1),
        ("3x3_valid_stride2_relu6", (9, 10, 16), 33, (3, 3), (2, 2), (1, 1), False, "relu6", 2),
        ("1x1", (5, 6, 24), 40, (1, 1), (1, 1), (1, 1), True, "none", 3),
        ("3x3_dilated_same", (8, 7, 5), 7, (3, 3), (1, 1), (2, 2), True, "none", 1),
    ]
    for label, (h, w, c), oc, kernel, stride, dilation, same, activation, batch in cases:
        for per_channel in (True, False):
            x = (rng.standard_normal([batch, h, w, c]) * rng.uniform(0.1, 5, [batch, 1, 1, 1]) + 0.3).astype(np.float32)
            scales = np.array([scale(2e-3, 2e-2) for _ in range(oc if per_channel else 1)], np.float32)
            shape = [oc, *kernel, c]
            weights = Tensor("i8", shape, scales, 0, 0, data=ints("i8", shape, -127))
            bias = Tensor("f32", [oc], data=rng.standard_normal(oc))
            out = [batch, *(out_size(n, k, s, d, same) for n, k, s, d in zip((h, w), kernel, stride, dilation)), oc]
            options = fill(schema.Conv2DOptionsT, padding=0 if same else 1, strideH=stride[0], strideW=stride[1],
                           dilationHFactor=dilation[0], dilationWFactor=dilation[1],
                           fusedActivationFunction=ACTIVATIONS[activation])
            golden.add(f"{label}_{'channel' if per_channel else 'tensor'}", OPS.CONV_2D,
                       [("input", Tensor("f32", x.shape, feed=x)), ("weights", weights), ("bias", bias)],
                       Tensor("f32", out), ("Conv2DOptions", options), 5, stride=stride, dilation=dilation, same=same,
                       activation=activation)


def hybrid_fully_connected(golden):
    for label, batch, k, n, activation in (("small", 1, 7, 5, "none"), ("batch", 6, 64, 33, "relu"), ("wide", 2, 300, 20, "relu6")):
        for per_channel in (True, False):
            for bias in (True, False):
                for asymmetric in (True, False):
                    x = (rng.standard_normal([batch, k]) * rng.uniform(0.1, 5, [batch, 1]) + 0.2).astype(np.float32)
                    if label == "batch":
                        x[0] = np.abs(x[0])
                        x[1] = -np.abs(x[1])
                        x[2] = 0
                    scales = np.array([scale(2e-3, 2e-2) for _ in range(n if per_channel else 1)], np.float32)
                    weights = Tensor("i8", [n, k], scales, 0, 0, data=ints("i8", [n, k], -127))
                    options = fill(schema.FullyConnectedOptionsT, fusedActivationFunction=ACTIVATIONS[activation],
                                   asymmetricQuantizeInputs=asymmetric)
                    inputs = [("input", Tensor("f32", x.shape, feed=x)), ("weights", weights),
                              ("bias", Tensor("f32", [n], data=rng.standard_normal(n)) if bias else None)]
                    golden.add(f"{label}_{'channel' if per_channel else 'tensor'}_bias_{bias}_asymmetric_{asymmetric}",
                               OPS.FULLY_CONNECTED, inputs, Tensor("f32", [batch, n]),
                               ("FullyConnectedOptions", options), 9, activation=activation, asymmetric=asymmetric)


def binary(golden, op, kind, options_type):
    shapes = [
        ("same", [3, 5, 7], [3, 5, 7]), ("scalar", [2, 40], [1]), ("channels", [2, 3, 4, 9], [9]),
        ("both", [4, 1, 6], [1, 5, 6]), ("left", [1], [33]),
    ]
    scales = [("far", None), ("tie", (0.5, 0.25, 1.0)), ("wide", (1.0, 0.002, 1.0))]
    for dtype in ("i8", "u8", "i16"):
        for label, a_shape, b_shape in shapes:
            for name, fixed in scales if label == "same" else scales[:1]:
                for activation in ("none", "relu", "relu6") if label == "same" and fixed is None else ("none",):
                    small = dtype == "i16"
                    a_scale, b_scale, y_scale = fixed or (scale(1e-4, 1e-3),) * 3 if small else fixed or [scale(1e-2, 1e-1) for _ in range(3)]
                    if fixed is None and small:
                        a_scale, b_scale, y_scale = [scale(1e-4, 4e-4) for _ in range(3)]
                    if op == OPS.MUL:
                        y_scale = float(a_scale) * float(b_scale) * (20000 if small else 90 if fixed is None else 64)
                    a = Tensor(dtype, a_shape, a_scale, zero(dtype), feed=ints(dtype, a_shape))
                    b = Tensor(dtype, b_shape, b_scale, zero(dtype), feed=ints(dtype, b_shape))
                    out = list(np.broadcast_shapes(a_shape, b_shape))
                    options = fill(options_type, fusedActivationFunction=ACTIVATIONS[activation])
                    if hasattr(options, "potScaleInt16"):
                        options.potScaleInt16 = False
                    golden.add(f"{dtype}_{label}_{name}_{activation}", op, [("a", a), ("b", b)],
                               Tensor(dtype, out, y_scale, zero(dtype)), (kind, options), 4 if op == OPS.ADD else 5, activation=activation)


def add_rounded_once(golden):
    """int16 pairs whose sum differs by whether each operand is rounded once or twice, about one in 1000: LiteRT rounds
    twice in the reference and in the tail of its vector loop, once in the loop."""
    a_scale, b_scale, y_scale = (np.float32(s) for s in (0.00021912748, 0.00023278473, 0.00023278473))

    def multiplier(real):
        mantissa, exponent = np.frexp(np.float64(real))
        return int(np.round(mantissa * 2.0**31)), int(exponent)

    def high(x, q):
        return (x * q + (1 << 30)) >> 31

    def shift_away(x, by):
        return np.sign(x) * ((np.abs(x) + ((1 << by) >> 1)) >> by)

    twice_max = 2 * float(max(a_scale, b_scale))
    (qa, ea), (qb, eb), (qy, ey) = (multiplier(r) for r in (
        float(a_scale) / twice_max, float(b_scale) / twice_max, twice_max / (2**15 * float(y_scale))))
    a, b = rng.integers(-20000, 20000, (2, 1_000_000))
    twice = shift_away(high(a << 15, qa), -ea) + shift_away(high(b << 15, qb), -eb)
    once = high(a << (15 + ea), qa) + high(b << (15 + eb), qb)
    differ = np.flatnonzero(shift_away(high(twice, qy), -ey) != shift_away(high(once, qy), -ey))[:75]
    a, b = a[differ], b[differ]
    options = fill(schema.AddOptionsT, potScaleInt16=False)
    golden.add(f"i16_rounded_once_{len(a)}", OPS.ADD,
               [("a", Tensor("i16", a.shape, a_scale, feed=a)), ("b", Tensor("i16", b.shape, b_scale, feed=b))],
               Tensor("i16", a.shape, y_scale), ("AddOptions", options), 4, activation="none")


def reduce(golden, op):
    cases = [
        ("spatial", [2, 7, 7, 19], [1, 2], True), ("spatial_drop", [1, 4, 4, 33], [1, 2], False),
        ("last", [3, 4, 40], [2], True), ("all", [2, 3, 5], [0, 1, 2], False), ("outer", [6, 2, 3, 5], [0, 2], True),
        ("odd", [2, 3, 3, 70], [2, 1], True),
    ]
    for label, shape, axes, keep in cases:
        for dtype in ("i8", "u8", "i16"):
            for same in (True, False) if op == OPS.MEAN else (True,):
                s, z = scale(1e-3, 1e-1), zero(dtype)
                x = Tensor(dtype, shape, s, z, feed=ints(dtype, shape))
                kept = [1 if i in axes else n for i, n in enumerate(shape)]
                out = kept if keep else [n for i, n in enumerate(shape) if i not in axes]
                y = Tensor(dtype, out, s, z) if same else Tensor(dtype, out, float(s) * rng.uniform(0.1, 0.9), zero(dtype))
                golden.add(f"{dtype}_{label}_{'same' if same else 'other'}", op,
                           [("input", x), ("axes", Tensor("i32", [len(axes)], data=axes))], y,
                           ("ReducerOptions", fill(schema.ReducerOptionsT, keepDims=keep)), 3, axes=axes)


def concatenation(golden):
    for dtype in ("i8", "u8", "i16"):
        for same in (True, False):
            for label, shapes, axis in (("last", [[2, 3, 4], [2, 3, 1], [2, 3, 6]], 2), ("first", [[1, 5], [3, 5]], 0)):
                if not same and dtype != "u8":
                    continue
                s, z = scale(1e-2, 1e-1), zero(dtype)
                inputs = [(f"input_{i}", Tensor(dtype, shape, s if same or i == 1 else scale(1e-2, 1e-1),
                                                z if same or i == 1 else zero(dtype), feed=ints(dtype, shape)))
                          for i, shape in enumerate(shapes)]
                out = list(shapes[0])
                out[axis] = sum(shape[axis] for shape in shapes)
                golden.add(f"{dtype}_{label}_{'same' if same else 'other'}", OPS.CONCATENATION, inputs,
                           Tensor(dtype, out, s, z), ("ConcatenationOptions", fill(schema.ConcatenationOptionsT, axis=axis)),
                           3, axis=axis, operands=len(shapes))


def pad(golden):
    for dtype in ("i8", "u8", "i16"):
        s, z = scale(1e-2, 1e-1), zero(dtype)
        x = Tensor(dtype, [2, 3, 4, 5], s, z, feed=ints(dtype, [2, 3, 4, 5]))
        pads = [[0, 0], [1, 2], [3, 0], [0, 0]]
        golden.add(dtype, OPS.PAD, [("input", x), ("paddings", Tensor("i32", [4, 2], data=pads))],
                   Tensor(dtype, [2, 6, 7, 5], s, z), ("PadOptions", schema.PadOptionsT()), 2, paddings=pads)


VERSIONS = {OPS.LOGISTIC: 3, OPS.TANH: 3, OPS.HARD_SWISH: 1, OPS.RELU_N1_TO_1: 1}


def activation(golden):
    for dtype in ("i8", "u8", "i16"):
        if dtype == "i16":
            values = np.concatenate([np.arange(-32768, 32768, 97), [32767, 0, -1, 1, 127, -128]]).astype(np.int16)
        else:
            values = np.arange(255).astype(np.uint8).view(TYPES[dtype][0])
        shape = [len(values)]

        def add(label, op, x_scale, y, options, **attributes):
            golden.add(f"{dtype}_{label}", op, [("input", Tensor(dtype, shape, x_scale, zero(dtype), feed=values))], y, options,
                       VERSIONS.get(op, 2), **attributes)

        wide = dtype == "i16"
        for case in range(5):
            s = scale(1e-4, 1e-3) if wide else scale(2e-2, 2e-1)
            t = s if case == 0 else np.float32(float(s) * [0, 0.5, 0.83, 1.7, 0.061][case])
            for op, name, act in ((OPS.RELU, "relu", "relu"), (OPS.RELU6, "relu6", "relu6"), (OPS.RELU_N1_TO_1, "relu_n1_to_1", "relu_n1_to_1")):
                if not (wide and act == "relu_n1_to_1"):
                    add(f"{name}_{case}", op, s, Tensor(dtype, shape, t, zero(dtype)), None, function="relu", activation=act)
            for alpha in (0.2, 1.5, -0.3):
                add(f"leaky_relu_{alpha}_{case}", OPS.LEAKY_RELU, s, Tensor(dtype, shape, t, zero(dtype)),
                    ("LeakyReluOptions", fill(schema.LeakyReluOptionsT, alpha=alpha)), function="leaky_relu",
                    alpha_bits=int(np.float32(alpha).view(np.uint32)))
            if not wide:
                add(f"hard_swish_{case}", OPS.HARD_SWISH, s, Tensor(dtype, shape, np.float32(float(s) * [1, 0.5, 0.83, 1.7, 0.1][case]), zero(dtype)),
                    ("HardSwishOptions", schema.HardSwishOptionsT()), function="hard_swish")
            for approximate in (False, True):
                add(f"gelu_{approximate}_{case}", OPS.GELU, s, Tensor(dtype, shape, t, zero(dtype)),
                    ("GeluOptions", fill(schema.GeluOptionsT, approximate=approximate)), function="gelu", approximate=approximate)
            x_scale = [2**-12, 2**-11, s, s, 2**-13][case] if wide else s
            logistic = {"i8": (1 / 256, -128), "u8": (1 / 256, 0), "i16": (1 / 32768, 0)}[dtype]
            add(f"logistic_{case}", OPS.LOGISTIC, x_scale, Tensor(dtype, shape, *logistic), None, function="logistic")
            tanh = {"i8": (1 / 128, 0), "u8": (1 / 128, 128), "i16": (1 / 32768, 0)}[dtype]
            if case == 3 and not wide:
                tanh = (0.01, zero(dtype))
            add(f"tanh_{case}", OPS.TANH, x_scale, Tensor(dtype, shape, *tanh), None, function="tanh")


MAKERS = {
    "conv_2d": conv_2d,
    "fully_connected": fully_connected,
    "depthwise_conv_2d": depthwise_conv_2d,
    "hybrid_depthwise_conv_2d": hybrid_depthwise_conv_2d,
    "hybrid_conv_2d": hybrid_conv_2d,
    "hybrid_fully_connected": hybrid_fully_connected,
    "max_pool_2d": lambda golden: pool(golden, OPS.MAX_POOL_2D),
    "average_pool_2d": lambda golden: pool(golden, OPS.AVERAGE_POOL_2D),
    "softmax": softmax,
    "add": lambda golden: (binary(golden, OPS.ADD, "AddOptions", schema.AddOptionsT), add_rounded_once(golden)),
    "sub": lambda golden: binary(golden, OPS.SUB, "SubOptions", schema.SubOptionsT),
    "mul": lambda golden: binary(golden, OPS.MUL, "MulOptions", schema.MulOptionsT),
    "mean": lambda golden: reduce(golden, OPS.MEAN),
    "reduce_max": lambda golden: reduce(golden, OPS.REDUCE_MAX),
    "reduce_min": lambda golden: reduce(golden, OPS.REDUCE_MIN),
    "concatenation": concatenation,
    "pad": pad,
    "activation": activation,
    "quantize": quantize,
    "dequantize": dequantize,
}


def main():
    global rng
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "testdata" / "ops")
    parser.add_argument("--seed", type=int, default=20240611, help="other cases of the same kinds (default %(default)s)")
    parser.add_argument("op", nargs="*", help="ops to record; all by default")
    arguments = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    arguments.out.mkdir(parents=True, exist_ok=True)
    oracles = {"litert": Oracle(False), "reference": Oracle(True)}
    for name in arguments.op or MAKERS:
        rng = np.random.Generator(np.random.PCG64([arguments.seed, *name.encode()]))
        golden = Golden(name, oracles)
        MAKERS[name](golden)
        golden.save(arguments.out)


if __name__ == "__main__":
    main()

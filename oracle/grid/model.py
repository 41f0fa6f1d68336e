"""Builds .tflite files op by op."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

OPS = schema.BuiltinOperator
ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}
TYPES = {
    "f32": (np.float32, schema.TensorType.FLOAT32),
    "f16": (np.float16, schema.TensorType.FLOAT16),
    "f64": (np.float64, schema.TensorType.FLOAT64),
    "i4": (np.uint8, schema.TensorType.INT4),
    "i8": (np.int8, schema.TensorType.INT8),
    "u8": (np.uint8, schema.TensorType.UINT8),
    "i16": (np.int16, schema.TensorType.INT16),
    "u16": (np.uint16, schema.TensorType.UINT16),
    "i32": (np.int32, schema.TensorType.INT32),
    "u32": (np.uint32, schema.TensorType.UINT32),
    "i64": (np.int64, schema.TensorType.INT64),
    "u64": (np.uint64, schema.TensorType.UINT64),
    "c64": (np.complex64, schema.TensorType.COMPLEX64),
    "bool": (np.bool_, schema.TensorType.BOOL),
    "resource": (np.int32, schema.TensorType.RESOURCE),
}


def options(kind, **fields):
    """The options table of an op: `options("AddOptions", fusedActivationFunction=1)`."""
    table = getattr(schema, kind + "T")()
    for name, value in fields.items():
        assert hasattr(table, name), f"{kind} has no {name}"
        setattr(table, name, value)
    return kind, table


class Graph:
    """One subgraph under construction. Tensors are named by their index."""

    def __init__(self, model, name):
        self.model, self.table = model, schema.SubGraphT()
        self.table.name, self.table.tensors, self.table.operators = name, [], []
        self.table.inputs, self.table.outputs = [], []

    def tensor(
        self,
        dtype,
        shape,
        scale=None,
        zero_point=0,
        axis=0,
        data=None,
        variable=False,
        signature=None,
        block_size=None,
        sparsity=None,
    ):
        """Adds a tensor. `data` makes it a constant; int4 data are values in -8..7, packed here. With `block_size`, `scale` has one
        for each block of a row, and stands in a float16 tensor before this one. `sparsity` says where fewer data
        stand in the shape."""
        if block_size is not None:
            blocks = schema.BlockwiseQuantizationT()
            blocks.scales, blocks.zeroPoints, blocks.blockSize = self.tensor("f16", scale.shape, data=scale), -1, block_size
            index = self.tensor(dtype, shape, data=data)
            details = schema.QuantizationParametersT()
            details.detailsType, details.details = schema.QuantizationDetails.BlockwiseQuantization, blocks
            self.table.tensors[index].quantization = details
            return index
        t = schema.TensorT()
        t.name = f"{self.table.name}_t{len(self.table.tensors)}"
        t.shape, t.type, t.isVariable = list(shape), TYPES[dtype][1], variable
        t.shapeSignature = None if signature is None else list(signature)
        if scale is not None:
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
            points = np.broadcast_to(np.atleast_1d(np.asarray(zero_point, np.int64)), t.quantization.scale.shape)
            t.quantization.zeroPoint = points.copy()
            t.quantization.quantizedDimension = axis
        t.sparsity = sparsity
        t.buffer = 0
        if data is not None:
            if dtype == "i4":
                nibbles = np.asarray(data, np.int64).reshape(-1) & 15
                nibbles = np.append(nibbles, np.zeros(len(nibbles) % 2, np.int64))
                raw = (nibbles[0::2] | nibbles[1::2] << 4).astype(np.uint8)
            else:
                stored = np.ascontiguousarray(data, TYPES[dtype][0])
                stored = stored.reshape(shape) if sparsity is None else stored
                raw = np.frombuffer(stored.tobytes(), np.uint8)
            buffer = schema.BufferT()
            buffer.data = raw
            self.model.table.buffers.append(buffer)
            t.buffer = len(self.model.table.buffers) - 1
        self.table.tensors.append(t)
        return len(self.table.tensors) - 1

    def input(self, dtype, shape, **details):
        """Adds a tensor that is an input of the graph."""
        self.table.inputs.append(self.tensor(dtype, shape, **details))
        return self.table.inputs[-1]

    def output(self, dtype, shape, **details):
        """Adds a tensor that is an output of the graph."""
        self.table.outputs.append(self.tensor(dtype, shape, **details))
        return self.table.outputs[-1]

    def op(self, builtin, inputs, outputs, opts=None, version=1, custom=None, custom_options=b""):
        """Adds an op; an input of -1 is left out. `custom` is the name of a custom op, with its options as bytes."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self.model.opcode(builtin, version, custom)
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if opts is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, opts[0], 0)
            operator.builtinOptions = opts[1]
            if operator.builtinOptionsType == 0:
                operator.builtinOptions = None
                operator.builtinOptions2Type = getattr(schema.BuiltinOptions2, opts[0])
                operator.builtinOptions2 = opts[1]
        if custom_options:
            operator.customOptions = np.frombuffer(custom_options, np.uint8)
        self.table.operators.append(operator)


class Model:
    """A file under construction. The first graph is the main one."""

    def __init__(self):
        self.table = schema.ModelT()
        self.table.version, self.table.description = 3, ""
        self.table.operatorCodes, self.table.subgraphs, self.table.buffers = [], [], [schema.BufferT()]
        self.codes = {}

    def graph(self, name="main"):
        """Adds a subgraph."""
        graph = Graph(self, name)
        self.table.subgraphs.append(graph.table)
        return graph

    def opcode(self, builtin, version, custom):
        """Index of the operator code, added at its first use."""
        key = (builtin, version, custom)
        if key not in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
            code.customCode = custom
            self.table.operatorCodes.append(code)
            self.codes[key] = len(self.table.operatorCodes) - 1
        return self.codes[key]

    def bytes(self):
        """The file."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.table.Pack(builder), b"TFL3")
        return bytes(builder.Output())

"""DENSIFY: sparse constant weights made dense for the op that reads them, in the forms in which TensorFlow Lite stores them."""

import numpy as np

from grid.model import OPS as BUILTIN, Model, options, schema
from grid.record import Case

# Vectors of segments and of indices by their elements.
VECTORS = {np.int32: (1, schema.Int32VectorT), np.uint16: (2, schema.Uint16VectorT), np.uint8: (3, schema.Uint8VectorT)}


def vector(values, element):
    """A vector of a compressed level, with its tag."""
    tag, kind = VECTORS[element]
    table = kind()
    table.values = np.asarray(values, element)
    return tag, table


def sparse(dense, order, blocks=(), compressed=(), index=np.uint8):
    """The stored values and the description of a dense array. `blocks` are axes with the size of their blocks, which are axes after
    the others; `order` is that of all axes; `compressed` are the levels, places in it, that store only what is not all zeros."""
    rank = dense.ndim
    expanded = dense
    for place, (axis, size) in enumerate(blocks):
        shape = expanded.shape
        expanded = expanded.reshape(*shape[:axis], shape[axis] // size, size, *shape[axis + 1 :])
        expanded = np.moveaxis(expanded, axis + 1, rank + place)
    expanded = expanded.transpose(order)
    table = schema.SparsityParametersT()
    table.traversalOrder, table.blockMap, table.dimMetadata = list(order), [axis for axis, _ in blocks], []
    parts = [expanded]
    for level in range(expanded.ndim):
        metadata = schema.DimensionMetadataT()
        if level not in compressed:
            metadata.format, metadata.denseSize = schema.DimensionType.DENSE, expanded.shape[level]
            parts = [element for part in parts for element in part]
        else:
            kept = [[at for at, element in enumerate(part) if np.any(element)] for part in parts]
            metadata.format = schema.DimensionType.SPARSE_CSR
            segments = np.cumsum([0] + [len(indices) for indices in kept])
            metadata.arraySegmentsType, metadata.arraySegments = vector(segments, np.uint8 if segments[-1] < 256 else np.uint16)
            metadata.arrayIndicesType, metadata.arrayIndices = vector([at for indices in kept for at in indices], index)
            parts = [part[at] for part, indices in zip(parts, kept) for at in indices]
        table.dimMetadata.append(metadata)
    return np.asarray(parts, dense.dtype), table


def pruned(rng, dtype, shape, block=(), share=0.7):
    """Weights, most of them zeros in blocks along the last axis, or each for itself."""
    values = rng.integers(-127, 127, shape, endpoint=True) if dtype == "i8" else np.round(rng.standard_normal(shape) * 64) / 64
    size = block[1] if block else 1
    kept = rng.random((*shape[:-1], shape[-1] // size)) >= share
    return np.where(np.repeat(kept, size, -1), values, 0).astype({"f32": np.float32, "f16": np.float16, "i8": np.int8}[dtype])


def layer(graph, op, x, weights, shape, details):
    """The op that reads the weights: the tensor of its output."""
    filters = shape[-1] if op == "DEPTHWISE_CONV_2D" else shape[0]
    integer = bool(details)
    bias_details = {"scale": details["scale"] * 0.01} if integer else {}
    bias = graph.tensor("i32" if integer else "f32", (filters,), data=np.arange(filters) - 3, **bias_details)
    size = (3, filters) if op == "FULLY_CONNECTED" else (1, 5, 4, filters)
    y = graph.output("i8" if integer else "f32", size, **({"scale": 0.2, "zero_point": 4} if integer else {}))
    opts = {
        "FULLY_CONNECTED": lambda: options("FullyConnectedOptions"),
        "CONV_2D": lambda: options("Conv2DOptions", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1),
        "DEPTHWISE_CONV_2D": lambda: options(
            "DepthwiseConv2DOptions", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1, depthMultiplier=1
        ),
    }[op]()
    graph.op(getattr(BUILTIN, op), [x, weights, bias], [y], opts, 3 if integer else 1)


# Name; op; shape of the weights; order, blocks, compressed levels; elements of the indices.
FORMS = [
    ("rows", "FULLY_CONNECTED", (10, 24), (0, 1), (), (1,), np.uint8),
    ("columns", "FULLY_CONNECTED", (10, 24), (1, 0), (), (1,), np.uint8),
    ("all_compressed", "FULLY_CONNECTED", (10, 24), (0, 1), (), (0, 1), np.uint16),
    ("all_dense", "FULLY_CONNECTED", (10, 24), (0, 1), (), (), np.uint8),
    ("blocks_1x4", "FULLY_CONNECTED", (10, 24), (0, 1, 2), ((1, 4),), (1,), np.uint8),
    ("blocks_2x4", "FULLY_CONNECTED", (10, 24), (0, 1, 2, 3), ((0, 2), (1, 4)), (1,), np.int32),
    ("wide", "FULLY_CONNECTED", (7, 300), (0, 1), (), (1,), np.uint16),
    ("filters", "CONV_2D", (6, 3, 3, 8), (0, 1, 2, 3), (), (3,), np.uint8),
    ("filters_blocks", "CONV_2D", (6, 3, 3, 8), (0, 1, 2, 3, 4), ((3, 4),), (1, 2, 3), np.uint8),
    ("pixels", "CONV_2D", (12, 1, 1, 16), (1, 2, 0, 3), (), (3,), np.uint8),
    ("channels", "DEPTHWISE_CONV_2D", (1, 3, 3, 12), (0, 1, 2, 3), (), (3,), np.uint8),
]


def densify(rng):
    """Each form as float32, as float16 that is dequantized, and as int8."""
    for label, op, shape, order, blocks, compressed, index in FORMS:
        for dtype in ("f32", "f16", "i8"):
            dense = pruned(rng, dtype, shape, blocks[-1] if blocks else ())
            values, sparsity = sparse(dense, order, blocks, compressed, index)
            features = shape[3] if len(shape) == 4 else shape[1]
            size = (3, features) if op == "FULLY_CONNECTED" else (1, 5, 4, features)

            def build(is_sparse, dtype=dtype, op=op, shape=shape, size=size, dense=dense, values=values, sparsity=sparsity):
                model = Model()
                graph = model.graph()
                details = {"scale": np.float32(0.03)} if dtype == "i8" else {}
                x = graph.input("i8" if details else "f32", size, **details)
                weight_details = {"scale": np.float32(0.01)} if details else {}
                if is_sparse:
                    stored = graph.tensor(dtype, shape, data=values, sparsity=sparsity, **weight_details)
                    weights = graph.tensor(dtype, shape, **weight_details)
                    graph.op(BUILTIN.DENSIFY, [stored], [weights], options("DensifyOptions"))
                else:
                    weights = graph.tensor(dtype, shape, data=dense, **weight_details)
                if dtype == "f16":
                    floats = graph.tensor("f32", shape)
                    graph.op(BUILTIN.DEQUANTIZE, [weights], [floats], options("DequantizeOptions"), 3)
                    weights = floats
                layer(graph, op, x, weights, shape, details)
                return model.bytes()

            feed = rng.integers(-128, 127, size, np.int8, endpoint=True)
            if dtype != "i8":
                feed = (np.round(rng.standard_normal(size) * 64) / 64).astype(np.float32)
            yield Case(f"{dtype}_{label}", build(True), [[feed]], meaning=build(False))


OPS = {"densify": densify}

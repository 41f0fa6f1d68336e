"""uint8 weights beside float activations: signed bytes, as dynamic-range files had them before TensorFlow Lite had the type int8."""

import dataclasses
import importlib

import flatbuffers

from grid.model import TYPES, schema
from grid.record import generator

INT8, UINT8 = TYPES["i8"][1], TYPES["u8"][1]
# Where the cases are whose weights are taken for uint8, and how many of each op.
FROM = {
    "convolution": ("conv_2d", "fully_connected"),
    "sequence": (
        "bidirectional_sequence_lstm",
        "bidirectional_sequence_rnn",
        "lstm",
        "rnn",
        "svdf",
        "unidirectional_sequence_lstm",
        "unidirectional_sequence_rnn",
    ),
}
EACH = 4


def early(model):
    """The model with uint8 for int8; None for one that is not a float op with weights of one scale."""
    table = schema.ModelT.InitFromPackedBuf(model, 0)
    (graph,) = table.subgraphs
    floats = {graph.tensors[index].type for index in graph.inputs} == {TYPES["f32"][1]}
    weights = [tensor for tensor in graph.tensors if tensor.type == INT8]
    if not floats or not weights or any(len(tensor.quantization.scale) != 1 for tensor in weights):
        return None
    for tensor in weights:
        tensor.type = UINT8
    builder = flatbuffers.Builder(1024)
    builder.Finish(table.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def uint8_weights(_):
    """Of each op some."""
    for family, ops in FROM.items():
        for op in ops:
            left = EACH
            for case in importlib.import_module(f"grid.{family}").OPS[op](generator(op)):
                model = early(case.model) if left else None
                if model is not None:
                    left -= 1
                    magnitude = None if case.magnitude is None else early(case.magnitude)
                    yield dataclasses.replace(case, name=f"{op}_{case.name}", model=model, magnitude=magnitude)


OPS = {"uint8_weights": uint8_weights}

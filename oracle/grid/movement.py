"""Ops that move elements, with something put between them, or make them from shapes."""

import numpy as np

from grid.model import OPS as BUILTIN, options
from grid.rearrange import TYPES_ALL, feed, ints, out, values
from grid.record import T, single

WIDE = ("u16", "u32", "f16")


def pad(rng):
    """Ranks 1 to 5."""
    for shape in ((5,), (2, 3), (2, 3, 4), (1, 4, 3, 2), (2, 1, 3, 2, 2)):
        paddings = rng.integers(0, 3, (len(shape), 2))
        result = tuple(np.asarray(shape) + paddings.sum(1))
        for dtype in TYPES_ALL:
            for kind in ("i32", "i64"):
                if kind == "i32" or dtype == "i8":
                    inputs = [feed(rng, dtype, shape), T(kind, paddings.shape, data=paddings)]
                    yield single(f"{dtype}_{kind}_{len(shape)}", BUILTIN.PAD, inputs, [out(dtype, result)], None, 4)
    for label, shape, paddings in [
        ("beside_one", (1, 4, 3, 1), ((0, 0), (1, 1), (0, 2), (1, 2))),
        ("channels", (2, 3, 24), ((0, 0), (0, 0), (0, 4))),
    ]:
        result = tuple(np.asarray(shape) + np.asarray(paddings).sum(1))
        for dtype in TYPES_ALL:
            inputs = [feed(rng, dtype, shape), T("i32", (len(shape), 2), data=paddings)]
            yield single(f"{dtype}_{label}", BUILTIN.PAD, inputs, [out(dtype, result)], None, 4)


def padv2(rng):
    """Values that are fed and constant ones."""
    for shape in ((2, 3), (1, 4, 3, 2), (2, 1, 3, 2, 2)):
        paddings = rng.integers(0, 3, (len(shape), 2))
        result = tuple(np.asarray(shape) + paddings.sum(1))
        for dtype in TYPES_ALL:
            value = feed(rng, dtype, ())
            inputs = [feed(rng, dtype, shape), T("i32", paddings.shape, data=paddings), value]
            yield single(f"{dtype}_{len(shape)}", BUILTIN.PADV2, inputs, [out(dtype, result)], None, 4)
            inputs[2] = T(dtype, (), value.scale, value.zero_point, data=value.feed)
            yield single(f"{dtype}_{len(shape)}_constant", BUILTIN.PADV2, inputs, [out(dtype, result)], None, 4)


def concatenation(rng):
    """Two to four operands along each axis."""
    for label, axis, shapes, result in [
        ("last", -1, [(2, 3), (2, 1), (2, 4)], (2, 8)),
        ("first", 0, [(1, 3, 2), (4, 3, 2)], (5, 3, 2)),
        ("middle", 1, [(2, 1, 3)] * 4, (2, 4, 3)),
        ("rank5", 3, [(1, 2, 2, 3, 2), (1, 2, 2, 1, 2)], (1, 2, 2, 4, 2)),
    ]:
        opts = options("ConcatenationOptions", axis=axis)
        for dtype in (*TYPES_ALL, *WIDE):
            version = 4 if dtype in WIDE else 3
            inputs = [feed(rng, dtype, shape) for shape in shapes]
            yield single(f"{dtype}_{label}", BUILTIN.CONCATENATION, inputs, [out(dtype, result)], opts, version)


def pack(rng):
    """Each axis."""
    for axis in (0, 1, 2, -1):
        for count, shape in ((3, (2, 4)), (1, (2, 3))):
            opts = options("PackOptions", axis=axis, valuesCount=count)
            result = list(shape)
            result.insert(axis % 3, count)
            for dtype in (*TYPES_ALL, *WIDE):
                inputs = [feed(rng, dtype, shape) for _ in range(count)]
                label = f"{dtype}_{axis % 3 if axis >= 0 else 'last'}_{count}"
                yield single(label, BUILTIN.PACK, inputs, [out(dtype, tuple(result))], opts, 4)


def reshape(rng):
    """A size left open, and a shape that is an input."""
    for dtype in (*TYPES_ALL, *WIDE):
        opts = options("ReshapeOptions", newShape=[-1, 4])
        yield single(f"{dtype}_open", BUILTIN.RESHAPE, [feed(rng, dtype, (2, 6))], [out(dtype, (3, 4))], opts)
        inputs = [feed(rng, dtype, (2, 3, 4)), ints(4, 6)]
        yield single(f"{dtype}_input", BUILTIN.RESHAPE, inputs, [out(dtype, (4, 6))])


def space_to_batch_nd(rng):
    """Blocks with and without padding."""
    for label, shape, block, edges, result in [
        ("plain", (1, 4, 6, 3), (2, 3), (0, 0, 0, 0), (6, 2, 2, 3)),
        ("padded", (2, 3, 4, 2), (2, 2), (1, 0, 0, 2), (8, 2, 3, 2)),
        ("rank3", (2, 5, 3), (3,), (0, 1), (6, 2, 3)),
        ("one", (1, 3, 4, 2), (1, 2), (0, 0, 2, 0), (2, 3, 3, 2)),
    ]:
        for dtype in TYPES_ALL:
            inputs = [feed(rng, dtype, shape), ints(*block), ints(*edges, shape=(len(block), 2))]
            yield single(f"{dtype}_{label}", BUILTIN.SPACE_TO_BATCH_ND, inputs, [out(dtype, result)], None, 3)


def batch_to_space_nd(rng):
    """Blocks with and without crops."""
    for label, shape, block, edges, result in [
        ("plain", (6, 2, 2, 3), (2, 3), (0, 0, 0, 0), (1, 4, 6, 3)),
        ("cropped", (8, 2, 3, 2), (2, 2), (1, 0, 0, 2), (2, 3, 4, 2)),
        ("rank3", (6, 2, 3), (3,), (0, 1), (2, 5, 3)),
        ("one", (2, 3, 3, 2), (1, 2), (0, 0, 2, 0), (1, 3, 4, 2)),
    ]:
        for dtype in TYPES_ALL:
            inputs = [feed(rng, dtype, shape), ints(*block), ints(*edges, shape=(len(block), 2))]
            yield single(f"{dtype}_{label}", BUILTIN.BATCH_TO_SPACE_ND, inputs, [out(dtype, result)], None, 3)


def fill(rng):
    """Shapes of both types, constant and fed."""
    for dtype in (*TYPES_ALL, "f16"):
        for kind in ("i32", "i64"):
            inputs = [ints(2, 3, dtype=kind), feed(rng, dtype, ())]
            yield single(f"{dtype}_{kind}", BUILTIN.FILL, inputs, [out(dtype, (2, 3))], None, 4)
        inputs = [T("i32", (3,), feed=np.asarray([2, 1, 4])), feed(rng, dtype, ())]
        yield single(f"{dtype}_fed", BUILTIN.FILL, inputs, [out(dtype, (1, 1, 1))], None, 4)


def zeros_like(rng):
    """Each type."""
    for dtype in TYPES_ALL:
        yield single(dtype, BUILTIN.ZEROS_LIKE, [T(dtype, (2, 3), feed=values(rng, dtype, (2, 3)))], [T(dtype, (2, 3))])


def range_(_):
    """Up, down, of no length, by steps that do not meet the limit."""
    for dtype, numbers in [
        ("i32", [(0, 7, 2), (5, -5, -3), (3, 3, 1), (-10, 0, 5)]),
        ("i64", [(0, 7, 2), (5, -5, -3), (1 << 40, (1 << 40) + 5, 2)]),
        ("f32", [(0.0, 1.0, 0.1), (1.5, -2.0, -0.7), (0.0, 10.0, 0.3)]),
    ]:
        for at, (start, limit, delta) in enumerate(numbers):
            inputs = [T(dtype, (), data=np.asarray(v)) for v in (start, limit, delta)]
            inputs[2] = T(dtype, (), feed=np.asarray(delta))
            yield single(f"{dtype}_{at}", BUILTIN.RANGE, inputs, [T(dtype, (1,))], None, 2 if dtype == "i64" else 1)


def rank(rng):
    """Scalars and others."""
    for shape in ((), (3,), (2, 1, 4)):
        yield single(f"f32_{len(shape)}", BUILTIN.RANK, [feed(rng, "f32", shape)], [T("i32", ())])


def shape(rng):
    """Both types of the result."""
    for kind in ("i32", "i64"):
        opts = options("ShapeOptions", outType={"i32": 2, "i64": 4}[kind])
        for sizes in ((), (3,), (2, 1, 4)):
            inputs = [feed(rng, "f32", sizes)]
            yield single(f"{kind}_{len(sizes)}", BUILTIN.SHAPE, inputs, [T(kind, (len(sizes),))], opts)


def broadcast_args(_):
    """Shapes of one and of different lengths."""
    for dtype in ("i32", "i64"):
        for label, a, b in [("same", (2, 1, 3), (1, 4, 3)), ("shorter", (4, 1), (2, 3, 1, 5)), ("one", (1,), (7, 1))]:
            inputs = [T(dtype, (len(s),), feed=np.asarray(s)) for s in (a, b)]
            size = max(len(a), len(b))
            yield single(f"{dtype}_{label}", BUILTIN.BROADCAST_ARGS, inputs, [T(dtype, (size,))])


def bitcast(rng):
    """To elements of the same size, larger and smaller ones."""
    for a, b, before, after in [
        ("f32", "i32", (2, 3), (2, 3)),
        ("i32", "f32", (3,), (3,)),
        ("f32", "i8", (2, 3), (2, 3, 4)),
        ("u8", "i32", (3, 4), (3,)),
        ("i16", "i64", (2, 4), (2,)),
        ("i64", "i32", (3,), (3, 2)),
    ]:
        inputs = [T(a, before, feed=values(rng, a, before))]
        yield single(f"{a}_{b}", BUILTIN.BITCAST, inputs, [T(b, after)])


OPS = {
    "pad": pad,
    "padv2": padv2,
    "concatenation": concatenation,
    "pack": pack,
    "reshape": reshape,
    "space_to_batch_nd": space_to_batch_nd,
    "batch_to_space_nd": batch_to_space_nd,
    "fill": fill,
    "zeros_like": zeros_like,
    "range": range_,
    "rank": rank,
    "shape": shape,
    "broadcast_args": broadcast_args,
    "bitcast": bitcast,
}

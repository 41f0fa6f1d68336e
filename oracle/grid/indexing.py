"""Ops that find elements by computed indices."""

import numpy as np

from grid.model import OPS as BUILTIN, options
from grid.rearrange import TYPES_ALL, feed, ints, out, values
from grid.record import T, single


def index(rng, high, shape, dtype="i32"):
    """Indices that are fed."""
    return T(dtype, shape, feed=rng.integers(0, high, shape))


def gather(rng):
    """Axes, shared axes, and indices of each type."""
    for label, axis, shared, shape, high, indices, result in [
        ("first", 0, 0, (6, 4), 6, (5,), (5, 4)),
        ("middle", 1, 0, (2, 5, 3), 5, (2, 2), (2, 2, 2, 3)),
        ("last", -1, 0, (3, 4), 4, (6,), (3, 6)),
        ("scalar", 1, 0, (3, 4, 2), 4, (), (3, 2)),
        ("shared", 1, 1, (3, 5, 2), 5, (3, 4), (3, 4, 2)),
        ("shared_outer", 2, 1, (2, 3, 5, 2), 5, (2, 4), (2, 3, 4, 2)),
        ("shared_two", 2, -1, (2, 3, 4), 4, (2, 3, 2), (2, 3, 2)),
    ]:
        opts = options("GatherOptions", axis=axis, batchDims=shared)
        for dtype in TYPES_ALL:
            inputs = [feed(rng, dtype, shape), index(rng, high, indices)]
            yield single(f"{dtype}_{label}", BUILTIN.GATHER, inputs, [out(dtype, result)], opts, 5)
        for kind in ("i16", "i64"):
            inputs = [feed(rng, "i8", shape), index(rng, high, indices, kind)]
            yield single(f"i8_by_{kind}_{label}", BUILTIN.GATHER, inputs, [out("i8", result)], opts, 6)
    constant = [ints(3, 0, 1, 3, shape=(2, 2)), ints(4, 4, 0, dtype="i64"), ints(2, shape=())]
    for label, axis, shape, indices, result in [
        ("matrix", 1, (2, 4, 3), constant[0], (2, 2, 2, 3)),
        ("vector", -1, (2, 3, 5), constant[1], (2, 3, 3)),
        ("one", 0, (6, 4), constant[2], (4,)),
    ]:
        for dtype in TYPES_ALL:
            opts = options("GatherOptions", axis=axis)
            inputs = [feed(rng, dtype, shape), indices]
            yield single(f"{dtype}_constant_{label}", BUILTIN.GATHER, inputs, [out(dtype, result)], opts, 4)


def gather_nd(rng):
    """Rows that name one, several and all axes."""
    opts = options("GatherNdOptions")
    for label, shape, indices, result in [
        ("one", (5, 3), (4, 1), (4, 3)),
        ("two", (3, 4, 2), (2, 3, 2), (2, 3, 2)),
        ("all", (3, 4), (5, 2), (5,)),
        ("single", (4, 3), (1,), (3,)),
    ]:
        limits = np.asarray(shape[: indices[-1]])
        for dtype in TYPES_ALL:
            for kind in ("i32", "i64", "i16"):
                if kind == "i32" or dtype == "i8":
                    rows = T(kind, indices, feed=rng.integers(0, limits, indices))
                    inputs = [feed(rng, dtype, shape), rows]
                    yield single(f"{dtype}_by_{kind}_{label}", BUILTIN.GATHER_ND, inputs, [out(dtype, result)], opts, 5)


def scatter_nd(rng):
    """Rows that name one and all axes, some of them twice."""
    opts = options("ScatterNdOptions")
    for label, shape, indices, updates in [
        ("rows", (5, 3), (7, 1), (7, 3)),
        ("elements", (3, 4), (6, 2), (6,)),
        ("deep", (3, 2, 4), (2, 2, 1), (2, 2, 2, 4)),
    ]:
        limits = np.asarray(shape[: indices[-1]])
        for dtype in TYPES_ALL:
            rows = T("i32", indices, feed=rng.integers(0, limits, indices))
            inputs = [rows, T(dtype, updates, feed=values(rng, dtype, updates)), ints(*shape)]
            yield single(f"{dtype}_{label}", BUILTIN.SCATTER_ND, inputs, [T(dtype, shape)], opts)


def sparse_to_dense(rng):
    """One value and several, indices of one axis and of all, the last of two at one place."""
    for label, shape, indices, count in [
        ("vector", (9,), (4,), 4),
        ("one_value", (9,), (4,), 0),
        ("one_index", (5,), (), 0),
        ("matrix", (3, 4), (6, 2), 6),
        ("matrix_one_value", (3, 4), (3, 2), 0),
        ("image", (2, 3, 4, 2), (5, 4), 5),
        ("twice", (2, 2), (9, 2), 9),
    ]:
        limits = np.asarray(shape)
        for dtype in ("f32", "i8", "u8", "i32", "i64"):
            for kind in ("i32", "i64"):
                if kind == "i32" or dtype == "f32":
                    where_ = rng.integers(0, limits if len(indices) == 2 else limits[0], indices)
                    size = (count,) if count else ()
                    inputs = [T(kind, indices, feed=where_), T(kind, (len(shape),), data=shape)]
                    inputs += [T(dtype, size, feed=values(rng, dtype, size)), T(dtype, (), data=values(rng, dtype, ()))]
                    opts = options("SparseToDenseOptions")
                    yield single(f"{dtype}_by_{kind}_{label}", BUILTIN.SPARSE_TO_DENSE, inputs, [T(dtype, shape)], opts, 3)


def embedding_lookup(rng):
    """Tables of floats, of integers that stay such, and of integers with one scale and with one a row."""
    lookup = rng.integers(0, 9, (5,))
    for shape in ((9, 4), (9, 2, 6)):
        result = (5, *shape[1:])
        label = len(shape)
        table = T("f32", shape, data=values(rng, "f32", shape).astype(np.float32))
        inputs = [T("i32", (5,), feed=lookup), table]
        yield single(f"f32_{label}", BUILTIN.EMBEDDING_LOOKUP, inputs, [T("f32", result)], None, 1)
        table = T("i8", shape, 0.25, 3, data=values(rng, "i8", shape))
        inputs = [T("i32", (5,), feed=lookup), table]
        yield single(f"i8_i8_{label}", BUILTIN.EMBEDDING_LOOKUP, inputs, [T("i8", result, 0.25, 3)], None, 3)
        for dtype in ("i8", "u8", "i4"):
            numbers = rng.integers(-8, 8, shape) if dtype == "i4" else values(rng, dtype, shape)
            table = T(dtype, shape, 0.0371, 0, data=numbers)
            inputs = [T("i32", (5,), feed=lookup), table]
            yield single(f"{dtype}_f32_{label}", BUILTIN.EMBEDDING_LOOKUP, inputs, [T("f32", result)], None, 4)
            scales = np.exp(rng.uniform(-5, -2, 9)).astype(np.float32)
            table = T(dtype, shape, scales, 0, 0, data=numbers)
            inputs = [T("i32", (5,), feed=lookup), table]
            yield single(f"{dtype}_rows_f32_{label}", BUILTIN.EMBEDDING_LOOKUP, inputs, [T("f32", result)], None, 4)


def one_hot(rng):
    """Axes, and indices outside the depth."""
    for label, axis, shape, depth, result in [
        ("last", -1, (2, 3), 4, (2, 3, 4)),
        ("first", 0, (5,), 3, (3, 5)),
        ("middle", 1, (2, 3), 4, (2, 4, 3)),
        ("scalar", -1, (), 4, (4,)),
    ]:
        opts = options("OneHotOptions", axis=axis)
        for dtype in TYPES_ALL:
            for kind in ("i32", "i64"):
                if kind == "i32" or dtype == "i8":
                    indices = T(kind, shape, feed=rng.integers(-1, depth + 1, shape))
                    on, off = (feed(rng, dtype, ()) for _ in range(2))
                    inputs = [indices, ints(depth, shape=()), on, off]
                    yield single(f"{dtype}_by_{kind}_{label}", BUILTIN.ONE_HOT, inputs, [out(dtype, result)], opts)


def where(rng):
    """Conditions of each type; which elements are not zero decides the shape."""
    for dtype in ("bool", "f32", "i8", "u8", "i32", "i64", "u32"):
        for shape in ((7,), (3, 4), (2, 3, 4)):
            chosen = values(rng, dtype, shape) * rng.integers(0, 2, shape)
            if dtype == "f32":
                chosen = np.where(chosen < -0.5, -0.0, chosen)
            condition = T(dtype, shape, feed=chosen)
            label = f"{dtype}_{len(shape)}"
            yield single(label, BUILTIN.WHERE, [condition], [T("i64", (1, len(shape)))], None, 2)


def dynamic_update_slice(rng):
    """Starts inside, before and behind."""
    opts = options("DynamicUpdateSliceOptions")
    for label, shape, update, starts in [
        ("inside", (4, 5), (2, 3), (1, 2)),
        ("before", (4, 5), (2, 3), (-3, 1)),
        ("behind", (4, 5, 3), (2, 2, 2), (9, 4, 1)),
        ("rows", (1, 6, 2, 4), (1, 1, 2, 4), (0, 3, 0)),
        ("whole", (3, 4), (3, 4), (1, 1)),
    ]:
        starts = (*starts, *[0] * (len(shape) - len(starts)))
        for dtype in TYPES_ALL:
            for kind in ("i32", "i64"):
                if kind == "i32" or dtype == "i8":
                    inputs = [feed(rng, dtype, shape), feed(rng, dtype, update)]
                    inputs.append(T(kind, (len(shape),), feed=np.asarray(starts)))
                    label_ = f"{dtype}_by_{kind}_{label}"
                    yield single(label_, BUILTIN.DYNAMIC_UPDATE_SLICE, inputs, [out(dtype, shape)], opts, 2)


OPS = {
    "gather": gather,
    "gather_nd": gather_nd,
    "scatter_nd": scatter_nd,
    "sparse_to_dense": sparse_to_dense,
    "embedding_lookup": embedding_lookup,
    "one_hot": one_hot,
    "where": where,
    "dynamic_update_slice": dynamic_update_slice,
}

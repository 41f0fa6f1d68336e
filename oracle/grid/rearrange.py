"""Ops whose outputs are elements of one input in another order."""

import numpy as np

from grid.model import OPS as BUILTIN, TYPES, options
from grid.record import T, single

TYPES_ALL = ("f32", "i8", "u8", "i16", "i32", "i64", "bool")
QUANTIZED = ("i8", "u8", "i16")


def values(rng, dtype, shape):
    """Elements of any type, each value of a small one likely."""
    if dtype in ("f32", "f16"):
        return rng.standard_normal(shape)
    if dtype == "bool":
        return rng.integers(0, 1, shape, endpoint=True)
    info = np.iinfo(TYPES[dtype][0])
    return rng.integers(info.min, info.max, shape, TYPES[dtype][0], endpoint=True)


def quantization(dtype):
    """Scale and zero point for a type that has them."""
    return {"scale": 0.25, "zero_point": 0 if dtype == "i16" else 3} if dtype in QUANTIZED else {}


def feed(rng, dtype, shape):
    """A tensor to be fed."""
    return T(dtype, shape, feed=values(rng, dtype, shape), **quantization(dtype))


def out(dtype, shape):
    """An output."""
    return T(dtype, shape, **quantization(dtype))


def ints(*data, dtype="i32", shape=None):
    """Constant integers: a vector, unless `shape` says otherwise."""
    return T(dtype, (len(data),) if shape is None else shape, data=np.asarray(data))


def one_value(builtin, forms, version=1, types=TYPES_ALL):
    """Cases of an op, one for each type and form: (label, options, value's shape, other inputs, shapes of the outputs)."""

    def cases(rng):
        for label, opts, shape, others, outputs in forms:
            for dtype in types:
                inputs = [feed(rng, dtype, shape), *others]
                if builtin == BUILTIN.SPLIT:
                    inputs.reverse()
                number = version(dtype) if callable(version) else version
                yield single(f"{dtype}_{label}", builtin, inputs, [out(dtype, s) for s in outputs], opts, number)

    return cases


def transpose_forms():
    """Permutations of several ranks."""
    for shape, order in [
        ((5, 7), (1, 0)), ((19, 17), (1, 0)), ((3, 4, 5), (0, 2, 1)), ((3, 4, 5), (2, 1, 0)), ((3, 4, 5), (1, 2, 0)),
        ((2, 3, 4, 5), (0, 3, 1, 2)), ((2, 3, 4, 5), (0, 2, 3, 1)), ((2, 3, 4, 5), (2, 0, 1, 3)), ((1, 6, 1, 5), (3, 2, 1, 0)),
        ((2, 3, 2, 3, 2), (4, 2, 0, 1, 3)), ((2, 1, 3, 2, 2, 3), (5, 0, 4, 1, 2, 3)), ((6,), (0,)), ((2, 3, 4), (-1, 0, -2)),
    ]:  # fmt: skip
        result = tuple(shape[axis] for axis in order)
        yield "_".join(map(str, shape)) + "_by_" + "_".join(map(str, order)), None, shape, [ints(*order)], [result]


def split_options(parts):
    """Options of SPLIT."""
    return options("SplitOptions", numSplits=parts)


def nearest_forms():
    """Sizes up and down, with each way to place pixels."""
    for size in [(3, 7), (11, 7), (49, 5), (1, 1), (5, 6), (10, 12)]:
        for align, half in [(False, False), (True, False), (False, True)]:
            opts = options("ResizeNearestNeighborOptions", alignCorners=align, halfPixelCenters=half)
            label = f"{size[0]}x{size[1]}{'_align' * align}{'_half' * half}"
            yield label, opts, (1, 5, 6, 2), [ints(*size)], [(1, *size, 2)]


def mirror_forms():
    """Both modes."""
    for mode, name in enumerate(("reflect", "symmetric")):
        opts = options("MirrorPadOptions", mode=mode)
        yield name, opts, (2, 3, 4), [ints(0, 0, 2, 1, 1, 2, shape=(3, 2))], [(2, 6, 7)]
        yield name + "_image", opts, (1, 4, 3, 2), [ints(0, 0, 1, 1, 2, 2, 0, 0, shape=(4, 2))], [(1, 6, 7, 2)]
        wide = ints(1, 1, 0, 2, dtype="i64", shape=(2, 2))
        yield name + "_int64", opts, (4, 5), [wide], [(6, 7)]


def strided_forms():
    """Masks, negative strides, an ellipsis and new axes."""

    def masks(begin=0, end=0, ellipsis=0, new=0, shrink=0, offset=False):
        return options(
            "StridedSliceOptions", beginMask=begin, endMask=end, ellipsisMask=ellipsis, newAxisMask=new,
            shrinkAxisMask=shrink, offset=offset,
        )  # fmt: skip

    for label, opts, shape, begin, end, strides, result in [
        ("plain", masks(), (4, 6, 3), (1, 0, 0), (3, 6, 2), (1, 2, 1), (2, 3, 2)),
        ("backwards", masks(1, 1), (5, 4), (0, 3), (0, 0), (-1, -2), (5, 2)),
        ("masked", masks(3, 6), (4, 5, 3), (9, 9, -2), (2, 0, 0), (1, 1, 1), (2, 5, 2)),
        ("shrunk", masks(shrink=5), (3, 4, 5), (2, 1, -1), (0, 3, 0), (1, 1, 1), (2,)),
        ("shrunk_masked", masks(begin=1, shrink=1), (3, 4), (2, 1), (0, 3), (1, 1), (2,)),
        ("fewer", masks(), (3, 4, 5), (1,), (3,), (1,), (2, 4, 5)),
        ("ellipsis", masks(ellipsis=1, shrink=2), (2, 3, 4), (0, 1), (0, 2), (1, 1), (2, 3)),
        ("ellipsis_between", masks(ellipsis=2), (3, 2, 2, 4), (1, 0, 0), (3, 0, 4), (1, 1, 3), (2, 2, 2, 2)),
        ("new_axes", masks(begin=5, end=5, new=2), (3, 4), (0, 0, 0), (0, 0, 0), (1, 1, 1), (3, 1, 4)),
        ("ellipsis_new_axis", masks(ellipsis=1, new=2), (3, 4), (0, 0), (0, 0), (1, 1), (3, 4, 1)),
        ("rank5", masks(), (2, 3, 2, 3, 2), (0, 1, 0, 2, 0), (2, 3, 1, 0, 2), (1, 1, 1, -1, 1), (2, 2, 1, 2, 2)),
        ("all", masks(7, 7), (2, 3, 4), (0, 0, 0), (0, 0, 0), (1, 1, 1), (2, 3, 4)),
    ]:
        yield label, opts, shape, [ints(*begin), ints(*end), ints(*strides)], [result]
    offset = masks(offset=True)
    yield "offset", offset, (6, 4), [ints(1, 0), ints(3, 2), ints(1, 1)], [(3, 2)]


def squeeze_options(*axes):
    """Options of SQUEEZE."""
    return options("SqueezeOptions", squeezeDims=list(axes))


OPS = {
    "squeeze": one_value(
        BUILTIN.SQUEEZE,
        [
            ("all", squeeze_options(), (1, 3, 1, 4, 1), [], [(3, 4)]),
            ("some", squeeze_options(0, -2), (1, 2, 1, 3), [], [(2, 3)]),
            ("one", squeeze_options(1), (1, 1, 5), [], [(1, 5)]),
            ("scalar", squeeze_options(), (1, 1), [], [()]),
        ],
    ),
    "expand_dims": one_value(
        BUILTIN.EXPAND_DIMS,
        [
            ("first", options("ExpandDimsOptions"), (2, 3), [ints(0, shape=())], [(1, 2, 3)]),
            ("middle", options("ExpandDimsOptions"), (2, 3), [ints(1)], [(2, 1, 3)]),
            ("last", options("ExpandDimsOptions"), (2, 3), [ints(-1, dtype="i64", shape=())], [(2, 3, 1)]),
            ("scalar", options("ExpandDimsOptions"), (), [ints(0)], [(1,)]),
        ],
    ),
    "transpose": one_value(BUILTIN.TRANSPOSE, list(transpose_forms()), 6, ("f32", "i8", "i16", "i64")),
    "slice": one_value(
        BUILTIN.SLICE,
        [
            ("rank3", None, (3, 4, 6), [ints(0, 1, 2), ints(-1, 2, 3)], [(3, 2, 3)]),
            ("rank4", None, (2, 5, 4, 3), [ints(1, 0, 1, 0), ints(1, 3, -1, 3)], [(1, 3, 3, 3)]),
            ("rank5", None, (2, 3, 2, 4, 3), [ints(0, 1, 0, 2, 1), ints(2, 2, 1, 2, -1)], [(2, 2, 1, 2, 2)]),
            ("rank1", None, (9,), [ints(4), ints(3)], [(3,)]),
            ("int64", None, (4, 5), [ints(1, 2, dtype="i64"), ints(2, -1, dtype="i64")], [(2, 3)]),
        ],
        5,
    ),
    "split": one_value(
        BUILTIN.SPLIT,
        [
            ("last", split_options(3), (2, 4, 9), [ints(-1, shape=())], [(2, 4, 3)] * 3),
            ("middle", split_options(2), (3, 4, 5), [ints(1, shape=())], [(3, 2, 5)] * 2),
            ("first", split_options(4), (4, 5), [ints(0, shape=())], [(1, 5)] * 4),
            ("rank4", split_options(2), (1, 3, 4, 6), [ints(3, shape=())], [(1, 3, 4, 3)] * 2),
        ],
        lambda dtype: {"i8": 2, "i16": 4}.get(dtype, 3),
    ),
    "split_v": one_value(
        BUILTIN.SPLIT_V,
        [
            ("open", options("SplitVOptions", numSplits=3), (2, 7, 3), [ints(1, -1, 2), ints(1, shape=())],
             [(2, 1, 3), (2, 4, 3), (2, 2, 3)]),
            ("last", options("SplitVOptions", numSplits=2), (3, 7), [ints(5, 2, dtype="i64"), ints(-1, shape=())],
             [(3, 5), (3, 2)]),
        ],
        2,
    ),
    "unpack": one_value(
        BUILTIN.UNPACK,
        [
            ("middle", options("UnpackOptions", num=3, axis=1), (2, 3, 5), [], [(2, 5)] * 3),
            ("last", options("UnpackOptions", num=2, axis=-1), (3, 4, 2), [], [(3, 4)] * 2),
            ("vector", options("UnpackOptions", num=4, axis=0), (4,), [], [()] * 4),
        ],
        4,
    ),
    "space_to_depth": one_value(
        BUILTIN.SPACE_TO_DEPTH,
        [
            ("two", options("SpaceToDepthOptions", blockSize=2), (2, 4, 6, 3), [], [(2, 2, 3, 12)]),
            ("three", options("SpaceToDepthOptions", blockSize=3), (1, 6, 3, 1), [], [(1, 2, 1, 9)]),
        ],
        lambda dtype: 2 if dtype == "i8" else 1,
    ),
    "depth_to_space": one_value(
        BUILTIN.DEPTH_TO_SPACE,
        [
            ("two", options("DepthToSpaceOptions", blockSize=2), (2, 2, 3, 12), [], [(2, 4, 6, 3)]),
            ("three", options("DepthToSpaceOptions", blockSize=3), (1, 2, 1, 9), [], [(1, 6, 3, 1)]),
        ],
    ),
    "tile": one_value(
        BUILTIN.TILE,
        [
            ("rank3", None, (2, 3, 4), [ints(2, 1, 3)], [(4, 3, 12)]),
            ("rank4", None, (1, 2, 1, 3), [ints(2, 2, 4, 1, dtype="i64")], [(2, 4, 4, 3)]),
            ("rank1", None, (3,), [ints(5)], [(15,)]),
        ],
        2,
    ),
    "broadcast_to": one_value(
        BUILTIN.BROADCAST_TO,
        [
            ("rank4", None, (3, 1, 5), [ints(2, 3, 4, 5)], [(2, 3, 4, 5)]),
            ("scalar", None, (), [ints(3, 2, dtype="i64")], [(3, 2)]),
            ("rank5", None, (2, 1, 1, 3), [ints(2, 2, 3, 1, 3)], [(2, 2, 3, 1, 3)]),
            ("same", None, (4, 3), [ints(4, 3)], [(4, 3)]),
        ],
        lambda dtype: 3 if dtype in ("i8", "i16") else 2,
    ),
    "reverse_v2": one_value(
        BUILTIN.REVERSE_V2,
        [
            ("middle", None, (2, 5, 3), [ints(1)], [(2, 5, 3)]),
            ("last", None, (3, 4), [ints(-1)], [(3, 4)]),
            ("two", None, (2, 3, 4, 2), [ints(1, 2)], [(2, 3, 4, 2)]),
            ("all", None, (2, 3, 4), [ints(0, 1, 2)], [(2, 3, 4)]),
        ],
        3,
    ),
    "strided_slice": one_value(BUILTIN.STRIDED_SLICE, list(strided_forms()), 4),
    "mirror_pad": one_value(BUILTIN.MIRROR_PAD, list(mirror_forms()), 2),
    "resize_nearest_neighbor": one_value(
        BUILTIN.RESIZE_NEAREST_NEIGHBOR, list(nearest_forms()), 4, ("f32", "i8", "u8", "i16", "i32")
    ),
}  # fmt: skip

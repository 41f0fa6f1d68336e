"""DEQUANTIZE, with one scale and with one for each index along an axis."""

import numpy as np

from grid.model import OPS as BUILTIN, options
from grid.record import T, single

RANGES = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767)}


def cases(rng):
    """Cases of DEQUANTIZE."""
    for dtype, (low, high) in RANGES.items():
        for shape in ((3, 5, 7), (33,), ()):
            point = 0 if dtype == "i16" else int(rng.integers(low, high))
            x = T(dtype, shape, np.float32(0.0173), point, feed=rng.integers(low, high, shape, endpoint=True))
            name = f"{dtype}_{'x'.join(map(str, shape)) or 'scalar'}"
            yield single(name, BUILTIN.DEQUANTIZE, [x], [T("f32", shape)], options("DequantizeOptions"), 2)
    for dtype in ("i8", "u8"):
        low, high = RANGES[dtype]
        for axis, shape in ((0, (6, 3, 2)), (1, (2, 5, 3)), (3, (1, 3, 3, 8)), (0, (9,))):
            scales = rng.uniform(0.001, 0.1, shape[axis]).astype(np.float32)
            points = rng.integers(low, high, shape[axis])
            x = T(dtype, shape, scales, points, axis, feed=rng.integers(low, high, shape, endpoint=True))
            name = f"{dtype}_axis_{axis}_{'x'.join(map(str, shape))}"
            yield single(name, BUILTIN.DEQUANTIZE, [x], [T("f32", shape)], options("DequantizeOptions"), 5)


OPS = {"dequantize": cases}

"""Complex numbers: the Fourier transform that makes them, and what takes them apart."""

import numpy as np

from grid.convolution import floats
from grid.model import OPS as BUILTIN, options
from grid.record import T, single


def rfft2d(rng):
    """Cases of RFFT2D."""
    cases = [
        ("line", (1, 64), (1, 64)),
        ("lines", (2, 5, 1, 256), (1, 256)),
        ("long", (1, 2048), (1, 2048)),
        ("cut", (3, 1, 40), (1, 32)),
        ("filled", (9, 1, 20), (1, 64)),
        ("image", (8, 16), (8, 16)),
        ("images", (3, 16, 8), (16, 8)),
        ("cut_image", (2, 9, 21), (8, 16)),
        ("filled_image", (2, 5, 9), (16, 32)),
        ("rows_cut_columns_filled", (7, 3), (4, 8)),
        ("wide", (4, 64), (4, 64)),
        ("two", (3, 1, 2), (1, 2)),
        ("pairs", (2, 2), (2, 2)),
    ]
    for label, shape, lengths in cases:
        x, y = T("f32", shape, feed=floats(rng, shape, 4)), T("c64", (*shape[:-2], lengths[0], lengths[1] // 2 + 1))
        yield single(label, BUILTIN.RFFT2D, [x, T("i32", (2,), data=lengths)], [y], options("Rfft2dOptions"))


def part(builtin):
    """Cases of REAL, IMAG or COMPLEX_ABS."""

    def cases(rng):
        for label, shape in [("vector", (67,)), ("image", (1, 5, 7, 3)), ("one", (1,))]:
            x = T("c64", shape, feed=floats(rng, shape, 4) + 1j * floats(rng, shape, 4))
            yield single(label, builtin, [x], [T("f32", shape)])
        ends = np.array([0, 3e38, -3e38j, 1e-38 + 1e-38j, 1e-45, 2e38 + 2e38j, -5 + 12j, 1e-30 + 1j], np.complex64)
        yield single("ends", builtin, [T("c64", ends.shape, feed=ends)], [T("f32", ends.shape)])

    return cases


def cast(rng):
    """Cases of CAST from and to complex numbers, as spectrograms have them."""
    shape = (3, 17)
    x = T("c64", shape, feed=floats(rng, shape, 40) + 1j * floats(rng, shape, 40))
    for dtype in ("f32", "i32", "i64", "c64"):
        yield single(f"c64_{dtype}", BUILTIN.CAST, [x], [T(dtype, shape)], options("CastOptions"))
    for dtype in ("f32", "i32", "i64", "bool"):
        feed = floats(rng, shape, 40) if dtype == "f32" else rng.integers(0, 2, shape)
        yield single(f"{dtype}_c64", BUILTIN.CAST, [T(dtype, shape, feed=feed)], [T("c64", shape)], options("CastOptions"))


def moved(rng):
    """RESHAPE, SQUEEZE, EXPAND_DIMS, TRANSPOSE, SLICE and CONCATENATION of complex numbers."""
    shape = (2, 1, 5)
    x = T("c64", shape, feed=floats(rng, shape, 4) + 1j * floats(rng, shape, 4))
    yield single("reshape", BUILTIN.RESHAPE, [x, T("i32", (2,), data=(5, 2))], [T("c64", (5, 2))])
    yield single("squeeze", BUILTIN.SQUEEZE, [x], [T("c64", (2, 5))], options("SqueezeOptions", squeezeDims=[1]))
    yield single("expand_dims", BUILTIN.EXPAND_DIMS, [x, T("i32", (), data=0)], [T("c64", (1, *shape))])


OPS = {
    "rfft2d": rfft2d,
    "real": part(BUILTIN.REAL),
    "imag": part(BUILTIN.IMAG),
    "complex_abs": part(BUILTIN.COMPLEX_ABS),
    "cast_complex": cast,
    "movement_complex": moved,
}

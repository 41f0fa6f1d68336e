"""RESIZE_BILINEAR."""

from grid.model import OPS as BUILTIN, options
from grid.rearrange import feed, out
from grid.rearrange import ints
from grid.record import T, single


def resize_bilinear(rng):
    """Sizes up and down, with each way to place pixels."""
    for label, shape, size in [
        ("up", (1, 3, 4, 2), (7, 5)),
        ("double", (1, 3, 2, 3), (6, 4)),
        ("down", (2, 7, 9, 1), (3, 4)),
        ("same", (1, 4, 3, 2), (4, 3)),
        ("one", (1, 5, 6, 2), (1, 1)),
        ("from_one", (1, 1, 1, 3), (3, 4)),
        ("wide", (1, 2, 3, 17), (3, 2)),
        ("eight", (1, 1, 1, 8), (8, 8)),
    ]:
        for align, half in [(False, False), (True, False), (False, True)]:
            opts = options("ResizeBilinearOptions", alignCorners=align, halfPixelCenters=half)
            result = (shape[0], *size, shape[3])
            for dtype in ("f32", "i8", "u8", "i16"):
                inputs = [feed(rng, dtype, shape), ints(*size)]
                label_ = f"{dtype}_{label}{'_align' * align}{'_half' * half}"
                yield single(label_, BUILTIN.RESIZE_BILINEAR, inputs, [out(dtype, result)], opts, 4, dtype == "f32")
                if label == "up":
                    # A size that is computed does not go to XNNPACK.
                    inputs[1] = T("i32", (2,), feed=size)
                    yield single(f"{label_}_fed", BUILTIN.RESIZE_BILINEAR, inputs, [out(dtype, result)], opts, 4, dtype == "f32")
    # Ties between two integers are rare: many pixels of a size that is computed.
    for align, half in [(False, False), (True, False), (False, True)]:
        opts = options("ResizeBilinearOptions", alignCorners=align, halfPixelCenters=half)
        for dtype in ("u8", "i8"):
            inputs = [feed(rng, dtype, (1, 9, 10, 3)), T("i32", (2,), feed=(14, 23))]
            name = f"{dtype}_many_fed{'_align' * align}{'_half' * half}"
            yield single(name, BUILTIN.RESIZE_BILINEAR, inputs, [out(dtype, (1, 14, 23, 3))], opts, 4)
    # Far up, where an error of a place is many steps of the result; floats of all bits.
    for align, half in [(False, False), (True, False), (False, True)]:
        opts = options("ResizeBilinearOptions", alignCorners=align, halfPixelCenters=half)
        for label, shape, size in [("far", (1, 2, 3, 1), (23, 31)), ("far_channels", (1, 2, 2, 8), (9, 21))]:
            result = (1, *size, shape[3])
            for dtype in ("f32", "i8", "u8"):
                for fed in (False, True):
                    if fed and (dtype != "f32" or label != "far"):
                        continue
                    inputs = [feed(rng, dtype, shape), T("i32", (2,), feed=size) if fed else ints(*size)]
                    name = f"{dtype}_{label}{'_fed' * fed}{'_align' * align}{'_half' * half}"
                    yield single(name, BUILTIN.RESIZE_BILINEAR, inputs, [out(dtype, result)], opts, 4, dtype == "f32")


OPS = {"resize_bilinear": resize_bilinear}

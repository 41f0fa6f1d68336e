"""Element-wise ops of two inputs, with broadcasting."""

import numpy as np

from grid.model import ACTIVATIONS, OPS as BUILTIN, options
from grid.record import T, single

SHAPES = [
    ("same", (2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5)),
    ("scalar", (3, 7), (), (3, 7)),
    ("channels", (2, 3, 4, 5), (5,), (2, 3, 4, 5)),
    ("rows", (1, 6, 1, 5), (2, 1, 4, 1), (2, 6, 4, 5)),
    ("first_smaller", (4, 1), (3, 4, 9), (3, 4, 9)),
    ("rank5", (2, 1, 3, 2, 4), (2, 5, 1, 2, 1), (2, 5, 3, 2, 4)),
]
QUANTIZED = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767)}


def quantized(rng, dtype, shape, **how):
    """A quantized tensor with every value of its type likely."""
    low, high = QUANTIZED[dtype]
    symmetric = dtype == "i16"
    scale = np.float32(np.exp(rng.uniform(-9, -7) if symmetric else rng.uniform(-5, -2)))
    point = 0 if symmetric else int(rng.integers(low // 2, high // 2))
    values = rng.integers(low, high, shape, endpoint=True)
    return T(dtype, shape, scale, point, **{how.get("key", "feed"): values})


def arithmetic(builtin, kind, **fields):
    """Cases of ADD, SUB and MUL."""

    def cases(rng):
        for label, a, b, out in SHAPES:
            for activation in ("none", "relu6"):
                opts = options(kind, fusedActivationFunction=ACTIVATIONS[activation], **fields)
                x, y = (T("f32", s, feed=rng.standard_normal(s) * 4) for s in (a, b))
                yield single(f"f32_{label}_{activation}", builtin, [x, y], [T("f32", out)], opts)
            for dtype in QUANTIZED:
                for activation in ("none", "relu"):
                    x, y = quantized(rng, dtype, a), quantized(rng, dtype, b)
                    scale = x.scale * y.scale * 60 if builtin == BUILTIN.MUL else max(x.scale, y.scale) * 1.3
                    if dtype == "i16" and builtin == BUILTIN.MUL:
                        scale = x.scale * y.scale * 15000
                    z = T(dtype, out, np.float32(scale), 0 if dtype == "i16" else int(rng.integers(0, 20)))
                    opts = options(kind, fusedActivationFunction=ACTIVATIONS[activation], **fields)
                    yield single(f"{dtype}_{label}_{activation}", builtin, [x, y], [z], opts, 2)

    return cases


OPS = {
    "add": arithmetic(BUILTIN.ADD, "AddOptions", potScaleInt16=False),
    "sub": arithmetic(BUILTIN.SUB, "SubOptions", potScaleInt16=False),
    "mul": arithmetic(BUILTIN.MUL, "MulOptions"),
}

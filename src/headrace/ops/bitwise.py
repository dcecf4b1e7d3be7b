"""Arithmetic on the bits of integers (tf.bitwise)."""

from __future__ import annotations

from typing import Any

from headrace import dtypes
from headrace.opdef import NOT_DIFFERENTIABLE
from headrace.ops.elementwise import binary, function, unary


def _shift(direction: str) -> Any:
    def kernel(xp: Any, x: Any, y: Any) -> Any:
        # by as many places as the type has, at most one less: more is undefined for a processor
        return getattr(xp, direction)(x, xp.clip(y, 0, 8 * x.dtype.itemsize - 1))

    return kernel


_stop: Any = NOT_DIFFERENTIABLE
_and = binary("BitwiseAnd", "bitwise_and", _stop, dtypes.INTS)
_or = binary("BitwiseOr", "bitwise_or", _stop, dtypes.INTS)
_xor = binary("BitwiseXor", "bitwise_xor", _stop, dtypes.INTS)
_left = binary("LeftShift", _shift("left_shift"), _stop, dtypes.INTS)
_right = binary("RightShift", _shift("right_shift"), _stop, dtypes.INTS)
_invert = unary("Invert", "invert", _stop, dtypes.INTS)

bitwise_and = function(_and, "bitwise_and", "The bits set in both x and y.")
bitwise_or = function(_or, "bitwise_or", "The bits set in x or y.")
bitwise_xor = function(_xor, "bitwise_xor", "The bits set in one of x and y.")
left_shift = function(_left, "left_shift", "x · 2^y, as a shift of bits.")
right_shift = function(_right, "right_shift", "⌊x / 2^y⌋, as a shift of bits that keeps the sign.")
invert = function(_invert, "invert", "Every bit of x the other way round.")

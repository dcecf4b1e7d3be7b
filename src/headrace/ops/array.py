"""Shapes, joining, cutting and filling: the functions that other families build on, in one place.

They are defined in `counting.py`, `shaping.py`, `joining.py` and `filling.py`, in this order. What
moves elements around is in `rearrange.py`, what picks them out in `slicing.py` and `gather.py`.
"""

from __future__ import annotations

from headrace.ops.counting import range as range
from headrace.ops.filling import fill as fill
from headrace.ops.filling import ones as ones
from headrace.ops.filling import ones_like as ones_like
from headrace.ops.filling import zeros as zeros
from headrace.ops.filling import zeros_like as zeros_like
from headrace.ops.joining import concat as concat
from headrace.ops.joining import pad_op as pad_op
from headrace.ops.joining import parallel_stack as parallel_stack
from headrace.ops.joining import slice_op as slice_op
from headrace.ops.joining import split as split
from headrace.ops.joining import stack as stack
from headrace.ops.joining import unstack as unstack
from headrace.ops.shaping import broadcast_dynamic_shape as broadcast_dynamic_shape
from headrace.ops.shaping import broadcast_gradient_args as broadcast_gradient_args
from headrace.ops.shaping import broadcast_static_shape as broadcast_static_shape
from headrace.ops.shaping import broadcast_to as broadcast_to
from headrace.ops.shaping import ensure_shape as ensure_shape
from headrace.ops.shaping import expand_dims as expand_dims
from headrace.ops.shaping import guarantee_const as guarantee_const
from headrace.ops.shaping import identity as identity
from headrace.ops.shaping import identity_n as identity_n
from headrace.ops.shaping import invert_permutation as invert_permutation
from headrace.ops.shaping import prevent_gradient as prevent_gradient
from headrace.ops.shaping import rank as rank
from headrace.ops.shaping import reshape as reshape
from headrace.ops.shaping import shape as shape
from headrace.ops.shaping import shape_n as shape_n
from headrace.ops.shaping import size as size
from headrace.ops.shaping import squeeze as squeeze
from headrace.ops.shaping import stop_gradient as stop_gradient
from headrace.ops.shaping import transpose as transpose

"""What a row of the table of op cases says; `test_every_op.py` tries every property on each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One use of an op.

    `args`: an array per argument of the op's signature, a list of arrays for a list argument.
    `oracle`: (*args) -> the result, or a tuple of them, found without the op's kernel; required
    wherever a kernel is more than one `xp` call.
    `gradient`: positions (among the flat inputs) whose gradients are checked; None for every
    floating one; () for none, with `why` in words.
    """

    args: tuple[Any, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    oracle: Callable[..., Any] | None = None
    gradient: tuple[int, ...] | None = None
    why: str = ""

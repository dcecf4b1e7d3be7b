"""Ops for tests of the runtime alone; they are kept out of the registry."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.opdef import NOT_DIFFERENTIABLE, REGISTRY, OpDef, op, same_shape


def toy(name: str, signature: str, **options: Any) -> Any:
    """`opdef.op`, without entering the registry."""
    define = op(name, signature, **options)

    def make(kernel: Any) -> OpDef:
        made = define(kernel)
        del REGISTRY[name]
        made.infer = same_shape
        made.gradient = NOT_DIFFERENTIABLE
        return made

    return make


@toy("ToyHostIdentity", "x: T -> y: T", host=True, pure=False)
def on_host(xp: Any, x: Any) -> Any:
    """x, by way of the host."""
    assert isinstance(x, (np.ndarray, np.generic))
    return x


@toy("ToyHostOutput", "x: T -> y: T", host=True, pure=False)
def views_on_host(xp: Any, x: Any) -> Any:
    """x seen from behind: a view of the operand's own memory."""
    return x[::-1]

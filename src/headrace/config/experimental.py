"""`tf.config.experimental`: TensorFlow's switch for products in TensorFloat-32."""

from __future__ import annotations

from typing import Any

from headrace.missing import explain as _explain

_enabled = True  # what XLA and TensorFlow (from 2.4 on) do by themselves


def enable_tensor_float_32_execution(enabled: Any) -> None:
    """Let NVIDIA GPUs from Ampere on multiply float32 matrices in TensorFloat-32, or forbid it.

    TensorFloat-32 keeps float32's range and rounds factors to 10 bits after the point; sums are
    float32's. It counts for all runs that begin after the call, compiled before or not; what it is
    set to at first is True. On a CPU it makes no difference.

    TypeError for what is neither a bool, a number nor None.
    """
    global _enabled
    try:
        if isinstance(enabled, (str, bytes)) or not hasattr(enabled, "__bool__"):
            raise TypeError
        _enabled = bool(enabled)
    except (TypeError, ValueError):  # also arrays, and tensors, whose value is not known yet
        raise TypeError(
            f"enable_tensor_float_32_execution takes a bool, and got {enabled!r} of type "
            f"{type(enabled).__name__}."
        ) from None


def tensor_float_32_execution_enabled() -> bool:
    """Whether float32 matrices may be multiplied in TensorFloat-32."""
    return _enabled


def __getattr__(name: str) -> Any:
    raise AttributeError(_explain("tf.config.experimental", name))

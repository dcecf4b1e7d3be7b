"""`tf.summary`: what a training run shows in TensorBoard."""

from typing import Any as _Any

from headrace import protos as _protos
from headrace.ops.summaries import (
    audio,
    get_summary_description,
    histogram,
    image,
    merge,
    merge_all,
    scalar,
    tensor_summary,
    text,
)
from headrace.summary.writer import FileWriter, FileWriterCache

_PROTOS = ("Event", "SessionLog", "Summary", "SummaryDescription", "TaggedRunMetadata")


def __getattr__(name: str) -> _Any:
    """Protocol buffers, loaded when asked for."""
    if name == "TaggedRunMetadata":
        return type(_protos.Event().tagged_run_metadata)
    if name in _PROTOS:
        return getattr(_protos, name)
    raise AttributeError(f"headrace has no tf.summary.{name}.")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PROTOS])

"""Summaries: ops whose value is a serialized `Summary` proto, for TensorBoard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from headrace import dtypes, protos
from headrace.conversion import convert_to_tensor
from headrace.dtypes import REALS
from headrace.errors import InvalidArgumentError
from headrace.graph import add_to_collection, get_collection, name_scope
from headrace.graph_def import tensor_proto
from headrace.keys import GraphKeys
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, REGISTRY, op, scalar_shape
from headrace.ops.media import encode_png, encode_wav

# -- for all of them -------------------------------------------------------------------------------


def _serialized(proto: Any) -> np.ndarray:
    return np.array(proto.SerializeToString(), object)


def _refuse(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(None, None, message)


def _listed(shape: Sequence[int], apart: str = ",") -> str:
    return f"[{apart.join(map(str, shape))}]"


# -- scalars ---------------------------------------------------------------------------------------


@op("ScalarSummary", "tags: string, values: T -> summary: string", T=REALS, host=True)
def _scalar_summary(xp: Any, tags: Any, values: Any) -> np.ndarray:
    if tags.shape != np.shape(values):
        tag = f" (tag '{tags.item().decode()}')" if tags.size == 1 else ""
        raise _refuse(
            "tags and values are not the same shape: "
            f"{_listed(tags.shape)} != {_listed(np.shape(values))}{tag}"
        )
    summary = protos.Summary()
    with np.errstate(over="ignore"):
        numbers = np.asarray(values).astype(np.float32)
    for tag, number in zip(tags.ravel().tolist(), numbers.ravel().tolist(), strict=True):
        summary.value.add(tag=tag, simple_value=number)
    return _serialized(summary)


# -- histograms ------------------------------------------------------------------------------------

_LARGEST = np.finfo(np.float64).max


def _limits() -> np.ndarray:
    """The upper limits of the buckets: ±1e-12 · 1.1^k as far as 1e20, zero, and the largest."""
    limits, limit = [], 1e-12
    while limit < 1e20:
        limits.append(limit)
        limit *= 1.1  # the roundings add up, as they do in TensorFlow
    positive = np.array([*limits, _LARGEST])
    return np.concatenate([-positive[::-1], [0.0], positive])


_LIMITS = _limits()


def _packed(number: int, values: np.ndarray) -> bytes:
    """A repeated field of a proto, read by it at once: it takes a list value by value."""
    data = values.astype("<f8").tobytes()
    size, length = len(data), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + data


def _fill_histogram(histogram: Any, values: np.ndarray) -> None:
    """Fill a HistogramProto: least, largest, count, sums, and the buckets.

    Of empty buckets in a row one is kept, which reaches as far as they do.
    """
    below = np.sort(values).searchsorted(_LIMITS)  # how many are less than each limit
    below[-1] = values.size
    counts = below.copy()
    counts[1:] -= below[:-1]
    histogram.min, histogram.max = _LARGEST, -_LARGEST
    if values.size:
        least, most = values.argmin(), values.argmax()  # of 0.0 and -0.0 the first
        histogram.min, histogram.max = values[least], values[most]
        with np.errstate(over="ignore"):  # summed one after the other, as in TensorFlow
            both = np.empty(values.size, np.complex128)
            both.real, both.imag = values, values * values
            total = np.add.accumulate(both)[-1]
        histogram.sum, histogram.sum_squares = 0.0 + total.real, total.imag
    histogram.num = values.size
    kept = counts > 0
    kept[:-1] |= kept[1:]
    kept[-1] = True
    where = kept.nonzero()[0]
    histogram.MergeFromString(_packed(6, _LIMITS[where]) + _packed(7, counts[where]))


@op(
    "HistogramSummary", "tag: string, values: T -> summary: string", T=REALS, host=True,
    wants_op=True, pure=False,
)  # fmt: skip
def _histogram_summary(xp: Any, tag: Any, values: Any, *, _op: Any = None) -> np.ndarray:
    numbers = np.asarray(values).astype(np.float64).ravel()
    finite = np.isfinite(numbers)
    if not finite.all():
        is_nan = np.isnan(numbers[~finite][0])
        what = "Nan in summary histogram" if is_nan else "Infinity in Histogram"
        raise _refuse(f"{what} for: {tag.item().decode() if _op is None else _op.name}")
    summary = protos.Summary()
    _fill_histogram(summary.value.add(tag=tag.item()).histo, numbers)
    return _serialized(summary)


# -- images ----------------------------------------------------------------------------------------

_RED = np.array([255, 0, 0, 255], np.uint8)
_PIXELS = (dtypes.uint8, dtypes.float32, dtypes.float16, dtypes.float64)


def _brightness(image: np.ndarray, bad_color: np.ndarray) -> np.ndarray:
    """The image as uint8: 0 to its largest value become 0 to 255.

    If it has negative values, 0 becomes 128 and what is farthest from 0 comes 127 off that. A
    pixel that is not finite gets the bad color.
    """
    finite = np.asarray(np.isfinite(image).all(axis=-1))
    seen = image[finite].astype(np.float32)
    low, high = (seen.min(), seen.max()) if seen.size else (np.float32(np.inf), -np.float32(np.inf))
    span, most, offset = (max(abs(low), abs(high)), 127, 128) if low < 0 else (high, 255, 0)
    kind = image.dtype.type
    with np.errstate(all="ignore"):
        scale = kind(0 if span < 1e-6 else np.float32(most) / span)
        scaled = image * scale + kind(offset)
    whole = np.where(np.isfinite(scaled), scaled, 0).astype(np.int64).astype(np.uint8)
    return np.where(finite[..., None], whole, bad_color[: image.shape[-1]])


def _numbered(tag: Any, kind: str, limit: int, count: int) -> list[str]:
    """A tag for each of what is shown: `tag/image`, or `tag/image/0`... if more than one may be."""
    base = f"{tag.item().decode()}/{kind}"
    return [base if limit == 1 else f"{base}/{i}" for i in range(min(limit, count))]


@op("ImageSummary", "tag: string, tensor: T -> summary: string", T=_PIXELS, host=True)
def _image_summary(
    xp: Any, tag: Any, images: Any, *, max_images: int = 3, bad_color: Any = _RED
) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] not in (1, 3, 4):
        raise _refuse(f"Tensor must be 4-D with last dim 1, 3, or 4, not {_listed(images.shape)}")
    count, height, width, channels = images.shape
    if not height * width:
        shape = _listed(images.shape, ", ")
        raise _refuse(f"input tensor must have non-zero dims. Found: {shape}.")
    summary = protos.Summary()
    for name, image in zip(_numbered(tag, "image", max_images, count), images, strict=False):
        shown = summary.value.add(tag=name).image
        shown.height, shown.width, shown.colorspace = height, width, channels
        pixels = image if image.dtype == np.uint8 else _brightness(image, bad_color)
        shown.encoded_image_string = encode_png(pixels)
    return _serialized(summary)


# -- audio -----------------------------------------------------------------------------------------


@op(
    "AudioSummaryV2", "tag: string, tensor: float32, sample_rate: float32 -> summary: string",
    host=True,
)  # fmt: skip
def _audio_summary(
    xp: Any, tag: Any, clips: Any, sample_rate: Any, *, max_outputs: int = 3
) -> np.ndarray:
    clips, rate = np.asarray(clips), float(sample_rate)
    if clips.ndim not in (2, 3):
        raise _refuse(f"Tensor must be 3-D or 2-D, got: {_listed(clips.shape)}")
    if not rate > 0:
        raise _refuse("sample_rate must be > 0")
    clips = clips[..., None] if clips.ndim == 2 else clips
    count, frames, channels = clips.shape
    summary = protos.Summary()
    for name, clip in zip(_numbered(tag, "audio", max_outputs, count), clips, strict=False):
        if not 0 < channels < 1 << 16:
            raise _refuse(f"num_channels must be in (0, 2^16), got: {channels}")
        heard = summary.value.add(tag=name).audio
        heard.sample_rate, heard.num_channels, heard.length_frames = rate, channels, frames
        heard.encoded_audio_string = encode_wav(clip, max(round(rate), 1))
        heard.content_type = "audio/wav"
    return _serialized(summary)


# -- tensors and text ------------------------------------------------------------------------------


@op(
    "TensorSummaryV2",
    "tag: string, tensor: T, serialized_summary_metadata: string -> summary: string",
    host=True,
)
def _tensor_summary(xp: Any, tag: Any, tensor: Any, metadata: Any) -> np.ndarray:
    summary = protos.Summary()
    value = summary.value.add(tag=tag.item())
    array = np.asarray(tensor)
    tensor_proto(np.atleast_1d(array), value.tensor)  # not as a scalar: the bytes are wanted
    if not array.ndim:
        value.tensor.tensor_shape.ClearField("dim")
    value.metadata.ParseFromString(metadata.item())
    return _serialized(summary)


# -- many as one -----------------------------------------------------------------------------------


@op("MergeSummary", "inputs: N*string -> summary: string", host=True)
def _merge_summary(xp: Any, inputs: Sequence[Any]) -> np.ndarray:
    from google.protobuf.message import DecodeError

    summary = protos.Summary()
    for text in (t for array in inputs for t in array.ravel().tolist()):
        try:
            summary.MergeFromString(text)
        except DecodeError:
            raise _refuse("Could not parse one of the summary inputs") from None
    seen: set[str] = set()
    for tag in (value.tag for value in summary.value):
        if tag and tag in seen:
            raise _refuse(f"Duplicate tag {tag} found in summary inputs")
        seen.add(tag)
    return _serialized(summary)


for _name in (
    "ScalarSummary", "HistogramSummary", "ImageSummary", "AudioSummaryV2", "TensorSummaryV2",
    "MergeSummary",
):  # fmt: skip
    REGISTRY[_name].infer = scalar_shape
    REGISTRY[_name].gradient = NOT_DIFFERENTIABLE

# -- the public functions --------------------------------------------------------------------------

_NOT_IN_TAGS = re.compile(r"[^-/\w\.]")


def _clean(name: str | None) -> str | None:
    """The name with `_` for what a tag cannot have, and without slashes before it."""
    return None if name is None else _NOT_IN_TAGS.sub("_", name).lstrip("/")


@contextmanager
def _summary_scope(
    name: str | None, family: str | None, value: Any, default: str | None = None
) -> Iterator[tuple[str, str | None]]:
    """Yields the tag of a summary and the name of its node, which are as unique as the scope is.

    A family comes first in the tag: TensorBoard groups by that.
    """
    name, family = _clean(name), _clean(family)
    whole = name if family is None else f"{family}/{name}"
    with name_scope(whole, default, [value]) as scope:
        tag = scope.rstrip("/")
        yield (tag if family is None else f"{family}/{tag}"), scope or None


def _collected(summary: Tensor, collections: Sequence[Any] | None) -> Tensor:
    for key in (GraphKeys.SUMMARIES,) if collections is None else collections:
        add_to_collection(key, summary)
    return summary


def _at_least_one(attr: str, type: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"Attr '{attr}' of '{type}' Op passed {value} less than minimum 1.")
    return value


def scalar(
    name: str | None, tensor: Any, collections: Sequence[Any] | None = None,
    family: str | None = None,
) -> Tensor:  # fmt: skip
    """A summary of one number, which TensorBoard draws over the steps."""
    with _summary_scope(name, family, tensor) as (tag, scope):
        return _collected(_scalar_summary(tag, tensor, name=scope), collections)


def histogram(
    name: str | None, values: Any, collections: Sequence[Any] | None = None,
    family: str | None = None,
) -> Tensor:  # fmt: skip
    """A summary of how values of any shape are distributed.

    Running it is an InvalidArgumentError if a value is not finite.
    """
    with _summary_scope(name, family, values, "HistogramSummary") as (tag, scope):
        return _collected(_histogram_summary(tag, values, name=scope), collections)


def image(
    name: str | None, tensor: Any, max_outputs: int = 3, collections: Sequence[Any] | None = None,
    family: str | None = None,
) -> Tensor:  # fmt: skip
    """A summary of the first `max_outputs` images of a batch [n, h, w, c], c = 1, 3 or 4.

    uint8 is shown as it is. Floats are scaled, each image by itself: its largest value becomes
    255; if there are negative ones, 0 becomes 128. What is not finite is shown red.
    """
    limit = _at_least_one("max_images", "ImageSummary", max_outputs)
    with _summary_scope(name, family, tensor) as (tag, scope):
        return _collected(_image_summary(tag, tensor, max_images=limit, name=scope), collections)


def audio(
    name: str | None, tensor: Any, sample_rate: Any, max_outputs: int = 3,
    collections: Sequence[Any] | None = None, family: str | None = None,
) -> Tensor:  # fmt: skip
    """A summary of the first `max_outputs` sounds of a batch [n, frames] or [n, frames, channels].

    Values are in [-1, 1]; `sample_rate`, a number or tensor, is in frames a second.
    """
    limit = _at_least_one("max_outputs", "AudioSummaryV2", max_outputs)
    with _summary_scope(name, family, tensor) as (tag, scope):
        rate = convert_to_tensor(sample_rate, dtypes.float32, name="sample_rate")
        made = _audio_summary(tag, tensor, rate, max_outputs=limit, name=scope)
        return _collected(made, collections)


def tensor_summary(
    name: str | None, tensor: Any, summary_description: str | None = None,
    collections: Sequence[Any] | None = None, summary_metadata: Any = None,
    family: str | None = None, display_name: str | None = None,
) -> Tensor:  # fmt: skip
    """A summary of a tensor of any type, for the TensorBoard plugin that the metadata name.

    `summary_metadata` is a SummaryMetadata proto; description and display name go into it.
    """
    metadata = protos.SummaryMetadata() if summary_metadata is None else summary_metadata
    if summary_description is not None:
        metadata.summary_description = summary_description
    if display_name is not None:
        metadata.display_name = display_name
    serialized = metadata.SerializeToString()
    with _summary_scope(name, family, tensor) as (tag, scope):
        return _collected(_tensor_summary(tag, tensor, serialized, name=scope), collections)


def text(name: str | None, tensor: Any, collections: Sequence[Any] | None = None) -> Tensor:
    """A summary of strings, which TensorBoard reads as Markdown; ranks 1 and 2 become tables."""
    dtype = getattr(tensor, "dtype", dtypes.string)
    if dtype != dtypes.string:
        raise ValueError(f"Expected tensor {tensor.name} to have dtype string, got {dtype!r}")
    plugin = protos.SummaryMetadata.PluginData(plugin_name="text")
    metadata = protos.SummaryMetadata(plugin_data=plugin)
    return tensor_summary(name, tensor, summary_metadata=metadata, collections=collections)


def merge(
    inputs: Sequence[Any], collections: Sequence[Any] | None = None, name: str | None = None
) -> Tensor:
    """All values of several summaries as one; running it is an error if two have the same tag."""
    if isinstance(inputs, (list, tuple)) and not inputs:
        raise ValueError(
            "List argument 'inputs' to 'MergeSummary' Op with length 0 shorter than minimum "
            "length 1."
        )
    name = _clean(name)
    with name_scope(name, "Merge", inputs):
        return _collected(_merge_summary(inputs, name=name), collections or ())


def merge_all(
    key: Any = GraphKeys.SUMMARIES, scope: str | None = None, name: str | None = None
) -> Tensor | None:
    """`merge` of a collection, of those whose name the regex `scope` matches; None if none do."""
    summaries = get_collection(key, scope)
    return merge(summaries, name=name) if summaries else None


def get_summary_description(node_def: Any) -> Any:
    """The SummaryDescription proto that a NodeDef of type TensorSummary carries."""
    from google.protobuf.json_format import Parse

    if node_def.op != "TensorSummary":
        raise ValueError(f"Can't get_summary_description on {node_def.op}")
    return Parse(node_def.attr["description"].s, protos.SummaryDescription())

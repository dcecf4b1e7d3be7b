"""Cases of summaries. The oracles put the Summary together with nothing of headrace's."""

from __future__ import annotations

import bisect
import io
import sys
import wave

import ml_dtypes
import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

from headrace import dtypes
from tests.ops.case import Case

TAG = np.array(b"t", object)
VALUES = np.array([0.5, -3.0, 0.0, 1e-13, 2.25, 2.25, 1e30, -7e-3])
TEXT = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))


def summary_of(**value):
    made = Summary(value=[Summary.Value(tag="t", **value)])
    return np.array(made.SerializeToString(), object)


def scalar(tag, x):
    return summary_of(simple_value=float(x))


def scalars(tags, xs):
    pairs = zip(tags.ravel().tolist(), xs.ravel().tolist(), strict=True)
    made = Summary(value=[Summary.Value(tag=t, simple_value=x) for t, x in pairs])
    return np.array(made.SerializeToString(), object)


def limits():
    found, limit = [0.0, sys.float_info.max, -sys.float_info.max], 1e-12
    while limit < 1e20:
        found += [limit, -limit]
        limit *= 1.1
    return sorted(found)


def histogram(tag, values):
    edges = limits()
    counts, total, squares = [0] * len(edges), 0.0, 0.0
    numbers = [float(v) for v in values.ravel()]
    for x in numbers:
        counts[bisect.bisect_right(edges, x)] += 1
        total += x
        squares += x * x
    pairs = []
    for edge, count in zip(edges, counts, strict=True):
        if pairs and not count and not pairs[-1][1]:
            pairs.pop()
        pairs.append((edge, count))
    made = Summary(value=[Summary.Value(tag="t")])
    histo = made.value[0].histo
    histo.min = min(numbers, default=edges[-1])
    histo.max = max(numbers, default=edges[0])
    histo.num, histo.sum, histo.sum_squares = len(numbers), total, squares
    histo.bucket_limit.extend(edge for edge, _ in pairs)
    histo.bucket.extend(count for _, count in pairs)
    return np.array(made.SerializeToString(), object)


def no_image(tag, images):
    return np.array(b"", object)


def audio(tag, clips, rate):
    made = Summary()
    for i, clip in enumerate(clips):
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(int(rate))
            out.writeframes(
                b"".join(int(x * 32768).to_bytes(2, "little", signed=True) for x in clip)
            )
        value = made.value.add(tag=f"t/audio/{i}").audio
        value.sample_rate, value.num_channels, value.length_frames = rate.item(), 1, len(clip)
        value.encoded_audio_string, value.content_type = file.getvalue(), "audio/wav"
    return np.array(made.SerializeToString(), object)


def tensor(kind, shape, **data):
    value = {"dtype": kind, "tensor_shape": {"dim": [{"size": n} for n in shape]}, **data}
    return lambda *_: summary_of(tensor=value, metadata=TEXT)


def one(name):
    made = Summary(value=[Summary.Value(tag=name, simple_value=len(name))])
    return np.array(made.SerializeToString(), object)


def joined(parts):
    return np.array(b"".join(p for part in parts for p in part.ravel().tolist()), object)


METADATA = np.array(TEXT.SerializeToString(), object)
TAGS = np.array([b"a", b"b"], object)
NOTHING = np.array(b"", object)

CASES = {
    "ScalarSummary": [
        Case((TAG, np.array(2.5, np.float32)), {}, scalar),
        Case((TAG, np.array(1 / 3)), {}, scalar),
        Case((TAG, np.array(-7, np.int64)), {}, scalar),
        Case((TAG, np.array(1.5, ml_dtypes.bfloat16)), {}, scalar),
        Case((TAGS, np.array([1.0, 2.0], np.float16)), {}, scalars),
    ],
    "HistogramSummary": [
        Case((TAG, VALUES), {}, histogram),
        Case((TAG, VALUES.reshape(2, 4).astype(np.float32)), {}, histogram),
        Case((TAG, np.arange(-5, 20)), {}, histogram),
        Case((TAG, np.array(3, np.uint8)), {}, histogram),
        Case((TAG, np.zeros((0, 2))), {}, histogram),
    ],
    "ImageSummary": [Case((TAG, np.zeros((0, 2, 2, 3))), {}, no_image)],
    "AudioSummaryV2": [
        Case(
            (TAG, np.array([[0.5, -0.25], [0.0, 0.125]], np.float32), np.array(8000, np.float32)),
            {}, audio,
        ),
    ],
    "TensorSummaryV2": [
        Case((TAG, np.array([b"x", b"y"], object), METADATA), {},
             tensor(dtypes.string.as_datatype_enum, [2], string_val=[b"x", b"y"])),
        Case((TAG, np.array(1.5, np.float32), METADATA), {},
             tensor(1, [], tensor_content=np.float32(1.5).tobytes())),
        Case((TAG, np.zeros((0, 3), np.int32), METADATA), {},
             tensor(3, [0, 3], tensor_content=b"")),
    ],
    "MergeSummary": [
        Case(([one("a"), one("bc")],), {}, joined),
        Case(([np.array([one("a").item(), one("b").item()], object), NOTHING],), {}, joined),
    ],
}  # fmt: skip

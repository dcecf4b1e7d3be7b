"""What summary ops give, and the nodes they make."""

from __future__ import annotations

import io
import subprocess
import sys
import wave

import numpy as np
import pytest
from PIL import Image

import headrace as tf
import headrace.summary


def run(summary):
    with tf.Session() as session:
        return tf.Summary.FromString(session.run(summary))


def nodes():
    graph = tf.get_default_graph()
    return [(op.name, op.type, [t.name for t in op.inputs]) for op in graph.get_operations()]


# names, tags and collections


def test_a_summary_is_one_node_named_after_its_tag():
    x = tf.placeholder(tf.float32, (), name="x")
    tf.summary.scalar("loss", x)
    assert nodes() == [
        ("x", "Placeholder", []),
        ("loss/tags", "Const", []),
        ("loss", "ScalarSummary", ["loss/tags:0", "x:0"]),
    ]


def test_tags_are_unique_and_follow_the_name_scope():
    made = [tf.summary.scalar("a", 1.0), tf.summary.scalar("a", 1.0)]
    with tf.name_scope("s"):
        made.append(tf.summary.scalar("a", 1.0))
        made.append(tf.summary.scalar("a", 1.0, family="f"))
    assert [t.op.name for t in made] == ["a", "a_1", "s/a", "s/f/a"]
    assert [v.tag for v in run(tf.summary.merge(made)).value] == ["a", "a_1", "s/a", "f/s/f/a"]


def test_illegal_characters_of_a_name_become_underscores():
    assert tf.summary.scalar("/my loss (%)", 1.0).op.name == "my_loss____"
    assert tf.summary.histogram(None, [1.0]).op.name == "HistogramSummary"
    with pytest.raises(ValueError, match="At least one of name and default_name"):
        tf.summary.scalar(None, 1.0)


def test_merge_all_takes_what_is_collected():
    assert tf.summary.merge_all() is None
    a = tf.summary.scalar("a", 1.0)
    tf.summary.scalar("b", 1.0, collections=["other"])
    tf.summary.scalar("c", 1.0, collections=[])
    with tf.name_scope("s"):
        tf.summary.scalar("d", 1.0)
    assert tf.get_collection(tf.GraphKeys.SUMMARIES)[0] is a
    assert [v.tag for v in run(tf.summary.merge_all()).value] == ["a", "s/d"]
    assert [v.tag for v in run(tf.summary.merge_all(scope="s")).value] == ["s/d"]
    assert [v.tag for v in run(tf.summary.merge_all("other")).value] == ["b"]
    assert tf.summary.merge_all(name="all").name == "all/all:0"
    assert tf.summary.merge([a]).name == "Merge_3/MergeSummary:0"
    merged = tf.summary.merge([a], collections=["kept"])
    assert tf.get_collection("kept") == [merged]


def test_summaries_have_no_gradient():
    x = tf.placeholder(tf.float32, ())
    assert tf.gradients(tf.summary.scalar("a", x * x), x) == [None]


# values


def test_scalar():
    made = run(tf.summary.scalar("a", np.float64(1e300)))
    assert made.value[0].simple_value == np.inf
    assert run(tf.summary.scalar("a", tf.constant(3))).value[0].simple_value == 3


def test_histogram_of_few_values():
    histo = run(tf.summary.histogram("h", [-1.0, 0.0, 2.0, 2.05])).value[0].histo
    assert (histo.min, histo.max, histo.num) == (-1, pytest.approx(2.05), 4)
    assert histo.sum_squares == pytest.approx(1 + 4 + 2.05**2)
    filled = [(b, round(e, 3)) for b, e in zip(histo.bucket, histo.bucket_limit, strict=True) if b]
    assert [count for count, _ in filled] == [1, 1, 2]
    assert sum(histo.bucket) == 4
    for x in (-1.0, 0.0, 2.0):  # each in its bucket: below its limit, not below the one before
        i = next(i for i, limit in enumerate(histo.bucket_limit) if x < limit)
        assert histo.bucket[i] >= 1
    assert list(histo.bucket_limit) == sorted(histo.bucket_limit)


def test_histogram_takes_the_largest_number():
    histo = run(tf.summary.histogram("h", np.float64([np.finfo(float).max]))).value[0].histo
    assert histo.bucket[-1] == 1


def decoded(value):
    return np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (7, 1), (40, 31)])
def test_image_of_bytes_is_unchanged(height, width, channels):
    noise = np.random.RandomState(0).randint(256, size=(2, height, width, channels))
    slope = np.linspace(0, 255, noise.size).reshape(noise.shape)
    pixels = np.concatenate([noise, slope]).astype(np.uint8)
    made = run(tf.summary.image("i", pixels, max_outputs=4))
    assert [v.tag for v in made.value] == [f"i/image/{i}" for i in range(4)]
    for value, expected in zip(made.value, pixels, strict=True):
        assert (value.image.height, value.image.width) == (height, width)
        assert value.image.colorspace == channels
        shape = (height, width, channels)
        np.testing.assert_array_equal(decoded(value).reshape(shape), expected)


def test_image_of_floats_is_scaled_by_itself():
    images = np.array([[0, 1, 2, 4], [-1, 0, 0.5, 0.25], [0, 0, 0, 0]], np.float32)
    made = run(tf.summary.image("i", images.reshape(3, 2, 2, 1)))
    shown = [decoded(v).ravel().tolist() for v in made.value]
    assert shown == [[0, 63, 127, 255], [1, 128, 191, 159], [0, 0, 0, 0]]


def test_what_is_not_finite_is_red():
    image = np.ones((1, 1, 3, 3), np.float32)
    image[0, 0, 1, 2], image[0, 0, 2, 0] = np.nan, -np.inf
    value = run(tf.summary.image("i", image, max_outputs=1)).value[0]
    assert value.tag == "i/image"
    assert decoded(value).tolist() == [[[255, 255, 255], [255, 0, 0], [255, 0, 0]]]


def test_audio():
    clips = np.float32([[[0.5, -1.0], [2.0, 1.5 / 32768], [np.nan, -1.5 / 32768]]])
    value = run(tf.summary.audio("a", clips, 100.5, max_outputs=1)).value[0]
    assert (value.tag, value.audio.content_type) == ("a/audio", "audio/wav")
    assert (value.audio.sample_rate, value.audio.num_channels) == (100.5, 2)
    assert value.audio.length_frames == 3
    with wave.open(io.BytesIO(value.audio.encoded_audio_string)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 100)
        frames = np.frombuffer(file.readframes(9), "<i2").tolist()
    assert frames == [16384, -32768, 32767, 2, 0, -2]


def test_text_and_tensor():
    made = run(tf.summary.text("t", tf.constant(["a", "b"]))).value[0]
    assert made.metadata.plugin_data.plugin_name == "text"
    assert list(made.tensor.string_val) == [b"a", b"b"]
    made = run(tf.summary.tensor_summary("t", tf.constant(1.5), "why", display_name="T")).value[0]
    assert made.tensor.tensor_content == np.float32(1.5).tobytes()
    assert (made.metadata.display_name, made.metadata.summary_description) == ("T", "why")


def test_description_of_an_old_tensor_summary():
    node = tf.NodeDef(op="TensorSummary")
    node.attr["description"].s = b'{"typeHint": "scalar"}'
    assert tf.summary.get_summary_description(node).type_hint == "scalar"
    with pytest.raises(ValueError, match="Can't get_summary_description on Const"):
        tf.summary.get_summary_description(tf.NodeDef(op="Const"))


# errors


def fed(value):
    return tf.placeholder_with_default(value, None)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: tf.summary.histogram("h", [1.0, np.nan]), "Nan in summary histogram for: h"),
        (lambda: tf.summary.histogram("h", [np.inf, np.nan]), "Infinity in Histogram for: h"),
        (lambda: tf.summary.scalar("s", fed([1.0, 2.0])), r"\[\] != \[2\] \(tag 's'\)"),
        (lambda: tf.summary.image("i", fed(np.zeros((2, 3, 2)))), r"must be 4-D .* not \[2,3,2\]"),
        (lambda: tf.summary.image("i", np.zeros((1, 0, 2, 1))), r"non-zero dims. Found: \[1, 0, "),
        (lambda: tf.summary.audio("a", fed(np.float32([1])), 1.0), "must be 3-D or 2-D, got"),
        (lambda: tf.summary.audio("a", [[1.0]], 0.0), "sample_rate must be > 0"),
        (lambda: tf.summary.merge([tf.constant("xxx")]), "Could not parse one of the summary"),
        (lambda: tf.summary.merge([tf.summary.scalar("a", 1.0)] * 2), "Duplicate tag a found"),
    ],
)
def test_what_a_run_refuses(build, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        run(build())


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: tf.summary.scalar("a", True), TypeError, "not in list of allowed values"),
        (lambda: tf.summary.image("a", [[[[1.0]]]], 0), ValueError, "passed 0 less than minimum 1"),
        (lambda: tf.summary.audio("a", [[1.0]], 9.0, 0), ValueError, "less than minimum 1"),
        (lambda: tf.summary.text("a", tf.constant(1.0)), ValueError, "to have dtype string"),
        (lambda: tf.summary.merge([]), ValueError, "length 0 shorter than minimum length 1"),
        (lambda: tf.summary.merge(tf.summary.scalar("a", 1.0)), TypeError, "as a Python `bool`"),
    ],
)
def test_what_building_refuses(build, error, words):
    with pytest.raises(error, match=words):
        build()


# in a training step


@pytest.mark.parametrize("runs", [1, 4])  # NumPy runs the first, XLA those after it
def test_step_and_summary_in_one_run(runs):
    rng = np.random.RandomState(0)
    x = tf.placeholder(tf.float32, (None, 4))
    w = tf.get_variable("w", (4, 3), initializer=tf.constant_initializer(0.5))
    loss = tf.reduce_mean(tf.square(tf.nn.relu(x @ w) - 1))
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    tf.summary.scalar("loss", loss)
    tf.summary.histogram("w", w)
    tf.summary.image("x", tf.reshape(x, (-1, 2, 2, 1)))
    merged = tf.summary.merge_all()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(runs):
            batch = rng.rand(8, 4)
            before = session.run(w)
            _, summary, value = session.run([step, merged, loss], {x: batch})
            assert isinstance(summary, bytes)
            parsed = tf.Summary.FromString(summary)
            assert [v.tag for v in parsed.value] == [
                "loss", "w_1", "x/image/0", "x/image/1", "x/image/2",
            ]  # fmt: skip
            assert parsed.value[0].simple_value == value
            assert parsed.value[1].histo.num == 12
            assert parsed.value[1].histo.min == before.min()
            assert not np.array_equal(session.run(w), before)


def test_importing_headrace_imports_no_protobuf():
    code = "import sys, headrace.summary; sys.exit('google.protobuf' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

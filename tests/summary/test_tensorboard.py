"""TensorBoard's own reader finds in our files what was logged."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import headrace as tf
import headrace.summary


def load(folder):
    everything = dict.fromkeys(
        ("scalars", "histograms", "images", "audio", "tensors", "compressedHistograms"), 0
    )
    return EventAccumulator(str(folder), everything).Reload()


def test_the_slide_on_logging(tmp_path):
    x = tf.get_variable("x", shape=(), dtype=tf.float32)
    f = x**2
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    step = optimizer.minimize(f, var_list=[x])
    tf.summary.scalar("curr_x", x)
    tf.summary.scalar("curr_f", f)
    summaries = tf.summary.merge_all()
    s = tf.InteractiveSession()
    summary_writer = tf.summary.FileWriter(str(tmp_path / "logs/1"), s.graph)
    s.run(tf.global_variables_initializer())
    seen = []
    for i in range(10):
        before = s.run(x)
        _, curr_summaries = s.run([step, summaries])
        summary_writer.add_summary(curr_summaries, i)
        summary_writer.flush()
        seen.append(before)
    s.close()

    board = load(tmp_path / "logs/1")  # while the writer is open
    assert board.Tags()["scalars"] == ["curr_x", "curr_f"]
    curr_x, curr_f = board.Scalars("curr_x"), board.Scalars("curr_f")
    assert [e.step for e in curr_x] == list(range(10))
    assert [e.value for e in curr_x] == seen
    np.testing.assert_allclose([e.value for e in curr_f], np.square(seen), rtol=1e-6)
    nodes = {node.name: node for node in board.Graph().node}
    assert {"x", "pow", "curr_x", "curr_f", "Merge/MergeSummary"} <= nodes.keys()
    assert any(name.startswith("gradients/pow_grad") for name in nodes)
    assert nodes["GradientDescent"].op == "NoOp"
    assert nodes["pow"].attr["_output_shapes"].list.shape[0].dim == []
    summary_writer.close()


@pytest.fixture
def logged(tmp_path):
    """A network that logs something of each kind, in five steps."""
    rng = np.random.RandomState(0)
    x = tf.placeholder(tf.float32, (None, 16), name="x")
    with tf.variable_scope("layer"):
        w = tf.get_variable("w", (16, 4))
        hidden = tf.nn.relu(x @ w)
        tf.summary.histogram("hidden", hidden)
    loss = tf.reduce_mean(tf.square(hidden - 1), name="loss")
    step = tf.train.AdamOptimizer().minimize(loss)
    tf.summary.scalar("loss", loss, family="training")
    tf.summary.image("input", tf.reshape(x, (-1, 4, 4, 1)), max_outputs=2)
    tf.summary.audio("sound", tf.tanh(x), 8000.0, max_outputs=1)
    tf.summary.text("note", tf.constant("hello"))
    merged = tf.summary.merge_all()
    kept = []
    with tf.Session() as session, tf.summary.FileWriter(tmp_path, session.graph) as out:
        session.run(tf.global_variables_initializer())
        for i in range(5):
            batch = rng.rand(8, 16)
            value, units, summary, _ = session.run([loss, hidden, merged, step], {x: batch})
            out.add_summary(summary, i)
            kept.append((batch, value, units))
    return load(tmp_path), kept


def test_scalars(logged):
    board, kept = logged
    assert board.Tags()["scalars"] == ["training/training/loss"]
    values = [e.value for e in board.Scalars("training/training/loss")]
    assert values == [value for _, value, _ in kept]


def test_histograms(logged):
    board, kept = logged
    (tag,) = board.Tags()["histograms"]
    assert tag == "layer/hidden"
    for event, (_, _, units) in zip(board.Histograms(tag), kept, strict=True):
        found = event.histogram_value
        assert found.num == units.size
        assert (found.min, found.max) == (units.min(), units.max())
        np.testing.assert_allclose(found.sum, units.sum(), rtol=1e-5)
        edges = [-np.inf, *found.bucket_limit]
        np.testing.assert_array_equal(found.bucket, np.histogram(units, edges)[0])
    assert board.CompressedHistograms(tag)


def test_images(logged):
    board, kept = logged
    assert board.Tags()["images"] == ["input/image/0", "input/image/1"]
    for event, (batch, _, _) in zip(board.Images("input/image/1"), kept, strict=True):
        assert (event.width, event.height) == (4, 4)
        pixels = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        np.testing.assert_allclose(pixels.ravel() / 255, batch[1] / batch[1].max(), atol=1 / 255)


def test_audio_and_text(logged):
    board, _ = logged
    assert board.Tags()["audio"] == ["sound/audio"]
    assert board.Audio("sound/audio")[0].sample_rate == 8000
    assert board.Tags()["tensors"] == ["note"]
    assert board.summary_metadata["note"].plugin_data.plugin_name == "text"


def test_graph_with_the_gradients(logged):
    board, _ = logged
    assert board.Tags()["graph"]
    names = {node.name for node in board.Graph().node}
    assert {"layer/w", "loss", "Adam", "training/loss"} <= names
    assert any(name.startswith("gradients/") for name in names)
    for node in board.Graph().node:
        for source in node.input:
            assert source.lstrip("^").partition(":")[0] in names

"""The same summary ops give the same nodes and the same Summary protos, byte for byte; and each
reads the event files of the other.
"""

import os

import numpy as np
import pytest

import headrace.summary  # noqa: F401


def run(tf, build):
    """What is built, and what it gives."""
    made = build(tf)
    operations = [
        (op.name, op.type, [t.name for t in op.inputs], [str(t.shape) for t in op.outputs])
        for op in tf.get_default_graph().get_operations()
    ]
    with tf.Session() as session:
        return operations, session.run(made)


RNG = np.random.RandomState(0)
NORMAL = RNG.randn(1000) * 50
EXTREME = [1e300, -1e300, 1e-300, 1e20, 1.1e20, 1e-12, -1e-12, 1.0, 0.0]
TYPES = [
    "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip


def of_type(dtype):
    return (abs(NORMAL) if dtype[0] == "u" else NORMAL).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_scalars_and_histograms_of_every_type(assert_alike, dtype):
    values = of_type(dtype)
    assert_alike(run, lambda tf: tf.summary.scalar("s", values[3]))
    assert_alike(run, lambda tf: tf.summary.histogram("h", values))


@pytest.mark.parametrize(
    "values",
    [[], [0.0], [-0.0], [0.0, -0.0], EXTREME, RNG.randn(100, 100), np.arange(-9.0, 9.0) / 1e12],
    ids=lambda values: f"{np.size(values)}",
)
def test_histograms(assert_alike, values):
    assert_alike(run, lambda tf: tf.summary.histogram("h", np.asarray(values, np.float64)))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 1), (2, 3, 4, 1), (2, 1, 7, 3), (2, 5, 1, 4), (4, 28, 28, 1), (1, 300, 200, 3)],
)
def test_images(assert_alike, shape, dtype):
    pixels = np.random.RandomState(2).rand(*shape) * 255
    slope = np.linspace(0, 200, pixels.size).reshape(shape)
    for images in (pixels, pixels - 100, slope):
        limit = min(3, shape[0])
        assert_alike(run, lambda tf: tf.summary.image("i", images.astype(dtype), limit))  # noqa: B023


def test_images_that_are_not_finite_or_empty(assert_alike):
    image = np.random.RandomState(2).randn(1, 6, 6, 3)
    image[0, 1, 1, 1], image[0, 2, 2, 0] = np.nan, np.inf
    nothing = np.full_like(image, np.nan)
    for images in (image, nothing, np.full_like(image, 1e-9), image[:0]):
        assert_alike(run, lambda tf: tf.summary.image("i", images))  # noqa: B023


@pytest.mark.parametrize("shape", [(2, 100), (4, 50, 2), (1, 0), (0, 5)])
@pytest.mark.parametrize("rate", [44100.0, 0.5, 2.5])
def test_audio(assert_alike, shape, rate):
    clips = (np.random.RandomState(3).randn(*shape) / 2).astype(np.float32)
    assert_alike(run, lambda tf: tf.summary.audio("a", clips, rate))
    assert_alike(run, lambda tf: tf.summary.audio("a", clips, tf.constant(rate), max_outputs=1))


@pytest.mark.parametrize(
    "value", [1.5, [1.0, 2.0], "a", ["a", "é"], True, np.zeros((0, 3)), np.complex64(1j)], ids=repr
)
def test_tensors(assert_alike, value):
    assert_alike(
        run, lambda tf: tf.summary.tensor_summary("t", tf.constant(value), "why", display_name="T")
    )


def scopes(tf):
    made = [tf.summary.scalar("a b", 1.0), tf.summary.scalar("a b", 2.0, family="f g")]
    with tf.name_scope("s"):
        made.append(tf.summary.histogram("a", [1.0]))
        made.append(tf.summary.scalar("/a", 1.0, family="f"))
        made.append(tf.summary.histogram(None, tf.constant([1.0]), collections=["k"]))
    made.append(tf.summary.text("t", tf.constant([["é", "b"]])))
    made.append(tf.summary.audio("", [[0.5]], 9.0))
    variable = tf.get_variable("v", (), initializer=tf.zeros_initializer())
    made.append(tf.summary.scalar("v", variable))
    made += [tf.summary.merge_all(), tf.summary.merge_all(scope="s"), tf.summary.merge_all("k")]
    made += [tf.summary.merge(made[:2], name="m m"), tf.summary.merge(made[:1], ["l"])]
    assert tf.summary.merge_all("none") is None
    assert len(tf.get_collection("l")) == 1


def test_names_and_tags(assert_alike):
    def operations(tf):
        scopes(tf)
        return [
            (op.name, op.type, [t.name for t in op.inputs])
            for op in tf.get_default_graph().get_operations()
        ]

    assert_alike(operations)


def test_merging(assert_alike):
    def values(tf):
        parts = [tf.summary.scalar("a", 1.0, family="f"), tf.summary.histogram("h", [1.0, 2.0])]
        parts.append(tf.summary.text("t", tf.constant("x")))
        return tf.summary.merge([*parts, tf.constant("")])

    assert_alike(run, values)


def placed(tf, value):
    return tf.placeholder_with_default(value, None)


REFUSED = {
    "Nan in summary histogram for: h": lambda tf: tf.summary.histogram("h", [1.0, np.nan]),
    "Infinity in Histogram for: h": lambda tf: tf.summary.histogram("h", [-np.inf]),
    "tags and values are not the same shape: [] != [2] (tag 's')": lambda tf: tf.summary.scalar(
        "s", placed(tf, [1.0, 2.0])
    ),
    "Tensor must be 4-D with last dim 1, 3, or 4, not [2,3,2]": lambda tf: tf.summary.image(
        "i", placed(tf, np.zeros((2, 3, 2)))
    ),
    "input tensor must have non-zero dims. Found: [2, 0, 4, 1].": lambda tf: tf.summary.image(
        "i", np.zeros((2, 0, 4, 1))
    ),
    "Tensor must be 3-D or 2-D, got: [1]": lambda tf: tf.summary.audio("a", [0.5], 1.0),
    "sample_rate must be > 0": lambda tf: tf.summary.audio("a", [[0.5]], 0.0),
    "Could not parse one of the summary inputs": lambda tf: tf.summary.merge([tf.constant("xxx")]),
    "Duplicate tag a found in summary inputs": lambda tf: tf.summary.merge(
        [tf.summary.scalar("a", 1.0)] * 2
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_errors(hr, tf, words):
    for module in (hr, tf):
        with module.Graph().as_default(), module.Session() as session:
            summary = REFUSED[words](module)
            with pytest.raises(module.errors.InvalidArgumentError) as caught:
                session.run(summary)
            assert words in str(caught.value)


def write(tf, folder):
    x = tf.placeholder_with_default([1.0, 2.0], (2,), name="x")
    text = tf.summary.text("t", tf.constant("hello"))
    merged = tf.summary.merge([tf.summary.scalar("s", x[0]), tf.summary.histogram("h", x), text])
    with tf.Session() as session:
        out = tf.summary.FileWriter(folder, session.graph)
        for i in range(3):
            out.add_summary(session.run(merged), i)
        out.add_session_log(tf.SessionLog(status=tf.SessionLog.STOP), 3)
        out.close()


def read(tf, folder):
    (name,) = os.listdir(folder)
    events = []
    for event in tf.train.summary_iterator(os.path.join(folder, name)):
        event.wall_time = 0
        kind = event.WhichOneof("what")
        if kind == "graph_def":
            events.append(
                sorted(node.name for node in tf.GraphDef.FromString(event.graph_def).node)
            )
        elif kind not in ("file_version", "meta_graph_def"):
            events.append(event.SerializeToString())
    return events


def test_each_reads_the_event_files_of_the_other(hr, tf, tmp_path, monkeypatch):
    from headrace.summary.reader import summary_iterator

    monkeypatch.setattr(hr.train, "summary_iterator", summary_iterator, raising=False)
    found = []
    for module in (hr, tf):
        folder = str(tmp_path / module.__name__)
        with module.Graph().as_default():
            write(module, folder)
        found += [read(hr, folder), read(tf, folder)]
    assert len(found[0]) == 5
    assert found == [found[0]] * 4


def test_the_same_broken_files_are_refused(hr, tf, tmp_path, monkeypatch):
    from headrace.summary.reader import summary_iterator

    monkeypatch.setattr(hr.train, "summary_iterator", summary_iterator, raising=False)
    with tf.Graph().as_default():
        write(tf, str(tmp_path / "whole"))
    (name,) = os.listdir(tmp_path / "whole")
    whole = (tmp_path / "whole" / name).read_bytes()
    path = tmp_path / "broken"
    ends = [len(whole), len(whole) - 1, len(whole) - 9, 0]
    changed = [bytes([*whole[:i], whole[i] ^ 1, *whole[i + 1 :]]) for i in range(0, len(whole), 97)]
    for data in [whole[:end] for end in ends] + changed:
        path.write_bytes(data)
        results = []
        for module in (hr, tf):
            count = 0
            try:
                for _ in module.train.summary_iterator(str(path)):
                    count += 1
                results.append((count, None))
            except module.errors.DataLossError as error:
                results.append((count, error.message.partition(" record at ")[0][-9:]))
        assert results[0] == results[1]

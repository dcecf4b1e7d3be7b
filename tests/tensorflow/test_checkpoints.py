"""Checkpoints both ways with TensorFlow: the same files, the same graphs, the same values."""

import os

import ml_dtypes
import numpy as np
import pytest

DTYPES = [
    np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.int16, np.int32, np.int64,
    np.uint8, np.uint16, np.uint32, np.uint64, np.bool_, np.complex64, np.complex128,
]  # fmt: skip
SHAPES = [(), (0,), (1,), (3, 0, 2), (5,), (2, 3, 4), (300, 1000)]
FILES = ("index", "data-00000-of-00001")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def train(hr, tf):
    """What `tf.train` is to be, of headrace and of TensorFlow."""
    from types import SimpleNamespace

    from headrace.train import checkpoint_reader, checkpoint_state, meta_graph, saver

    names = {}
    for module in (checkpoint_reader, checkpoint_state, meta_graph, saver):
        names.update(vars(module))
    return {hr: SimpleNamespace(**names), tf: tf.train}


def save(module, train, build, path="m", run=None, **options):
    """The files of what build(module) makes, saved under a name."""
    with module.Graph().as_default(), module.Session() as s:
        build(module)
        s.run(module.global_variables_initializer())
        if run is not None:
            s.run(run(module))
        saver = train[module].Saver(**options)
        saver.save(s, path)
    return saver


def restore(module, train, build, path, **options):
    """The values that variables have then."""
    with module.Graph().as_default(), module.Session() as s:
        build(module)
        train[module].Saver(**options).restore(s, path)
        return s.run({v.op.name: v for v in module.global_variables()})


def read(path):
    with open(path, "rb") as file:
        return file.read()


def assert_same_values(ours, theirs):
    assert list(ours) == list(theirs)
    for name in theirs:
        a, b = np.asarray(ours[name]), np.asarray(theirs[name])
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        if a.dtype == object:
            assert a.ravel().tolist() == b.ravel().tolist(), name
        else:
            assert a.tobytes() == b.tobytes(), name


def assert_both_ways(hr, tf, train, build, **options):
    """The files are the same, and each reads the other's."""
    os.mkdir("ours")
    os.mkdir("theirs")
    save(hr, train, build, "ours/m", **options)
    save(tf, train, build, "theirs/m", **options)
    names = sorted(n for n in os.listdir("theirs") if n.startswith("m.") and n != "m.meta")
    assert sorted(n for n in os.listdir("ours") if n.startswith("m.") and n != "m.meta") == names
    for name in names:
        assert read(f"ours/{name}") == read(f"theirs/{name}"), name
    assert read("ours/checkpoint") == read("theirs/checkpoint")
    for path in ("ours/m", "theirs/m"):
        assert_same_values(
            restore(hr, train, build, path, **options), restore(tf, train, build, path, **options)
        )


def random_array(dtype, shape, seed):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "b":
        return rng.random(shape) < 0.5
    raw = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
    array = raw.view(dtype).reshape(shape)
    if np.dtype(dtype).kind in "fcV" or np.dtype(dtype).name == "bfloat16":
        array = rng.normal(size=shape).astype(dtype)
    return array


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_every_type_and_shape(hr, tf, train, dtype):
    def build(module):
        for i, shape in enumerate(SHAPES):
            value = random_array(dtype, shape, i)
            module.Variable(value, name=f"v{i}", use_resource=bool(i % 2))

    assert_both_ways(hr, tf, train, build)


def test_strings(hr, tf, train):
    words = np.array([b"", b"a", b"b" * 127, b"c" * 128, b"\0\xff", b"d" * 70_000], object)

    def build(module):
        module.Variable(words.reshape(3, 2), name="words")
        module.Variable(b"one", name="one")
        module.Variable(module.zeros((0, 2), module.string), name="none")

    assert_both_ways(hr, tf, train, build)


def test_not_numbers(hr, tf, train):
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324])

    def build(module):
        module.Variable(odd, name="odd")

    assert_both_ways(hr, tf, train, build)


def test_a_thousand_variables(hr, tf, train):
    def build(module):
        for i in range(1000):
            name = f"layer_{i * 7919 % 1000}/{'weights_with_a_long_name' * (i % 20)}"
            module.Variable(np.full((i % 5,), i, np.int32), name=f"{name}_{i}")

    assert_both_ways(hr, tf, train, build)


def test_an_index_of_several_blocks(hr, tf, train):
    def build(module):
        rng = np.random.default_rng(0)
        for i in range(400):
            module.Variable(np.float32(i), name="v" + rng.bytes(400).hex())

    assert_both_ways(hr, tf, train, build)
    assert os.path.getsize("ours/m.index") > 1 << 18


def cut(parts, axis=0, use_resource=False):
    def build(module):
        value = np.arange(77, dtype=np.float32).reshape(7, 11)
        with module.variable_scope("", use_resource=use_resource):
            module.get_variable(
                "v", (7, 11), initializer=lambda shape, dtype=None, partition_info=None: value[
                    tuple(
                        slice(o, o + n)
                        for o, n in zip(
                            partition_info.var_offset if partition_info else (0, 0), shape,
                            strict=True,
                        )
                    )
                ],
                partitioner=module.fixed_size_partitioner(parts, axis) if parts else None,
            )  # fmt: skip

    return build


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(("parts", "axis", "use_resource"), [(3, 0, False), (4, 1, True)])
def test_partitions(hr, tf, train, sharded, parts, axis, use_resource):
    assert_both_ways(hr, tf, train, cut(parts, axis, use_resource), sharded=sharded)
    for other in (cut(5), cut(2, 1), cut(3, 0, True), cut(0)):
        for path in ("ours/m", "theirs/m"):
            assert_same_values(restore(hr, train, other, path), restore(tf, train, other, path))


def test_shards_of_devices(hr, tf, train):
    def build(module):
        for i in range(4):
            with module.device(f"/cpu:{i % 2}"):
                module.Variable(np.full(3, i), name=f"v{i}")

    save(hr, train, build, "ours", sharded=True)
    assert os.path.exists("ours.data-00001-of-00002")
    config = tf.ConfigProto(device_count={"CPU": 2})
    with tf.Graph().as_default(), tf.Session(config=config) as s:
        build(tf)
        saver = tf.train.Saver(sharded=True)
        saver.restore(s, "ours")
        assert [s.run(v).tolist() for v in tf.global_variables()] == [[i] * 3 for i in range(4)]
        saver.save(s, "theirs")
    got = restore(hr, train, build, "theirs", sharded=True)
    assert [v.tolist() for v in got.values()] == [[i] * 3 for i in range(4)]
    for name in ("index", "data-00000-of-00002", "data-00001-of-00002"):
        assert read(f"ours.{name}") == read(f"theirs.{name}")


def test_an_overwritten_checkpoint_is_the_same(hr, tf, train):
    def build(module):
        module.Variable(np.arange(5.0), name="x")

    for _ in range(3):
        save(hr, train, build, "ours")
    save(tf, train, build, "theirs")
    for tail in FILES:
        assert read(f"ours.{tail}") == read(f"theirs.{tail}")


# -- the first format ------------------------------------------------------------------------------


@pytest.mark.parametrize("sharded", [False, True])
def test_the_first_format_is_read(hr, tf, train, sharded):
    kinds = [d for d in DTYPES if np.dtype(d).name not in ("bfloat16", "uint32", "uint64")]

    def build(module):
        for dtype in kinds:
            for i, shape in enumerate(SHAPES[:-1]):
                name = f"{np.dtype(dtype).name}_{i}"
                module.Variable(random_array(dtype, shape, i), name=name)
        module.Variable([["a", ""], ["b", "c" * 300]], name="words")
        cut(3)(module)

    with tf.Graph().as_default(), tf.Session() as s:
        build(tf)
        s.run(tf.global_variables_initializer())
        wanted = {v.op.name: s.run(v) for v in tf.global_variables()}
        saver = tf.train.Saver(write_version=tf.train.SaverDef.V1, sharded=sharded)
        path = saver.save(s, "m")
    assert ("?????" in path) == sharded
    assert train[hr].latest_checkpoint(".") == os.path.join(".", path)
    assert_same_values(restore(hr, train, build, path), wanted)
    assert dict(train[hr].list_variables(path)) == dict(tf.train.list_variables(path))
    whole = restore(hr, train, cut(0), path)["v"]
    np.testing.assert_array_equal(whole, np.arange(77).reshape(7, 11))


# -- readers ---------------------------------------------------------------------------------------


def test_readers(hr, tf, train, assert_alike):
    def build(module):
        cut(3)(module)
        module.Variable("word", name="word")
        module.Variable(np.int8([1, 2]), name="n")

    save(tf, train, build, "m")

    def program(module):
        reader = train[module].load_checkpoint("m")
        return [
            train[module].list_variables("m"),
            train[module].load_variable(".", "n:0"),
            reader.get_tensor("v"),
            reader.get_tensor("word"),
            reader.has_tensor("w"),
            sorted(reader.get_variable_to_shape_map().items()),
            sorted((k, d.name) for k, d in reader.get_variable_to_dtype_map().items()),
            train[module].checkpoint_exists("m"),
            train[module].checkpoint_exists("n"),
            train[module].latest_checkpoint("."),
            str(train[module].get_checkpoint_state(".")),
        ]

    assert_alike(program)


def test_what_is_kept(hr, tf, train, assert_alike):
    def program(module):
        module.Variable(1.0, name="x")
        saver = train[module].Saver(max_to_keep=3)
        seen = []
        with module.Session() as s:
            s.run(module.global_variables_initializer())
            for i in (1, 2, 3, 2, 4, 5):
                path = saver.save(s, f"{module.__name__}/m", global_step=i)
                files = sorted(os.listdir(module.__name__))
                with open(f"{module.__name__}/checkpoint") as file:
                    seen.append([path.rpartition("/")[2], files, file.read()])
        return [*seen, [p.rpartition("/")[2] for p in saver.last_checkpoints]]

    assert_alike(program)


# -- graphs ----------------------------------------------------------------------------------------


def nodes(module, build):
    with module.Graph().as_default() as graph:
        build(module)
        listed = []
        for node in graph.as_graph_def().node:
            if node.op == "DisableCopyOnRead":  # TensorFlow 1 had none
                continue
            attrs = {
                k: str(v)
                for k, v in node.attr.items()
                if k not in ("_has_manual_control_dependencies", "value")
                and k not in ("debug_name", "allowed_devices", "_class")
            }
            listed.append((node.name, node.op, node.device, sorted(node.input), attrs))
    return listed


SAVERS = {
    "ref": lambda tf, train: (
        tf.Variable([1.0, 2.0], name="b"), tf.Variable(3, name="a"), train[tf].Saver(),
        train[tf].Saver({"x": tf.global_variables()[0]}),
    ),
    "resource": lambda tf, train: (
        tf.Variable([1.0], name="b", use_resource=True), tf.Variable(3, name="a"),
        train[tf].Saver(),
    ),
    "partitioned": lambda tf, train: (
        tf.get_variable("p", (5, 2), partitioner=tf.fixed_size_partitioner(2)), train[tf].Saver(),
    ),
    "partitioned resource": lambda tf, train: (
        tf.get_variable("p", (5,), partitioner=tf.fixed_size_partitioner(2), use_resource=True),
        train[tf].Saver(),
    ),
    "sharded": lambda tf, train: (
        tf.Variable(1.0, name="b"), on(tf, "/job:ps/task:1/cpu:0", "a"),
        on(tf, "/job:ps/task:0", "c"), train[tf].Saver(sharded=True),
    ),
    "reshaped": lambda tf, train: (
        tf.Variable([1.0], name="b"), tf.Variable(1.0, name="q", validate_shape=False),
        tf.Variable([1.0], name="r", use_resource=True), train[tf].Saver(reshape=True, name="my"),
    ),
}  # fmt: skip


def on(tf, device, name):
    with tf.device(device):
        return tf.Variable(1.0, name=name)


@pytest.mark.parametrize("kind", SAVERS)
def test_the_graphs_of_savers(hr, tf, train, kind):
    ours = nodes(hr, lambda module: SAVERS[kind](module, train))
    theirs = nodes(tf, lambda module: SAVERS[kind](module, train))
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    assert ours == theirs


def test_the_graph_of_init_from_checkpoint(hr, tf, train):
    save(tf, train, cut(0), "m")

    def build(module):
        cut(3)(module)
        with module.variable_scope("n", use_resource=True):
            module.get_variable("v", (7, 11))
        train[module].init_from_checkpoint("m", {"v": "v"})
        train[module].init_from_checkpoint("m", {"/": "n/"})
        with module.Session() as s:
            s.run(module.global_variables_initializer())
            values.append([s.run(v) for v in module.global_variables()])

    values = []
    ours, theirs = nodes(hr, build), nodes(tf, build)
    start = [row[0] for row in theirs].index("checkpoint_initializer/prefix")
    pick = [row for row in theirs[start:] if not row[0].startswith("init")]
    assert [r for r in ours if r[0] in {p[0] for p in pick}] == pick
    for a, b in zip(*values, strict=True):
        np.testing.assert_array_equal(a, b)


# -- meta graphs -----------------------------------------------------------------------------------


def model(module, train):
    x = module.placeholder(module.float32, (None, 3), name="x")
    y = module.placeholder(module.float32, (None, 2), name="y")
    w = module.get_variable("w", (3, 2), initializer=module.ones_initializer())
    b = module.get_variable("b", (2,), initializer=module.zeros_initializer(), use_resource=True)
    out = module.nn.relu(module.matmul(x, w) + b, name="out")
    loss = module.reduce_mean(module.square(out - y), name="loss")
    step = module.train.get_or_create_global_step()
    module.train.MomentumOptimizer(0.1, 0.9).minimize(loss, step, name="train")
    return train[module].Saver()


FEED = {"x:0": np.arange(12, dtype=np.float32).reshape(4, 3) / 10, "y:0": np.ones((4, 2))}


@pytest.mark.parametrize("theirs_first", [False, True])
def test_training_goes_on_in_the_other(hr, tf, train, theirs_first):
    one, two = (tf, hr) if theirs_first else (hr, tf)
    with one.Graph().as_default(), one.Session() as s:
        saver = model(one, train)
        s.run(one.global_variables_initializer())
        for _ in range(3):
            s.run("train", FEED)
        path = saver.save(s, "m", one.train.get_global_step())
        wanted = [s.run(["loss:0", "train"], FEED)[0] for _ in range(4)]
    with two.Graph().as_default(), two.Session() as s:
        saver = train[two].import_meta_graph(f"{path}.meta")
        saver.restore(s, path)
        got = [s.run(["loss:0", "train"], FEED)[0] for _ in range(4)]
        assert [v.name for v in two.trainable_variables()] == ["w:0", "b:0"]
        assert s.run(two.train.get_global_step()) == 7
        saver.save(s, "again")
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_meta_graphs_are_alike(hr, tf, train):
    from headrace.protos import VariableDef

    def plain(data):
        proto = VariableDef.FromString(data)
        proto.ClearField("aggregation")  # for several machines
        return proto

    def made(module):
        with module.Graph().as_default():
            saver = model(module, train)
            module.add_to_collection("numbers", 3)
            module.add_to_collection("words", "word")
            return saver.export_meta_graph("g")

    ours, theirs = made(hr), made(tf)
    assert sorted(ours.collection_def) == sorted(theirs.collection_def)
    for key in theirs.collection_def:
        a, b = ours.collection_def[key], theirs.collection_def[key]
        if "variable" in key or key == "global_step":
            a, b = ([plain(v) for v in c.bytes_list.value] for c in (a, b))
        assert str(a) == str(b), key
    assert ours.saver_def.SerializeToString() == theirs.saver_def.SerializeToString()

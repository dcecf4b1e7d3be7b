"""Graphs to files and back: meta graphs, graph definitions, and the savers in them."""

from __future__ import annotations

from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headrace as tf
from headrace.graph_def import tensor_proto
from headrace.importer import import_graph_def, make_ndarray
from headrace.train.meta_graph import (
    export_meta_graph,
    read_meta_graph_file,
    register_proto_function,
    write_graph,
)
from headrace.train.saver import Saver, import_meta_graph


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def model(use_resource=False):
    """A network with all that a training program has."""
    x = tf.placeholder(tf.float32, (None, 3), name="x")
    y = tf.placeholder(tf.float32, (None, 2), name="y")
    with tf.variable_scope("dense", use_resource=use_resource):
        w = tf.get_variable("w", (3, 2))
        b = tf.get_variable("b", (2,), initializer=tf.zeros_initializer())
    out = tf.identity(tf.nn.relu(tf.matmul(x, w) + b), name="out")
    loss = tf.reduce_mean(tf.square(out - y), name="loss")
    step = tf.train.get_or_create_global_step()
    train = tf.train.AdamOptimizer(0.1).minimize(loss, step, name="train")
    assert tf.get_collection("train_op") == [train]
    tf.add_to_collection("numbers", 3)
    tf.add_to_collection("words", "a word")
    return w


X = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
FEED = {"x:0": X, "y:0": np.ones((4, 2), np.float32)}


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("scope", [None, "again"])
def test_training_goes_on_from_a_meta_graph(here, use_resource, scope):
    with tf.Graph().as_default(), tf.Session() as s:
        tf.set_random_seed(1)
        model(use_resource)
        saver = Saver()
        s.run(tf.global_variables_initializer())
        for _ in range(3):
            s.run("train", FEED)
        saver.save(s, "m", tf.train.get_global_step())
        losses = [s.run(["loss:0", "train"], FEED)[0] for _ in range(4)]
    prefix = f"{scope}/" if scope else ""
    with tf.Graph().as_default() as graph, tf.Session() as s:
        saver = import_meta_graph("m-3.meta", import_scope=scope)
        saver.restore(s, "m-3")
        (train,) = tf.get_collection("train_op")
        assert train is graph.get_operation_by_name(f"{prefix}train")
        feed = {prefix + k: v for k, v in FEED.items()}
        again = [s.run([f"{prefix}loss:0", train], feed)[0] for _ in range(4)]
        assert again == losses
        assert s.run(tf.train.get_global_step(graph)) == 7
        assert [v.name for v in tf.trainable_variables()] == [
            f"{prefix}dense/w:0", f"{prefix}dense/b:0",
        ]  # fmt: skip
        assert all(v in tf.global_variables() for v in tf.trainable_variables())
        assert tf.get_collection("numbers") == [3]
        assert tf.get_collection("words") == [f"{prefix}a word"]
        s.run(tf.global_variables_initializer())
        saver.save(s, "again")


def test_what_is_imported_is_what_was_exported(here):
    with tf.Graph().as_default() as one:
        model()
        made = export_meta_graph("g.meta")
    with tf.Graph().as_default() as two:
        assert import_meta_graph("g.meta").last_checkpoints == []
    nodes = two.as_graph_def(add_shapes=True).node[: len(one.get_operations())]
    for ours, theirs in zip(nodes, one.as_graph_def(add_shapes=True).node, strict=True):
        assert ours == theirs
    assert read_meta_graph_file("g.meta") == made


def test_a_graph_without_variables(here):
    tf.constant(1.0, name="c")
    made = export_meta_graph()
    with tf.Graph().as_default() as graph:
        assert import_meta_graph(made) is None
        assert [op.name for op in graph.get_operations()] == ["c"]


def test_text_is_read_too(here):
    tf.constant([1.0, 2.0], name="c")
    made = export_meta_graph("g.meta", as_text=True)
    assert "node {" in (here / "g.meta").read_text()
    assert read_meta_graph_file("g.meta") == made


def test_a_scope_by_itself(here):
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, (), name="x")
        with tf.name_scope("inner"):
            v = tf.Variable(2.0, name="v")
            y = tf.multiply(v, x, name="y")
            tf.add_to_collection("out", y)
            tf.add_to_collection("out", tf.identity(y, name="z"))
        tf.add_to_collection("out", x)
        made = export_meta_graph(export_scope="inner")
    names = {n.name: list(n.input) for n in made.graph_def.node}
    assert names["y"] == ["v/read", "$unbound_inputs_x"]
    assert list(made.collection_def["out"].node_list.value) == ["y:0", "z:0"]
    with tf.Graph().as_default(), tf.Session() as s:
        with pytest.raises(ValueError, match=r"Graph contains unbound inputs: \$unbound_inputs_x"):
            import_meta_graph(made)
        three = tf.constant(3.0)
        import_meta_graph(made, input_map={"$unbound_inputs_x": three}, import_scope="new")
        s.run(tf.global_variables_initializer())
        assert s.run("new/z:0") == 6.0


def test_devices_and_other_savers_can_be_left_out(here):
    with tf.device("/gpu:1"):
        tf.Variable(1.0, name="v")
    first, second = Saver(), Saver()
    tf.add_to_collection(tf.GraphKeys.SAVERS, first)
    made = second.export_meta_graph(clear_devices=True, clear_extraneous_savers=True)
    assert {n.device for n in made.graph_def.node} == {""}
    scopes = {n.name.partition("/")[0] for n in made.graph_def.node}
    assert scopes == {"v", "save_1"}
    with tf.Graph().as_default():
        import_meta_graph(made)
        (saver,) = tf.get_collection(tf.GraphKeys.SAVERS)
        assert saver.saver_def.save_tensor_name == "save_1/control_dependency:0"
    kept = second.export_meta_graph()
    with tf.Graph().as_default() as graph:
        import_meta_graph(kept, clear_devices=True)
        assert graph.get_operation_by_name("v").device == ""
        assert len(tf.get_collection(tf.GraphKeys.SAVERS)) == 1


def test_collections_of_any_things(here):
    tf.add_to_collection("odd", object())
    tf.add_to_collection("floats", 0.5)
    with pytest.warns(UserWarning, match="The collection 'odd' is not in the meta graph"):
        made = export_meta_graph()
    assert sorted(made.collection_def) == ["floats"]


def test_a_kind_of_collection_of_the_users_own(here):
    class Version:
        def __init__(self, n):
            self.n = n

        def to_proto(self, export_scope=None):
            proto = tf.GraphDef()
            proto.versions.producer = self.n
            return proto

    register_proto_function(
        "versions", tf.GraphDef, Version.to_proto,
        lambda proto, import_scope=None: Version(proto.versions.producer),
    )  # fmt: skip
    tf.add_to_collection("versions", Version(7))
    made = export_meta_graph()
    with tf.Graph().as_default():
        import_meta_graph(made)
        assert [v.n for v in tf.get_collection("versions")] == [7]
    with pytest.raises(TypeError, match="needs a proto_type, a to_proto and a from_proto"):
        register_proto_function("versions")


def test_files_that_are_none(here):
    with pytest.raises(OSError, match=r"File does not exist\. Received: no\.meta"):
        import_meta_graph("no.meta")
    (here / "bad.meta").write_bytes(b"\xff\xfe rubbish")
    with pytest.raises(OSError, match=r"Cannot parse file bad\.meta"):
        import_meta_graph("bad.meta")


def test_an_item_of_a_collection_that_is_no_proto(here):
    model()
    made = Saver().export_meta_graph()
    made.collection_def["global_step"].bytes_list.value.append(b"\n")
    with (
        tf.Graph().as_default(),
        pytest.raises(ValueError, match=r"collection 'global_step' is no VariableDef: b'\\n'"),
    ):
        import_meta_graph(made)


fuzz = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@fuzz
@given(st.data())
def test_a_mutated_meta_graph_is_refused_or_read(here, data):
    path = here / "good.meta"
    if not path.exists():
        with tf.Graph().as_default():
            model()
            Saver().export_meta_graph(str(path))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            del content[at : at + data.draw(st.integers(1, 30))]
    (here / "bad.meta").write_bytes(content)
    refusals = (OSError, ValueError, TypeError, KeyError, tf.errors.OpError)
    with tf.Graph().as_default(), suppress(*refusals):
        import_meta_graph("bad.meta")


# -- write_graph -----------------------------------------------------------------------------------


def test_write_graph(here):
    x = tf.constant(1.0, name="x")
    assert write_graph(tf.get_default_graph(), "logs/a", "g.pbtxt") == "logs/a/g.pbtxt"
    assert 'name: "x"' in (here / "logs" / "a" / "g.pbtxt").read_text()
    write_graph(x.graph.as_graph_def(), here, "g.pb", as_text=False)
    assert tf.GraphDef.FromString((here / "g.pb").read_bytes()) == x.graph.as_graph_def()


# -- import_graph_def ------------------------------------------------------------------------------


def exported():
    with tf.Graph().as_default() as graph:
        a = tf.placeholder(tf.float32, (2,), name="a")
        b = tf.add(a, [1.0, 2.0], name="b")
        c, _ = tf.split(b, 2, name="c")
        with tf.control_dependencies([a]):
            tf.identity(c, name="d")
    return graph.as_graph_def()


def test_elements_come_back():
    b, d, c1 = import_graph_def(exported(), return_elements=["b", "d:0", "c:1"])
    assert (b.name, d.name, c1.name) == ("import/b", "import/d:0", "import/c:1")
    with tf.Session() as s:
        assert s.run(d, {"import/a:0": [1.0, 2.0]}).tolist() == [2.0]
    assert import_graph_def(exported()) is None
    names = [op.name for op in tf.get_default_graph().get_operations()]
    assert "import_1/b" in names
    (d,) = import_graph_def(exported(), return_elements=["d"], name="")
    assert d.name == "d"
    assert [op.name for op in d.control_inputs] == ["a"]


def test_inputs_are_mapped():
    nothing = tf.no_op()
    mapped = {"b": tf.constant([5.0, 6.0]), "^a": nothing}
    (d,) = import_graph_def(exported(), mapped, ["d:0"])
    mapped = {"a:0": [0.0, 1.0], "^a": nothing}
    (e,) = import_graph_def(exported(), mapped, ["d:0"], name="other")
    with tf.Session() as s:
        assert s.run(d).tolist() == [5.0]
        assert s.run(e).tolist() == [1.0]
    assert e.op.inputs[0].op.inputs[1].op.inputs[0].name == "other/_inputs/Const:0"


def test_nodes_may_be_in_any_order():
    nodes = exported()
    turned = tf.GraphDef(versions=nodes.versions, node=reversed(nodes.node))
    (d,) = import_graph_def(turned, return_elements=["d:0"])
    with tf.Session() as s:
        assert s.run(d, {"import/a:0": [1.0, 2.0]}).tolist() == [2.0]


def test_what_does_not_fit_together():
    good = exported()

    def changed(change):
        nodes = tf.GraphDef.FromString(good.SerializeToString())
        change({n.name: n for n in nodes.node}, nodes)
        return nodes

    def rename(nodes, _):
        nodes["a"].name = "other"

    def twice(nodes, graph):
        graph.node.add().CopyFrom(nodes["a"])

    def far(nodes, _):
        nodes["d"].input[0] = "c:2"

    def cycle(nodes, _):
        nodes["b"].input[0] = "d"

    def type_(nodes, _):
        nodes["b"].attr["T"].type = 3

    def less(nodes, _):
        del nodes["b"].input[1]

    def more(nodes, _):
        nodes["d"].input.append("a")

    def unknown(nodes, _):
        nodes["d"].op = "NoSuchOp"

    for change, error, message in (
        (rename, ValueError, "Node 'b': Unknown input node 'a'"),
        (twice, ValueError, "Node 'a' is not unique"),
        (far, ValueError, "Node 'd': Connecting to invalid output 2 of source node import"),
        (cycle, ValueError, "is in a cycle"),
        (type_, ValueError, r"Node 'b' \(op: 'AddV2'\)"),
        (less, ValueError, "an operand is missing"),
        (more, ValueError, "2 inputs are too many"),
        (unknown, tf.errors.NotFoundError, r"Op type not registered.*\n  NoSuchOp \(node 'd'\)"),
    ):
        with tf.Graph().as_default(), pytest.raises(error, match=message):
            import_graph_def(changed(change))
    for arguments, error, message in (
        ({"input_map": {"z:0": 1.0}}, ValueError, r"were not found in graph_def: \[z:0\]"),
        ({"return_elements": ["z"]}, ValueError, "Requested return_element 'z' not found"),
        ({"return_elements": ["c:5"]}, ValueError, "Requested return_element 'c:5' not found"),
        ({"return_elements": [1]}, TypeError, "must be a list of strings"),
        ({"input_map": [1]}, TypeError, "must be a dictionary"),
        ({"input_map": {"a:0": 1.0}, "name": ""}, ValueError, "requires a non-empty `name`"),
    ):
        with tf.Graph().as_default(), pytest.raises(error, match=message):
            import_graph_def(good, **arguments)
    with pytest.raises(TypeError, match="must be a GraphDef proto"):
        import_graph_def(b"bytes")


def test_arrays_of_protos():
    for array in (
        np.float32(1.5), np.arange(6).reshape(2, 3), np.array([True, False]), np.zeros((0, 2)),
        np.array([1, 2], ml_dtypes.bfloat16), np.array([1 + 2j]), np.array([b"a", b""], object),
        np.array(3, np.uint64), np.array([0.5], np.float16),
    ):  # fmt: skip
        made = make_ndarray(tensor_proto(np.asarray(array)))
        assert made.dtype == np.asarray(array).dtype
        assert made.tolist() == np.asarray(array).tolist()
    proto = tf.TensorProto(dtype=1, float_val=[1.0, 2.0])
    proto.tensor_shape.dim.add(size=4)
    assert make_ndarray(proto).tolist() == [1.0, 2.0, 2.0, 2.0]
    half = tf.TensorProto(dtype=19, half_val=[0x3C00])
    assert make_ndarray(half) == np.float16(1.0)
    complex_ = tf.TensorProto(dtype=8, scomplex_val=[1.0, 2.0])
    assert make_ndarray(complex_) == np.complex64(1 + 2j)

"""The graph: names, scopes, control edges, devices, collections, look-ups."""

import gc
import threading
import weakref

import pytest

import headrace as tf


def op(name="op", **kwargs):
    return tf.constant(1.0, name=name, **kwargs).op


# -- names -----------------------------------------------------------------------------------------


def test_names_are_made_unique_whatever_their_case():
    names = [op(n).name for n in ("foo", "foo", "Foo", "foo_1", "FOO", "bar", "foo_3")]
    assert names == ["foo", "foo_1", "Foo_2", "foo_1_1", "FOO_3", "bar", "foo_3_1"]
    assert len({n.lower() for n in names}) == len(names)


def test_scopes_and_ops_share_names():
    op("bar")
    with tf.name_scope("bar") as scope:
        assert scope == "bar_1/"
        assert op("x").name == "bar_1/x"
    assert op("bar_1").name == "bar_1_1"


def test_scopes_nest_and_are_numbered_in_their_scope():
    seen = []
    for _ in range(2):
        with tf.name_scope("outer"):
            for _ in range(2):
                with tf.name_scope("inner") as scope:
                    seen.append(scope)
    assert seen == ["outer/inner/", "outer/inner_1/", "outer_1/inner/", "outer_1/inner_1/"]


def test_slash_at_the_end_re_enters():
    with tf.name_scope("a") as scope:
        op("x")
    with tf.name_scope("b"), tf.name_scope(scope) as again:
        assert again == "a/"
        assert op("x").name == "a/x_1"
    assert tf.constant(1.0, name="whole/name/").op.name == "whole/name"


@pytest.mark.parametrize("root", [None, ""])
def test_way_back_to_the_root(root):
    graph = tf.get_default_graph()
    with graph.name_scope("a"), graph.name_scope(root) as scope:
        assert scope == ""
        assert op("x").name == "x"
        assert graph.get_name_scope() == ""
    assert graph.get_name_scope() == ""


def test_scope_is_left_when_an_error_is_raised():
    with pytest.raises(KeyError), tf.name_scope("a"):
        raise KeyError
    assert op("x").name == "x"


@pytest.mark.parametrize("bad", ["_a", "-a", "/a", "a b", "a:0", "a$"])
def test_names_that_are_not_valid(bad):
    with pytest.raises(ValueError, match="not a valid scope name"), tf.name_scope(bad):
        pass


def test_inner_scopes_may_begin_as_the_root_may_not():
    with tf.name_scope("a"), tf.name_scope("_b") as scope:
        assert scope == "a/_b/"


def test_default_name_and_values():
    with tf.Graph().as_default() as graph:
        x = tf.constant(1.0)
    with tf.name_scope(None, "fallback", [x]) as scope:
        assert scope == "fallback/"
        assert tf.get_default_graph() is graph
    with tf.name_scope("given", "fallback", [x]) as scope:
        assert scope == "given/"


def test_unique_name_may_only_be_asked():
    graph = tf.get_default_graph()
    assert graph.unique_name("x", mark_as_used=False) == "x"
    assert graph.unique_name("x") == "x"
    assert graph.unique_name("x", mark_as_used=False) == "x_1"
    assert graph.unique_name("x") == "x_1"


def test_failed_shape_check_leaves_no_node_behind():
    x, y = tf.placeholder(tf.float32, (2, 3)), tf.placeholder(tf.float32, (2, 3))
    before = len(tf.get_default_graph().get_operations())
    with pytest.raises(ValueError, match=r"'MatMul'.*input shapes"):
        tf.matmul(x, y)
    assert len(tf.get_default_graph().get_operations()) == before


# -- control edges ---------------------------------------------------------------------------------


def test_control_inputs():
    a, b = op("a"), op("b")
    with tf.control_dependencies([a]):
        c = op("c")
        with tf.control_dependencies([b, c.outputs[0]]):
            d = op("d")
        e = op("e")
    f = op("f")
    assert c.control_inputs == e.control_inputs == [a]
    assert set(d.control_inputs) == {a, b, c}
    assert f.control_inputs == []


def test_op_drops_control_inputs_that_it_depends_on():
    a = tf.constant(1.0)
    with tf.control_dependencies([a]):
        b = tf.identity(a)
        c = tf.exp(b)
        d = tf.constant(2.0)
    assert b.op.control_inputs == []
    assert c.op.control_inputs == []
    assert d.op.control_inputs == [a.op]


def test_none_clears():
    a = op("a")
    with tf.control_dependencies([a]), tf.control_dependencies(None):
        b = op("b")
        with tf.control_dependencies([b]):
            c = op("c")
    assert b.control_inputs == []
    assert c.control_inputs == [b]


def test_anything_can_be_waited_for():
    v = tf.Variable(1.0)
    slices = tf.IndexedSlices(tf.constant([1.0]), tf.constant([0]))
    with tf.control_dependencies([v, slices, op("a"), tf.constant(1.0, name="t")]):
        b = op("b")
    assert [o.name for o in b.control_inputs] == ["Variable", "Const", "a", "t"]
    with pytest.raises((TypeError, ValueError)), tf.control_dependencies([3]):
        pass


# -- look-ups --------------------------------------------------------------------------------------


def test_elements_are_found_by_name():
    graph = tf.get_default_graph()
    x = tf.constant(1.0, name="a/x")
    assert graph.get_operation_by_name("a/x") is x.op
    assert graph.get_tensor_by_name("a/x:0") is x
    assert graph.as_graph_element("a/x") is x.op
    assert graph.as_graph_element("a/x:0") is graph.as_graph_element(x) is x


@pytest.mark.parametrize(
    ("method", "name", "error", "text"),
    [("get_operation_by_name", "y", KeyError, "refers to an Operation not in the graph"),
     ("get_operation_by_name", "x:0", ValueError, "appears to refer to a Tensor"),
     ("get_operation_by_name", 3, TypeError, "Operation names are strings"),
     ("get_tensor_by_name", "y:0", KeyError, "does not exist"),
     ("get_tensor_by_name", "x:1", KeyError, "only has 1 outputs"),
     ("get_tensor_by_name", "x", ValueError, "refers to an Operation, not a Tensor"),
     ("get_tensor_by_name", "x:a", ValueError, "not a valid one"),
     ("get_tensor_by_name", 3, TypeError, "Tensor names are strings")],
)  # fmt: skip
def test_look_ups_that_fail(method, name, error, text):
    op("x")
    with pytest.raises(error, match=text):
        getattr(tf.get_default_graph(), method)(name)


def test_operations_in_the_order_of_their_making():
    made = [op() for _ in range(5)]
    graph = tf.get_default_graph()
    assert graph.get_operations() == made
    graph.get_operations().clear()
    assert graph.get_operations() == made


def test_create_op_takes_types_nobody_defined():
    x = tf.constant(1.0)
    made = tf.get_default_graph().create_op(
        "Mystery", [x], [tf.float32, tf.int32], name="what", attrs={"depth": 3}
    )
    assert (made.type, made.name, len(made.outputs)) == ("Mystery", "what", 2)
    assert made.outputs[1].dtype == tf.int32
    assert made.outputs[0].shape.ndims is None
    assert made.get_attr("depth") == 3
    assert x.consumers() == [made]
    with pytest.raises(ValueError, match="no attr"):
        made.get_attr("width")


def test_tensors_of_two_graphs_do_not_mix():
    x = tf.constant(1.0)
    with tf.Graph().as_default():
        y = tf.constant(1.0)
        with pytest.raises(ValueError, match="must be from the same graph"):
            tf.add(x, y)
        with pytest.raises(ValueError, match="must be from the same graph"):
            tf.stack([x, y])


# -- collections -----------------------------------------------------------------------------------


def test_collections():
    graph = tf.get_default_graph()
    graph.add_to_collection("c", 1)
    tf.add_to_collections(["c", "d", "c"], 2)
    copy = tf.get_collection("c")
    assert copy == [1, 2]
    copy.append(3)
    assert tf.get_collection("c") == [1, 2]
    live = tf.get_collection_ref("c")
    live.append(3)
    assert tf.get_collection("c") == [1, 2, 3]
    assert tf.get_collection("nothing") == []
    assert {"c", "d"} <= set(graph.get_all_collection_keys())
    graph.clear_collection("c")
    assert tf.get_collection("c") == []


def test_collections_by_a_pattern_matched_from_the_start():
    for name in ("hidden1/w", "hidden2/w", "out/hidden1/w"):
        tf.add_to_collection("c", tf.constant(1.0, name=name))
    tf.add_to_collection("c", "has no name")
    found = tf.get_collection("c", scope="hidden[123]")
    assert [t.op.name for t in found] == ["hidden1/w", "hidden2/w"]


# -- devices and colocation ------------------------------------------------------------------------


def test_devices():
    with tf.device("/gpu:0"):
        a = op("a")
        with tf.device("/job:worker/task:1"):
            b = op("b")
        with tf.device(None):
            c = op("c")
        with tf.device("/cpu:1"):
            d = op("d")
    assert [o.device for o in (a, b, c, d)] == [
        "/device:GPU:0", "/job:worker/task:1/device:GPU:0", "", "/device:CPU:1"
    ]  # fmt: skip


def test_device_functions_are_asked_with_the_op():
    asked = []

    def place(o):
        asked.append((o.type, o.name, o.node_def.op))
        return "/cpu:0" if o.type == "Const" else ""

    with tf.device(place):
        a = op("a")
        b = tf.placeholder(tf.float32, name="b").op
    assert asked == [("Const", "a", "Const"), ("Placeholder", "b", "Placeholder")]
    assert (a.device, b.device) == ("/device:CPU:0", "")


def test_colocation_beats_device():
    with tf.device("/cpu:1"):
        a = op("a")
    with tf.device("/gpu:0"), tf.colocate_with(a):
        b = op("b")
    assert b.device == "/device:CPU:1"
    assert b.colocation_groups() == [b"loc:@a"]
    assert a.colocation_groups() == [b"loc:@a"]
    assert op("c").colocation_groups() == [b"loc:@c"]


# -- the default graph -----------------------------------------------------------------------------


def test_default_graphs_nest():
    outer = tf.get_default_graph()
    with tf.Graph().as_default() as first, tf.Graph().as_default() as second:
        assert tf.get_default_graph() is second
        assert first is not second
    assert tf.get_default_graph() is outer


def test_reset():
    op("x")
    tf.reset_default_graph()
    assert tf.get_default_graph().get_operations() == []
    with tf.Graph().as_default(), pytest.raises(AssertionError, match="nested graphs"):
        tf.reset_default_graph()


def test_finalized_graph_refuses():
    op("x")
    graph = tf.get_default_graph()
    graph.finalize()
    assert graph.finalized
    with pytest.raises(RuntimeError, match="finalized"):
        op("y")
    assert len(graph.get_operations()) == 1


def test_scopes_belong_to_the_thread():
    graph, seen = tf.get_default_graph(), []

    def work():
        with graph.as_default():
            seen.append(op("x").name)

    with tf.name_scope("outer"), tf.control_dependencies([op("a")]):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == ["x"]
    assert graph.get_operation_by_name("x").control_inputs == []


def test_graphs_can_be_collected():
    def work():
        with tf.Graph().as_default() as graph:
            x = tf.placeholder(tf.float32, (2,))
            _ = tf.exp(x) * 2.0 + tf.reduce_sum(x)
            return weakref.ref(graph.get_operations()[0])

    gone = work()
    gc.collect()
    assert gone() is None


# -- printing, refusing ----------------------------------------------------------------------------


def test_printed():
    x = tf.placeholder(tf.float32, (None, 3), name="x")
    unknown = tf.placeholder(tf.int32, name="u")
    assert str(x) == 'Tensor("x:0", shape=(?, 3), dtype=float32)'
    assert str(unknown) == 'Tensor("u:0", dtype=int32)'
    assert repr(x) == "<tf.Tensor 'x:0' shape=(?, 3) dtype=float32>"
    assert repr(x.op) == "<tf.Operation 'x' type=Placeholder>"
    with tf.device("/gpu:0"):
        y = tf.identity(x, name="y")
    assert str(y) == 'Tensor("y:0", shape=(?, 3), dtype=float32, device=/device:GPU:0)'


def test_tensors_refuse_to_be_numbers():
    x = tf.placeholder(tf.float32, (2,))
    for use in (bool, iter, len):
        with pytest.raises(TypeError):
            use(x)
    import numpy as np

    with pytest.raises(NotImplementedError, match="symbolic"):
        np.asarray(x)


def test_type_is_tensor():
    assert type(tf.constant(1.0)) is tf.Tensor
    assert type(tf.constant(1.0).op) is tf.Operation
    assert tf.is_tensor(tf.constant(1.0))
    assert not tf.is_tensor(3)


def test_set_shape_adds_and_refuses_to_contradict():
    x = tf.placeholder(tf.float32, (None, 3))
    y = tf.exp(x)
    y.set_shape([2, None])
    assert y.shape.as_list() == [2, 3]
    with pytest.raises(ValueError, match="not compatible"):
        y.set_shape([2, 4])
    with pytest.raises(ValueError, match="not compatible"):
        y.set_shape([2])
    assert x.shape.as_list() == [None, 3]


def test_values_fold_through_the_arithmetic_of_shapes():
    x = tf.placeholder(tf.float32, (None, 3, 4))
    n = tf.shape(x)[0]
    assert tf.reshape(x, [n, 12]).shape.as_list() == [None, 12]
    assert tf.reshape(x, tf.stack([n, tf.shape(x)[1] * 4])).shape.as_list() == [None, 12]
    assert tf.zeros(tf.concat([tf.shape(x)[:2], [7]], 0)).shape.as_list() == [None, 3, 7]
    assert tf.fill([n, 5], 1.0).shape.as_list() == [None, 5]
    assert tf.zeros(tf.shape(x)).shape.as_list() == [None, 3, 4]
    y = tf.placeholder(tf.float32, (2, 3))
    assert tf.range(tf.size(y)).shape.as_list() == [6]
    assert tf.ones([tf.reduce_prod(tf.shape(y)), 2 * tf.shape(y)[-1] - 1]).shape.as_list() == [6, 5]

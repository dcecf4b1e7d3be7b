"""Checkpoints without a graph, and variables that start from one."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import headrace as tf
from headrace.train.checkpoint_reader import (
    NewCheckpointReader,
    checkpoints_iterator,
    init_from_checkpoint,
    list_variables,
    load_checkpoint,
    load_variable,
)
from headrace.train.saver import Saver

A = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A checkpoint `old/m`, in the working directory."""
    monkeypatch.chdir(tmp_path)
    with tf.Graph().as_default(), tf.Session() as s:
        with tf.variable_scope("old"):
            tf.get_variable("a", initializer=A)
            tf.get_variable("n", initializer=np.int64(7))
        tf.get_variable("word", initializer="hello")
        s.run(tf.global_variables_initializer())
        return Saver().save(s, "old/m")


def test_a_reader(saved):
    reader = load_checkpoint("old")
    assert reader.get_variable_to_shape_map() == {"old/a": [3, 2], "old/n": [], "word": []}
    assert reader.get_variable_to_dtype_map() == {
        "old/a": tf.float32, "old/n": tf.int64, "word": tf.string,
    }  # fmt: skip
    assert reader.has_tensor("word")
    assert not reader.has_tensor("words")
    np.testing.assert_array_equal(reader.get_tensor("old/a"), A)
    assert reader.get_tensor("word") == b"hello"
    assert NewCheckpointReader(saved).debug_string() == (
        b"old/a (DT_FLOAT) [3,2]\nold/n (DT_INT64) []\nword (DT_STRING) []\n"
    )
    assert list_variables(saved) == [("old/a", [3, 2]), ("old/n", []), ("word", [])]
    assert load_variable(saved, "old/n:0") == 7


def test_what_is_not_there(saved, tmp_path):
    with pytest.raises(tf.errors.NotFoundError, match="Key x not found in checkpoint"):
        load_variable(saved, "x")
    with pytest.raises(tf.errors.NotFoundError, match="Failed to find any matching files for no"):
        load_checkpoint("no")
    with pytest.raises(ValueError, match="Couldn't find 'checkpoint' file or checkpoints in"):
        load_checkpoint(tmp_path)


def values(*variables):
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        return s.run(list(variables))


@pytest.mark.parametrize("use_resource", [False, True])
def test_variables_start_from_a_checkpoint(saved, use_resource):
    with tf.variable_scope("new", use_resource=use_resource):
        a = tf.get_variable("a", (3, 2))
        n = tf.get_variable("n", (), tf.int64)
        other = tf.get_variable("other", (3, 2), initializer=tf.zeros_initializer())
    init_from_checkpoint("old", {"old/a": "new/a", "old/n": n})
    got = values(a, n, other)
    np.testing.assert_array_equal(got[0], A)
    assert got[1] == 7
    assert not got[2].any()
    init_from_checkpoint(saved, [("old/a", other)])
    np.testing.assert_array_equal(values(other)[0], A)


@pytest.mark.parametrize("names", [{"old/": "new/"}, {"old/": "new/inner/"}, {"/": "/"}])
def test_scopes_start_from_a_checkpoint(saved, names):
    scope = {"old/": "new/"}.get(next(iter(names)), "old")
    scope = "new/inner" if "inner" in str(names) else scope.rstrip("/")
    with tf.variable_scope(scope):
        a = tf.get_variable("a", (3, 2))
        n = tf.get_variable("n", (), tf.int64)
    init_from_checkpoint("old", names)
    got = values(a, n)
    np.testing.assert_array_equal(got[0], A)
    assert got[1] == 7


def test_parts_start_from_a_checkpoint(saved):
    cut = tf.fixed_size_partitioner(2)
    a = tf.get_variable("new/a", (3, 2), partitioner=cut)
    b = tf.get_variable("b", (3, 2), partitioner=cut)
    init_from_checkpoint("old", {"old/a": "new/a"})
    init_from_checkpoint("old", {"old/a": list(b)})
    for got in values(a.as_tensor(), b.as_tensor()):
        np.testing.assert_array_equal(got, A)
    with pytest.raises(ValueError, match="Slices must all be from the same tensor"):
        init_from_checkpoint("old", {"old/a": [a._variable_list[0], b._variable_list[1]]})


def test_what_does_not_fit(saved):
    tf.get_variable("new/a", (3, 3))
    for names, message in (
        ({"old/a": "new/a"}, r"Shape of variable new/a:0 \(\(3, 3\)\) doesn't match with shape of"),
        ({"old/b": "new/a"}, "Tensor old/b is not found in old checkpoint"),
        ({"old/a": "other/a"}, "Assignment map with scope only name other"),
        ({"olds/": "new/"}, r"Tensor olds/a \(a in olds/\) is not found in old checkpoint"),
    ):
        with pytest.raises(ValueError, match=message):
            init_from_checkpoint("old", names)


def test_new_checkpoints_as_they_come(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(checkpoints_iterator(".", timeout=0)) == []
    tf.Variable(1.0, name="x")
    saver = Saver()
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        saver.save(s, "m", global_step=1)
        found = checkpoints_iterator(".", timeout=20)
        assert next(found) == "./m-1"
        thread = threading.Timer(0.2, saver.save, (s, "m", 2), {"write_meta_graph": False})
        thread.start()
        assert next(found) == "./m-2"
        thread.join()
    asked = []
    for path in checkpoints_iterator(".", 0.01, 0.05, lambda: asked.append(1) or len(asked) > 2):
        assert path == "./m-2"
    assert len(asked) == 3
    start = time.time()
    assert list(checkpoints_iterator(".", timeout=0.05)) == ["./m-2"]
    assert time.time() - start < 5

"""`tf.train.Saver`: which files there are when, what is in them, and what is said if it fails."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import headrace as tf
from headrace.train import saver as saver_module
from headrace.train.checkpoint_reader import list_variables, load_variable
from headrace.train.checkpoint_state import (
    checkpoint_exists,
    generate_checkpoint_state_proto,
    get_checkpoint_mtimes,
    get_checkpoint_state,
    latest_checkpoint,
    remove_checkpoint,
    update_checkpoint_state,
)
from headrace.train.saveable import SaveableObject, SaveSpec
from headrace.train.saver import Saver


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory is an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def session():
    made = tf.Session()
    made.run(tf.global_variables_initializer())
    return made


def names_in(directory, without_meta=True):
    return sorted(p for p in os.listdir(directory) if not (without_meta and p.endswith(".meta")))


# -- the lecture -----------------------------------------------------------------------------------


def test_the_lectures_checkpoints(here):
    os.mkdir("logs")
    features = tf.placeholder(tf.float32, (None, 3))
    target = tf.placeholder(tf.float32, (None, 1))
    weights = tf.get_variable("weights", (3, 1))
    loss = tf.reduce_mean((tf.matmul(features, weights) - target) ** 2)
    step = tf.train.AdamOptimizer(0.1).minimize(loss)
    rng = np.random.default_rng(0)
    x, y = rng.random((10, 3)), rng.random((10, 1))
    s = tf.InteractiveSession()
    saver = Saver(tf.trainable_variables())
    s.run(tf.global_variables_initializer())
    kept = {}
    for i in range(300):
        s.run([step, loss, weights], feed_dict={features: x, target: y})
        if i % 50 == 0:
            kept[i] = s.run(weights)
            saver.save(s, "logs/2/model.ckpt", global_step=i)
    assert saver.last_checkpoints == [
        "logs/2/model.ckpt-50", "logs/2/model.ckpt-100",
        "logs/2/model.ckpt-150", "logs/2/model.ckpt-200",
        "logs/2/model.ckpt-250",
    ]  # fmt: skip
    assert not checkpoint_exists("logs/2/model.ckpt-0")
    saver.restore(s, "logs/2/model.ckpt-50")
    np.testing.assert_array_equal(s.run(weights), kept[50])
    assert latest_checkpoint("logs/2") == "logs/2/model.ckpt-250"
    assert list_variables("logs/2") == [("weights", [3, 1])]
    s.close()


# -- values there and back -------------------------------------------------------------------------


@pytest.mark.parametrize("use_resource", [False, True])
def test_values_come_back_time_and_again(here, use_resource):
    x = tf.Variable([1.0, 2.0], name="x", use_resource=use_resource)
    n = tf.Variable(np.int64(3), name="n", use_resource=use_resource)
    words = tf.Variable(["a", "bc"], name="words", use_resource=use_resource)
    double = [x.assign(x * 2), n.assign_add(1)]
    saver = Saver(max_to_keep=10)
    with session() as s:
        for _ in range(5):  # interpreted at first, compiled later
            saver.save(s, "m", global_step=n)
            s.run(double)
        assert saver.last_checkpoints == ["m-3", "m-4", "m-5", "m-6", "m-7"]
        for i in range(5):
            saver.restore(s, f"m-{3 + i}")
            assert s.run(x).tolist() == [2.0**i, 2.0 ** (i + 1)]
            assert s.run(n) == 3 + i
            assert s.run(words).tolist() == [b"a", b"bc"]


def test_restoring_initialises(here):
    x = tf.Variable([1.0, 2.0], name="x")
    y = tf.Variable(5, name="y")
    saver = Saver([x])
    with session() as s:
        s.run(x.assign([7.0, 8.0]))
        saver.save(s, "m")
    with tf.Session() as s:
        saver.restore(s, "m")
        assert s.run(x).tolist() == [7.0, 8.0]
        assert not s.run(tf.is_variable_initialized(y))


def test_another_graph_takes_a_part_under_other_names(here):
    with tf.Graph().as_default():
        a, b = tf.Variable(1.0, name="a"), tf.Variable([2.0], name="b")
        with session() as s:
            Saver({"first": a, "second": b}).save(s, "m")
    assert list_variables("m") == [("first", []), ("second", [1])]
    with tf.Graph().as_default():
        c = tf.Variable(0.0, name="c", use_resource=True)
        saver = Saver({"first": c})
        with tf.Session() as s:
            saver.restore(s, "m")
            assert s.run(c) == 1.0


def test_reshape(here):
    with tf.Graph().as_default():
        tf.Variable(np.arange(6.0), name="x")
        with session() as s:
            Saver().save(s, "m")
    with tf.Graph().as_default():
        for kind in (False, True):
            x = tf.Variable(np.zeros((2, 3)), name=f"x{kind}", use_resource=kind)
            with tf.Session() as s:
                Saver({"x": x}, reshape=True).restore(s, "m")
                assert s.run(x).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("sharded", [False, True])
def test_partitions_are_saved_as_one_and_read_as_others(here, sharded):
    whole = np.arange(35, dtype=np.float32).reshape(7, 5)
    for i, (parts, axis, use_resource) in enumerate([(3, 0, False), (2, 1, True), (4, 0, True)]):
        with tf.Graph().as_default(), tf.Session() as s:
            v = tf.get_variable(
                "v", (7, 5), partitioner=tf.fixed_size_partitioner(parts, axis),
                use_resource=use_resource,
            )  # fmt: skip
            saver = Saver(sharded=sharded)
            if i:
                saver.restore(s, f"m{i - 1}")
            else:
                s.run(tf.global_variables_initializer())
                s.run(v.assign(whole))
            assert s.run(v.as_tensor()).tolist() == whole.tolist()
            saver.save(s, f"m{i}")
        assert list_variables(f"m{i}") == [("v", [7, 5])]
    with tf.Graph().as_default(), tf.Session() as s:
        v = tf.get_variable("v", (7, 5))
        Saver().restore(s, "m2")
        assert s.run(v).tolist() == whole.tolist()


def test_shards_are_by_device(here):
    with tf.device("/job:ps/task:0"):
        a = tf.Variable(1.0, name="a")
    with tf.device("/job:ps/task:1"):
        b = tf.Variable(2.0, name="b")
    saver = Saver(sharded=True)
    with session() as s:
        for _ in range(2):
            assert saver.save(s, "m", write_meta_graph=False) == "m"
            assert names_in(".") == [
                "checkpoint", "m.data-00000-of-00002", "m.data-00001-of-00002", "m.index",
            ]  # fmt: skip
        s.run([a.assign(0.0), b.assign(0.0)])
        saver.restore(s, "m")
        assert s.run([a, b]) == [1.0, 2.0]


class Counter(SaveableObject):
    """Saves twice the variable; takes half of what was saved."""

    def __init__(self, variable):
        self.variable = variable
        super().__init__(variable.op, [SaveSpec(variable * 2, "", "doubled")], "doubled")

    def restore(self, restored_tensors, restored_shapes):
        return self.variable.assign(restored_tensors[0] / 2)


def test_saveable_objects_of_the_users_own(here):
    x = tf.Variable(3.0, name="x")
    tf.add_to_collection(tf.GraphKeys.SAVEABLE_OBJECTS, Counter(tf.Variable(5.0, name="y")))
    y = tf.global_variables()[1]
    saver = Saver([x, *tf.get_collection(tf.GraphKeys.SAVEABLE_OBJECTS)])
    with session() as s:
        saver.save(s, "m")
        assert load_variable("m", "doubled") == 10.0
        s.run([x.assign(0.0), y.assign(0.0)])
        saver.restore(s, "m")
        assert s.run([x, y]) == [3.0, 5.0]


# -- which files there are -------------------------------------------------------------------------


def test_the_oldest_are_deleted_after_the_state_file_says_so(here, monkeypatch):
    tf.Variable(1.0, name="x")
    saver = Saver(max_to_keep=2)
    removed = []

    def remove(path, *args):
        assert path not in get_checkpoint_state(".").all_model_checkpoint_paths
        removed.append(path)
        remove_checkpoint(path, *args)

    monkeypatch.setattr(saver_module, "remove_checkpoint", remove)
    with session() as s:
        for i in range(4):
            saver.save(s, "m", global_step=i)
    assert removed == ["m-0", "m-1"]
    assert names_in(".", without_meta=False) == [
        "checkpoint",
        *(f"m-{i}.{tail}" for i in (2, 3) for tail in ("data-00000-of-00001", "index", "meta")),
    ]


def test_saving_a_step_again_moves_it_to_the_end(here):
    tf.Variable(1.0, name="x")
    saver = Saver(max_to_keep=3)
    with session() as s:
        for i in (1, 2, 1, 3):
            saver.save(s, "m", global_step=i)
    assert saver.last_checkpoints == ["m-2", "m-1", "m-3"]
    assert latest_checkpoint(".") == os.path.join(".", "m-3")


@pytest.mark.parametrize("max_to_keep", [None, 0])
def test_all_are_kept_if_none_is_to_be_deleted(here, max_to_keep):
    tf.Variable(1.0, name="x")
    saver = Saver(max_to_keep=max_to_keep)
    with session() as s:
        for i in range(7):
            saver.save(s, "m", global_step=i)
    assert saver.last_checkpoints == []
    assert all(checkpoint_exists(f"m-{i}") for i in range(7))
    state = get_checkpoint_state(".")
    assert list(state.all_model_checkpoint_paths) == ["./m-6"]


def test_one_every_n_hours_is_kept(here, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    tf.Variable(1.0, name="x")
    saver = Saver(max_to_keep=1, keep_checkpoint_every_n_hours=1)
    with session() as s:
        for i in range(8):
            clock[0] += 1500
            saver.save(s, "m", global_step=i)
    assert [i for i in range(8) if checkpoint_exists(f"m-{i}")] == [2, 4, 7]


def test_steps_are_padded_if_asked(here):
    step = tf.train.get_or_create_global_step()
    with session() as s:
        assert Saver(pad_step_number=True).save(s, "m", step) == "m-00000000"
        assert Saver().save(s, "m", "global_step:0") == "m-0"
        assert Saver().save(s, "m", np.int64(12)) == "m-12"


def test_relative_paths_survive_a_move(here):
    tf.Variable(1.0, name="x")
    (here / "a").mkdir()
    with session() as s:
        Saver(save_relative_paths=True).save(s, str(here / "a" / "m"), global_step=1)
        Saver().save(s, str(here / "a" / "n"), latest_filename="absolute")
    assert (here / "a" / "checkpoint").read_text() == (
        'model_checkpoint_path: "m-1"\nall_model_checkpoint_paths: "m-1"\n'
    )
    os.rename("a", "b")
    assert latest_checkpoint("b") == "b/m-1"
    assert latest_checkpoint(here / "b") == str(here / "b" / "m-1")
    with pytest.warns(UserWarning, match="Couldn't match files for checkpoint"):
        assert latest_checkpoint("b", "absolute") is None


def test_a_second_run_goes_on(here):
    for run in range(2):
        with tf.Graph().as_default():
            step = tf.train.get_or_create_global_step()
            more = step.assign_add(1)
            saver = Saver(max_to_keep=3)
            with tf.Session() as s:
                state = get_checkpoint_state("logs")
                if state is None:
                    assert run == 0
                    s.run(tf.global_variables_initializer())
                else:
                    saver.restore(s, state.model_checkpoint_path)
                    saver.recover_last_checkpoints([*state.all_model_checkpoint_paths, "gone-1"])
                for _ in range(4):
                    s.run(more)
                    saver.save(s, "logs/m", global_step=step)
    assert saver.last_checkpoints == ["logs/m-6", "logs/m-7", "logs/m-8"]
    assert [i for i in range(10) if checkpoint_exists(f"logs/m-{i}")] == [6, 7, 8]


def test_last_checkpoints_that_are_told(here):
    tf.Variable(1.0, name="x")
    saver = Saver(max_to_keep=1)
    with session() as s:
        Saver().save(s, "old")
        saver.set_last_checkpoints(["old"])
        saver.save(s, "m")
    assert saver.last_checkpoints == ["m"]
    assert checkpoint_exists("old")  # those that are told without a time are never deleted
    saver.set_last_checkpoints_with_time([("a", 1.0), ("b", 2.0)])
    assert saver.last_checkpoints == ["a", "b"]


def test_without_state_or_meta_graph(here):
    tf.Variable(1.0, name="x")
    with session() as s:
        Saver().save(s, "m", write_state=False, write_meta_graph=False)
    assert names_in(".", without_meta=False) == ["m.data-00000-of-00001", "m.index"]


def test_the_state_file(here):
    state = generate_checkpoint_state_proto("logs", "logs/m-2", ["logs/m-1", "/abs/m"], [1, 2, 3])
    assert state.model_checkpoint_path == "m-2"
    assert list(state.all_model_checkpoint_paths) == ["m-1", "/abs/m", "m-2"]
    with pytest.raises(ValueError, match="timestamps, if provided, must match"):
        generate_checkpoint_state_proto("logs", "m", [], [1, 2])
    with pytest.raises(RuntimeError, match="conflicts with path used for checkpoint state"):
        update_checkpoint_state("", "checkpoint")
    assert get_checkpoint_state(".") is None
    (here / "checkpoint").write_text("no text of a proto {")
    with pytest.warns(UserWarning, match="Checkpoint ignored"):
        assert get_checkpoint_state(".") is None
    (here / "checkpoint").write_text("")
    with pytest.raises(ValueError, match="Invalid checkpoint state loaded from"):
        get_checkpoint_state(".")
    update_checkpoint_state(".", "é\n")
    assert get_checkpoint_state(".").model_checkpoint_path == "./é\n"


def test_times_and_removal(here):
    tf.Variable(1.0, name="x")
    with session() as s:
        Saver().save(s, "m")
    (written,) = get_checkpoint_mtimes(["m", "gone"])
    assert abs(written - time.time()) < 100
    assert not checkpoint_exists("gone")
    remove_checkpoint("m")
    assert names_in(".", without_meta=False) == ["checkpoint"]


# -- what is said ----------------------------------------------------------------------------------


def test_nothing_to_save(here):
    with pytest.raises(ValueError, match="No variables to save"):
        Saver()
    saver = Saver(allow_empty=True)
    tf.constant(1)
    with tf.Session() as s:
        assert saver.save(s, "m") is None
        saver.restore(s, "m")


def test_deferred(here):
    saver = Saver(defer_build=True)
    x = tf.Variable(1.0, name="x")
    with session() as s:
        with pytest.raises(RuntimeError, match=r"`build\(\)` should be called before save"):
            saver.save(s, "m")
        saver.build()
        saver.save(s, "m")
    with pytest.raises(ValueError, match="build cannot be deferred"):
        Saver([x], defer_build=True)


def test_what_is_no_list_of_variables():
    x, y = tf.Variable(1.0, name="x"), tf.Variable(1.0, name="y")
    for bad, error, message in (
        ([x, x], ValueError, "At least two variables have the same name: x"),
        ({"a": x, "b": x}, ValueError, "will be restored with two names: b"),
        (x, TypeError, "should be passed in a dict or a list"),
        ([x + y], TypeError, "Variable to save is not a Variable"),
        ({"a": x + y}, TypeError, "Not a variable"),
        ({1: x}, TypeError, "Name is not a string: 1"),
        ({"a": [x, y]}, ValueError, "Slices must all be slices"),
    ):
        with pytest.raises(error, match=message):
            Saver(bad)
    assert Saver([[x], (y,)]).saver_def.save_tensor_name.endswith("control_dependency:0")


def test_where_it_cannot_be_saved(here):
    tf.Variable(1.0, name="x")
    saver = Saver()
    with session() as s:
        with pytest.raises(ValueError, match="Parent directory of a/b/m doesn't exist, can't save"):
            saver.save(s, "a/b/m")
        with pytest.raises(ValueError, match="'latest_filename' collides with 'save_path'"):
            saver.save(s, "checkpoint")
        with pytest.raises(ValueError, match="must not contain path components"):
            saver.save(s, "m", latest_filename="a/b")
        with pytest.raises(TypeError, match="'sess' must be a Session; 3"):
            saver.save(3, "m")
        (here / "file").write_text("")
        with pytest.raises(tf.errors.OpError):
            saver.save(s, "file/m")
        assert saver.last_checkpoints == []


def test_a_variable_without_a_value(here):
    tf.Variable(1.0, name="x")
    with (
        tf.Session() as s,
        pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value x"),
    ):
        Saver().save(s, "m")
    assert os.listdir(".") == []


def saved(**values):
    with tf.Graph().as_default():
        for name, value in values.items():
            tf.Variable(value, name=name)
        with session() as s:
            return Saver().save(s, "m")


def test_no_such_checkpoint(here):
    tf.Variable(1.0, name="x")
    with tf.Session() as s:
        with pytest.raises(ValueError, match="Can't load save_path when it is None"):
            Saver().restore(s, None)
        with pytest.raises(ValueError, match="The passed save_path is not a valid checkpoint: m"):
            Saver().restore(s, "m")


def test_a_variable_that_the_checkpoint_lacks(here):
    saved(kernel=1.0, bias=2.0)
    tf.Variable(1.0, name="kernels")
    with tf.Session() as s, pytest.raises(tf.errors.NotFoundError) as caught:
        Saver().restore(s, "m")
    text = str(caught.value)
    assert "a Variable name or other graph key that is missing from the checkpoint" in text
    assert "Key kernels not found in checkpoint" in text
    assert "  bias: float32 []" in text
    assert "Nearest to kernels: kernel" in text
    assert "save/RestoreV2" in text


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_variable_of_another_shape_or_type(here, use_resource):
    saved(x=[1.0, 2.0], y=[1.0])
    y = tf.Variable([5.0], name="y", use_resource=use_resource)
    for other, message in (
        ([1.0, 2.0, 3.0], r"x is float32 \[3\] in the graph and float32 \[2\] in the checkpoint"),
        ([1, 2], r"x is int32 \[2\] in the graph and float32 \[2\] in the checkpoint"),
    ):
        x = tf.Variable(other, name="x", use_resource=use_resource)
        with (
            session() as s,
            pytest.raises(tf.errors.InvalidArgumentError, match=message) as caught,
        ):
            Saver({"x": x, "y": y}).restore(s, "m")
        assert "a mismatch between the current graph and the graph" in str(caught.value)


def test_a_failed_restore_changes_nothing(here):
    saved(x=[1.0, 2.0], y=[1.0])
    y = tf.Variable([5.0], name="y")
    x = tf.Variable([1.0, 2.0, 3.0], name="x")
    with session() as s:
        with pytest.raises(tf.errors.InvalidArgumentError):
            Saver().restore(s, "m")
        assert s.run(y).tolist() == [5.0]
        assert s.run(x).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("file", ["m.index", "m.data-00000-of-00001"])
@pytest.mark.parametrize("how", ["cut", "flip"])
def test_a_broken_file(here, file, how):
    saved(x=[1.0, 2.0], y=[1.0])
    data = bytearray((here / file).read_bytes())
    if how == "cut":
        del data[-5:]
    else:
        data[2] ^= 64
    (here / file).write_bytes(data)
    tf.Variable([5.0, 6.0], name="x")
    tf.Variable([5.0], name="y")
    with tf.Session() as s, pytest.raises(tf.errors.DataLossError):
        Saver().restore(s, "m")


def test_the_first_format_is_not_written():
    tf.Variable(1.0, name="x")
    with pytest.raises(NotImplementedError, match="writes only the second"):
        Saver(write_version=1)


def test_no_space_left(here):
    x = tf.Variable(np.zeros(100_000), name="x")
    saver = Saver()
    with session() as s:
        saver.save(s, "m", global_step=1)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            with pytest.raises(tf.errors.ResourceExhaustedError, match="File too large"):
                saver.save(s, "m", global_step=2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert names_in(".") == ["checkpoint", "m-1.data-00000-of-00001", "m-1.index"]
        assert latest_checkpoint(".") == "./m-1"
        assert saver.last_checkpoints == ["m-1"]
        assert s.run(x).shape == (100_000,)
        saver.save(s, "m", global_step=2)
    assert latest_checkpoint(".") == "./m-2"


# -- the operations --------------------------------------------------------------------------------


def test_the_operations_have_tensorflows_names():
    x = tf.Variable([1.0, 2.0], name="x")
    saver = Saver()
    made = [(op.name, op.type) for op in tf.get_default_graph().get_operations()]
    assert made[made.index(("x/read", "Identity")) + 1 :] == [
        ("save/filename/input", "Const"),
        ("save/filename", "PlaceholderWithDefault"),
        ("save/Const", "PlaceholderWithDefault"),
        ("save/SaveV2/tensor_names", "Const"),
        ("save/SaveV2/shape_and_slices", "Const"),
        ("save/SaveV2", "SaveV2"),
        ("save/control_dependency", "Identity"),
        ("save/RestoreV2/tensor_names", "Const"),
        ("save/RestoreV2/shape_and_slices", "Const"),
        ("save/RestoreV2", "RestoreV2"),
        ("save/Assign", "Assign"),
        ("save/restore_all", "NoOp"),
    ]
    assert saver.as_saver_def().restore_op_name == "save/restore_all"
    assert Saver([x]).saver_def.filename_tensor_name == "save_1/Const:0"
    assert saver.to_proto(export_scope="other") is None
    assert saver.to_proto(export_scope="save").restore_op_name == "restore_all"


def test_a_saver_of_operations_that_are_there(here):
    x = tf.Variable([1.0, 2.0], name="x")
    with session() as s:
        again = Saver.from_proto(Saver().to_proto())
        again.save(s, "m")
        s.run(x.assign([0.0, 0.0]))
        again.restore(s, "m")
        assert s.run(x).tolist() == [1.0, 2.0]
    assert again.last_checkpoints == ["m"]


# -- kills -----------------------------------------------------------------------------------------

LOOP = """
    import os, sys
    import headrace as tf
    from headrace.train.saver import Saver
    from headrace.train.checkpoint_state import latest_checkpoint

    same = sys.argv[1] == "same"
    step = tf.train.get_or_create_global_step()
    x = tf.get_variable("x", (20000,), initializer=tf.zeros_initializer())
    with tf.control_dependencies([x.assign_add(tf.ones((20000,)))]):
        more = step.assign_add(1)
    saver = Saver()
    with tf.Session() as s:
        found = latest_checkpoint("logs") if os.path.isdir("logs") else None
        if found is None:
            s.run(tf.global_variables_initializer())
        else:
            saver.restore(s, found)
        n, values = s.run([step, x])
        assert (values == n).all(), (n, values)
        print(n, flush=True)
        while True:
            s.run(more)
            saver.save(s, "logs/m", None if same else step, write_meta_graph=False)
            print(s.run(step), flush=True)
"""


def kill_again_and_again(times, how, seed):
    rng = np.random.default_rng(seed)
    reached = 0
    for _ in range(times):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(LOOP), how],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        start = child.stdout.readline()
        assert start, child.stderr.read()
        assert int(start) >= reached  # what was reported saved is there
        time.sleep(rng.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        reached = int((start + rest).split("\n")[-2])
    return reached


@pytest.mark.parametrize("how", ["same", "numbered"])
def test_kills_lose_only_the_save_under_way(here, how):
    assert kill_again_and_again(4, how, seed=1) > 0


@pytest.mark.slow
def test_two_hundred_kills(here):
    assert kill_again_and_again(100, "same", seed=2) > 0
    for path in os.listdir("logs"):
        os.unlink(f"logs/{path}")
    assert kill_again_and_again(100, "numbered", seed=3) > 0

"""MonitoredSession and what goes with it; tests/tensorflow/test_supervision.py has the rest."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import headrace as tf

STEPS = "global_step"


@pytest.fixture(autouse=True)
def no_writer_stays():
    yield
    tf.summary.FileWriterCache.clear()


def counting_step():
    """An operation that adds 1 to the global step and 2 to `twice`."""
    step = tf.train.get_or_create_global_step()
    twice = tf.get_variable("twice", [], tf.int32, tf.zeros_initializer(), trainable=False)
    return tf.group(step.assign_add(1), twice.assign_add(2))


class Calls(tf.train.SessionRunHook):
    """Notes what is called."""

    def __init__(self):
        self.calls = []

    def after_run(self, run_context, run_values):
        self.calls.append("after_run")

    def end(self, session):
        self.calls.append("end")

    def interrupt(self, session):
        self.calls.append("interrupt")


def interrupted(session, act):
    """A block that Ctrl-C ends."""
    with session:
        act()
        raise KeyboardInterrupt


def saved_step(directory):
    return int(tf.train.load_variable(str(directory), STEPS))


# -- Ctrl-C ----------------------------------------------------------------------------------------

TRAINING = """if True:
    import os, sys, threading
    import numpy as np
    import headrace as tf

    queue = tf.FIFOQueue(8, tf.float32, [[32]])
    fill = queue.enqueue(tf.random_normal([32], seed=1))
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [fill]))
    w = tf.get_variable("w", [32, 64], initializer=tf.glorot_uniform_initializer(seed=2))
    loss = tf.reduce_mean(tf.square(tf.matmul(queue.dequeue_many(16), w)))
    step = tf.train.get_or_create_global_step()
    twice = tf.get_variable("twice", [], tf.int32, tf.zeros_initializer(), trainable=False)
    train = tf.train.AdamOptimizer(1e-3).minimize(loss, step)
    train = tf.group(train, twice.assign_add(2))
    tf.summary.scalar("loss", loss)
    done = None
    try:
        with tf.train.MonitoredTrainingSession(checkpoint_dir=sys.argv[1]) as session:
            print("from", *session._sess.run([step, twice]), flush=True)
            while True:
                session.run(train)
                done = session.run_step_fn(lambda step_context: step_context.session.run(step))
                if done % 50 == 0:
                    print("at", done, flush=True)
    finally:
        alive = [t.name for t in threading.enumerate() if "QueueRunner" in t.name]
        tf.summary.FileWriterCache.clear()
        print("end", done, tf.get_default_graph().finalized, alive, flush=True)
"""


def test_ctrl_c_saves_and_a_second_start_goes_on(tmp_path):
    at = 0
    for turn in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(tmp_path)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdout.readline() == f"from {at} {2 * at}\n"
        assert child.stdout.readline().startswith("at ")
        time.sleep(0.003 * turn)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        assert child.returncode == -signal.SIGINT
        assert err.splitlines()[-1] == "KeyboardInterrupt"
        _, done, finalized, alive = out.splitlines()[-1].split(" ", 3)
        assert (finalized, alive) == ("False", "[]")
        now = saved_step(tmp_path)
        assert now - int(done) in (0, 1)  # it may come between the step and the look at it
        assert tf.train.load_variable(str(tmp_path), "twice") == 2 * now
        assert tf.train.latest_checkpoint(str(tmp_path)).endswith(f"model.ckpt-{now}")
        assert now > at
        at = now


def test_ctrl_c_acts_at_once_where_a_run_waits(tmp_path):
    queue = tf.FIFOQueue(8, tf.int64, [[]])
    step = tf.train.get_or_create_global_step()
    op = step.assign_add(queue.dequeue())
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    saver = tf.train.CheckpointSaverHook(str(tmp_path), save_secs=1000)
    scaffold = tf.train.Scaffold(saver=tf.train.Saver())
    saver._scaffold = scaffold
    creator = tf.train.ChiefSessionCreator(scaffold)

    def run():
        with tf.train.MonitoredSession(creator, [saver]) as session:
            timer.start()
            session.run(op)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert saved_step(tmp_path) == 0


@pytest.mark.parametrize("runs_before", [0, 1, 5])  # NumPy's run, the one that compiles, XLA's
def test_ctrl_c_leaves_whole_steps(runs_before):
    sent = []

    def interrupt(x):
        if sent:
            os.kill(os.getpid(), sent.pop())
        return x

    hook = Calls()
    op = counting_step()
    with tf.control_dependencies([op]):
        op = tf.py_func(interrupt, [tf.train.get_global_step() * 1], tf.int64)
    values = []

    def run():
        with tf.train.MonitoredSession(hooks=[hook]) as session:
            for _ in range(runs_before):
                session.run(op)
            sent.append(signal.SIGINT)
            try:
                session.run(op)
            finally:
                values.extend(session._sess.run([STEPS + ":0", "twice:0"]))

    with pytest.raises(KeyboardInterrupt):
        run()
    assert not sent
    steps = runs_before + (runs_before > 0)  # NumPy's run is broken off, and changes nothing
    assert values == [steps, 2 * steps]
    assert hook.calls == ["after_run"] * runs_before + ["interrupt"]


def test_a_second_ctrl_c_is_not_held_back():
    def interrupt(x):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # the signal is acted on here
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
        return x

    counting_step()
    op = tf.train.get_global_step().assign_add(tf.py_func(interrupt, [np.int64(1)], tf.int64))
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), tf.train.MonitoredSession() as session:
        session.run(op)
    assert time.monotonic() - begun < 5


def test_ctrl_c_of_the_program_is_respected():
    """A program that handles SIGINT itself goes on doing so."""
    caught = []
    before = signal.signal(signal.SIGINT, lambda *_: caught.append(1))
    try:
        counting_step()
        op = tf.train.get_global_step().assign_add(
            tf.py_func(lambda: os.kill(os.getpid(), signal.SIGINT) or np.int64(1), [], tf.int64)
        )
        with tf.train.MonitoredSession() as session:
            assert session.run(op) == 1
            assert caught == [1]
    finally:
        signal.signal(signal.SIGINT, before)


def test_keyboard_interrupt_in_the_block(tmp_path):
    class Foreign:  # looks like a hook, and is none
        def begin(self): ...
        def after_create_session(self, session, coord): ...
        def before_run(self, run_context): ...
        def after_run(self, run_context, run_values): ...
        def end(self, session):
            raise AssertionError("It was no end.")

    hook = Calls()
    op = counting_step()
    session = tf.train.MonitoredTrainingSession(
        checkpoint_dir=str(tmp_path), hooks=[hook, Foreign()], save_checkpoint_steps=100
    )
    with pytest.raises(KeyboardInterrupt):
        interrupted(session, lambda: [session.run(op) for _ in range(7)])
    assert hook.calls == ["after_run"] * 7 + ["interrupt"]
    assert saved_step(tmp_path) == 7
    assert session.should_stop()
    assert not tf.get_default_graph().finalized


def test_a_save_that_fails_after_ctrl_c_is_told(tmp_path):
    directory = tmp_path / "gone"
    op = counting_step()
    last = Calls()
    session = tf.train.MonitoredTrainingSession(checkpoint_dir=str(directory), hooks=[last])

    def spoil():
        session.run(op)
        shutil.rmtree(directory)

    with pytest.raises(ValueError, match="doesn't exist, can't save") as caught:
        interrupted(session, spoil)
    assert last.calls == ["after_run", "interrupt"]
    chain, error = [], caught.value
    while error is not None:
        chain.append(type(error))
        error = error.__context__
    assert KeyboardInterrupt in chain
    assert session.should_stop()


def test_it_works_in_any_thread(tmp_path):
    op = counting_step()
    graph, results = tf.get_default_graph(), []

    def run():
        with (
            graph.as_default(),
            tf.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path)) as session,
        ):
            for _ in range(3):
                session.run(op)
            results.append(session._sess.run("twice:0"))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert results == [6]
    assert saved_step(tmp_path) == 3


# -- the life of a session -------------------------------------------------------------------------


def test_a_constructor_that_fails_leaves_nothing(tmp_path):
    class Broken(tf.train.SessionRunHook):
        def after_create_session(self, session, coord):
            self.session, self.coord = session, coord
            raise ValueError("mine")

    op, hook = counting_step(), Broken()
    with pytest.raises(ValueError, match="mine"):
        tf.train.MonitoredSession(hooks=[hook])
    assert hook.coord.should_stop()
    with pytest.raises(RuntimeError, match="closed Session"):
        hook.session.run(op)
    assert not tf.get_default_graph().finalized


def test_a_session_that_cannot_be_made_is_made_again():
    op = counting_step()

    class Creator(tf.train.SessionCreator):
        tries = 0

        def create_session(self):
            self.tries += 1
            if self.tries < 3:
                raise tf.errors.UnavailableError(None, None, "not yet")
            session = tf.Session()
            session.run(tf.global_variables_initializer())
            return session

    creator = Creator()
    with tf.train.MonitoredSession(creator) as session:
        session.run(op)
    assert creator.tries == 3


def test_a_lost_session_goes_on_from_the_last_checkpoint(tmp_path):
    op = counting_step()

    class Lose(tf.train.SessionRunHook):
        at = [5, 9]  # noqa: RUF012
        created = 0

        def after_create_session(self, session, coord):
            self.created += 1

        def after_run(self, run_context, run_values):
            if self.at and run_context.session.run(STEPS + ":0") == self.at[0]:
                raise tf.errors.AbortedError(None, None, f"lost at {self.at.pop(0)}")

    hook, steps = Lose(), []
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=str(tmp_path), hooks=[hook, tf.train.StopAtStepHook(last_step=12)],
        save_checkpoint_steps=4,
    ) as session:  # fmt: skip
        while not session.should_stop():
            session.run(op)
            steps.append(int(session._sess.run(STEPS + ":0")))
    # The run that lost the session is repeated in the new one, from the step that was saved.
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert hook.created == 3


def test_a_thread_that_fails_is_heard_of_at_the_end():
    queue = tf.FIFOQueue(4, tf.float32, [[]])
    count = []

    def produce():
        count.append(1)
        if len(count) > 3:
            raise ValueError("no more of this")
        return np.float32(len(count))

    fill = queue.enqueue(tf.reshape(tf.py_func(produce, [], tf.float32), []))
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [fill]))
    taken, got = queue.dequeue(), []

    def run():
        with tf.train.MonitoredSession() as session:
            while not session.should_stop():
                got.append(session.run(taken))

    with pytest.raises(tf.errors.InvalidArgumentError, match="no more of this"):
        run()
    assert got == [1.0, 2.0, 3.0][: len(got)]


def test_an_epoch_that_ends_is_a_clean_end():
    name = tf.train.range_input_producer(3, num_epochs=2, shuffle=False).dequeue()
    hook, got = Calls(), []
    with tf.train.MonitoredSession(hooks=[hook]) as session:
        while not session.should_stop():
            got.append(int(session.run(name)))
    assert got == [0, 1, 2, 0, 1, 2]
    assert hook.calls[-1] == "end"


def test_after_the_end():
    op = counting_step()
    session = tf.train.SingularMonitoredSession()
    assert type(session.raw_session()).__name__ == "Session"
    inner = session
    while type(inner).__name__ != "Session":  # how programs come by the plain session
        inner = inner._sess
    assert inner is session.raw_session()
    session.close()
    assert session.raw_session() is None
    assert session.graph is None
    assert session.should_stop()
    for again in (session.close, lambda: session.run(op), lambda: session.run_step_fn(print)):
        with pytest.raises((RuntimeError, ValueError), match=r"already closed|step_context"):
            again()


def test_what_is_no_list_of_hooks():
    counting_step()
    with pytest.raises(TypeError, match="hooks is a list of SessionRunHooks"):
        tf.train.MonitoredSession(hooks=Calls())


# -- runs ------------------------------------------------------------------------------------------


def test_fetches_of_any_form():
    a, b = tf.constant(1.0), tf.constant([2.0, 3.0])
    op = counting_step()

    class Hook(tf.train.SessionRunHook):
        __hash__ = None  # such as a dataclass is

        def before_run(self, run_context):
            return tf.train.SessionRunArgs({"x": (a, [b])})

        def after_run(self, run_context, run_values):
            assert run_values.results["x"][0] == 1.0
            assert run_values.results["x"][1][0].tolist() == [2.0, 3.0]

    with tf.train.MonitoredSession(hooks=[Hook(), Hook()]) as session:
        for _ in range(3):
            assert session.run(a) == 1.0
            assert session.run(op) is None
            assert session.run([a, op]) == [1.0, None]
            got = session.run({"p": (a, b), "q": [[b]]})
            assert got["q"][0][0].tolist() == [2.0, 3.0]
            assert isinstance(got["p"], tuple)
            assert session.run([]) == []
        with pytest.raises(TypeError, match="None"):
            session.run(None)


def test_steps_use_few_ways_through_the_session(tmp_path):
    op = counting_step()
    tf.summary.scalar("s", tf.constant(1.0))
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=str(tmp_path), save_summaries_steps=5, save_checkpoint_steps=7,
        log_step_count_steps=3,
        hooks=[tf.train.LoggingTensorHook(["twice"], every_n_iter=10)],
    ) as session:  # fmt: skip
        for _ in range(30):
            session.run(op)
        ways = len(session._sess._routes)
        for _ in range(60):
            session.run(op)
        assert len(session._sess._routes) == ways


# -- MonitoredTrainingSession ----------------------------------------------------------------------

_SAVE, _SUMMARY, _COUNT = "CheckpointSaverHook", "SummarySaverHook", "StepCounterHook"
ARGUMENTS = [
    ({}, [_COUNT, _SUMMARY, _SAVE], (None, 600), (100, None)),
    ({"save_checkpoint_steps": 5}, [_COUNT, _SUMMARY, _SAVE], (5, None), (100, None)),
    ({"save_checkpoint_secs": 5}, [_COUNT, _SUMMARY, _SAVE], (None, 5), (100, None)),
    ({"save_checkpoint_secs": None}, [_COUNT, _SUMMARY], None, (100, None)),
    ({"save_checkpoint_secs": 0, "save_checkpoint_steps": 5}, [_COUNT, _SUMMARY, _SAVE],
     (5, None), (100, None)),
    ({"save_summaries_secs": 9}, [_COUNT, _SUMMARY, _SAVE], (None, 600), (None, 9)),
    ({"save_summaries_steps": None}, [_COUNT, _SAVE], (None, 600), None),
    ({"log_step_count_steps": 0}, [_SUMMARY, _SAVE], (None, 600), (100, None)),
    ({"checkpoint_dir": None}, [], None, None),
    ({"checkpoint_dir": None, "summary_dir": "x"}, [_COUNT, _SUMMARY], None, (100, None)),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "kinds", "save", "summarize"), ARGUMENTS)
def test_which_hooks_there_are(tmp_path, arguments, kinds, save, summarize):
    counting_step()
    if arguments.get("summary_dir"):
        arguments = {**arguments, "summary_dir": str(tmp_path)}
    first, last = Calls(), Calls()
    given = {"checkpoint_dir": str(tmp_path), "chief_only_hooks": [first], "hooks": [last]}
    with tf.train.MonitoredTrainingSession(**{**given, **arguments}) as session:
        hooks = session._hooks
    assert [type(hook).__name__ for hook in hooks] == ["Calls", *kinds, "Calls"]
    assert (hooks[0], hooks[-1]) == (first, last)
    timers = {type(h).__name__: h._timer for h in hooks[1:-1]}
    for kind, wanted in ((_SAVE, save), (_SUMMARY, summarize)):
        if wanted is not None:
            assert (timers[kind]._every_steps, timers[kind]._every_secs) == wanted


def test_both_steps_and_seconds():
    counting_step()
    with pytest.raises(ValueError, match="Can not provide both every_secs and every_steps"):
        tf.train.MonitoredTrainingSession(
            checkpoint_dir="x", save_checkpoint_secs=1, save_checkpoint_steps=1
        )


def test_one_that_is_not_the_chief_waits():
    counting_step()
    with pytest.raises(tf.errors.DeadlineExceededError, match="not ready after waiting 0 secs"):
        tf.train.MonitoredTrainingSession(is_chief=False, max_wait_secs=0)
    assert not tf.get_default_graph().finalized


def test_one_that_is_not_the_chief_starts_when_the_model_is_ready(tmp_path):
    v = tf.Variable(1.0, collections=[tf.GraphKeys.LOCAL_VARIABLES])
    hook = Calls()
    with tf.train.MonitoredTrainingSession(
        is_chief=False, checkpoint_dir=str(tmp_path), hooks=[hook]
    ) as session:
        assert session.run(v) == 1.0
    assert hook.calls == ["after_run", "end"]
    assert os.listdir(tmp_path) == []


# -- Scaffold --------------------------------------------------------------------------------------


def test_how_a_scaffold_initialises():
    x = tf.placeholder(tf.float32, [])
    v, w = tf.Variable(x, name="v"), tf.Variable(1.0, name="w")
    y = tf.placeholder(tf.float32, [])
    local = tf.Variable(y, collections=[tf.GraphKeys.LOCAL_VARIABLES])
    set_w, called = w.assign(9.0), []

    def init(scaffold, session):
        called.append(scaffold)
        session.run(set_w)

    scaffold = tf.train.Scaffold(
        init_feed_dict={x: 4.0}, init_fn=init, local_init_feed_dict={y: 5.0}
    )
    with tf.train.SingularMonitoredSession(scaffold=scaffold) as session:
        assert session.run([v, w, local]) == [4.0, 9.0, 5.0]
    assert called == [scaffold]


def test_a_model_that_is_not_ready_is_refused():
    tf.Variable(1.0, name="forgotten")
    scaffold = tf.train.Scaffold(init_op=tf.no_op(name="too_little"))
    with pytest.raises(RuntimeError, match=r"did not make model ready.*too_little.*: forgotten"):
        tf.train.SingularMonitoredSession(scaffold=scaffold)


def test_a_checkpoint_by_its_name(tmp_path):
    v = tf.Variable(1.0, name="v")
    saver = tf.train.Saver()
    with tf.Session() as session:
        session.run(v.initializer)
        path = saver.save(session, str(tmp_path / "a"))
    session.close()
    set_v = v.assign(3.0)
    with tf.train.SingularMonitoredSession(checkpoint_filename_with_path=path) as session:
        assert session.run(v) == 1.0
        session.run(set_v)
    with pytest.raises(ValueError, match="not a valid checkpoint"):
        tf.train.SingularMonitoredSession(checkpoint_filename_with_path=str(tmp_path / "b"))


def test_tables_are_initialized_with_what_is_local():
    v = tf.Variable(0.0, collections=[tf.GraphKeys.LOCAL_VARIABLES])
    with tf.control_dependencies([v.initializer]):
        filled = v.assign(7.0)
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, filled.op)
    assert tf.tables_initializer().name == "init_all_tables"
    with tf.train.MonitoredSession() as session:
        assert session.run(v) == 7.0

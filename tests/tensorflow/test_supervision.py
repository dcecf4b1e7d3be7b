"""The same supervised program in TensorFlow and here: the same nodes, the same calls of hooks in
the same order, the same files, log lines and errors.
"""

import gc
import logging
import os
import re
import shutil
import threading

import numpy as np
import pytest

# -- Scaffold --------------------------------------------------------------------------------------


def nodes(tf, since=0):
    return [
        (op.name, op.type, [t.name for t in op.inputs], sorted(c.name for c in op.control_inputs))
        for op in tf.get_default_graph().get_operations()[since:]
    ]


def build_nothing(tf):
    pass


def build_ref(tf):
    tf.Variable(1.0, name="w")
    tf.Variable(2.0, name="l", collections=["local_variables"])
    tf.summary.scalar("w", tf.constant(1.0))


def build_resources(tf):
    tf.get_variable("w", [2], use_resource=True)
    tf.get_variable("v", [], use_resource=True)
    tf.train.create_global_step()
    tf.summary.scalar("a", tf.constant(1.0))
    tf.summary.scalar("b", tf.constant(1.0))


BUILDS = [build_nothing, build_ref, build_resources]
PARTS = ["init_op", "ready_op", "ready_for_local_init_op", "local_init_op", "summary_op"]


@pytest.mark.parametrize("build", BUILDS)
def test_a_scaffold_makes_the_same_nodes(assert_alike, build):
    def program(tf):
        build(tf)
        since = len(tf.get_default_graph().get_operations())
        scaffold = tf.train.Scaffold()
        assert scaffold.finalize() is scaffold
        graph = tf.get_default_graph()
        parts = [getattr(scaffold, part) for part in PARTS]
        return [
            nodes(tf, since),
            [None if part is None else part.name for part in parts],
            sorted(graph.get_all_collection_keys()),
            graph.finalized,
        ]

    assert_alike(program)


def test_a_scaffold_takes_what_the_collections_have(assert_alike):
    def program(tf):
        build_ref(tf)
        for key in ("INIT_OP", "READY_OP", "READY_FOR_LOCAL_INIT_OP", "LOCAL_INIT_OP"):
            tf.add_to_collection(getattr(tf.GraphKeys, key), tf.no_op(name=key))
        tf.add_to_collection(tf.GraphKeys.SUMMARY_OP, tf.constant("s", name="SUMMARY_OP"))
        tf.add_to_collection(tf.GraphKeys.SAVERS, tf.train.Saver())
        since = len(tf.get_default_graph().get_operations())
        scaffold = tf.train.Scaffold(init_op=tf.no_op(name="mine")).finalize()
        copy = tf.train.Scaffold(copy_from_scaffold=scaffold, ready_op=scaffold.init_op)
        return [
            nodes(tf, since),
            [getattr(scaffold, part).name for part in PARTS],
            [getattr(copy, part).name for part in PARTS],
        ]

    assert_alike(program)


@pytest.mark.parametrize("build", BUILDS)
def test_a_supervisor_makes_the_same_nodes(assert_alike, build):
    def program(tf):
        build(tf)
        since = len(tf.get_default_graph().get_operations())
        supervisor = tf.train.Supervisor()
        return [
            nodes(tf, since),
            sorted(tf.get_default_graph().get_all_collection_keys()),
            tf.get_default_graph().finalized,
            supervisor.ready_for_local_init_op,
            supervisor.saver is None,
            [
                getattr(getattr(supervisor, part), "name", None)
                for part in ("init_op", "ready_op", "summary_op", "global_step")
            ],
        ]

    assert_alike(program)


# -- hooks -----------------------------------------------------------------------------------------


def recorder(tf, calls, name, fetches=None, feeds=None, stop_at=None, fail=None):
    """A hook that notes what is called, and with what."""

    class Recorder(tf.train.SessionRunHook):
        runs = 0

        def note(self, what, *rest):
            calls.append([name, what, *rest])
            if fail is not None and fail[0] == what and fail[1] <= self.runs:
                fail[1] = 1 << 30  # once
                raise fail[2](tf)

        def begin(self):
            self.note("begin", tf.get_default_graph().finalized)

        def after_create_session(self, session, coord):
            self.note("after_create_session", type(session).__name__, coord.should_stop())

        def before_run(self, run_context):
            args = run_context.original_args
            self.note("before_run", getattr(args.fetches, "name", None), args.feed_dict is None)
            if fetches is None and feeds is None:
                return None
            return tf.train.SessionRunArgs(
                fetches(tf) if fetches else None, feed_dict=feeds(tf) if feeds else None
            )

        def after_run(self, run_context, run_values):
            self.runs += 1
            trace = run_values.options.trace_level, len(run_values.run_metadata.partition_graphs)
            self.note("after_run", run_values.results, *trace)
            if self.runs == stop_at:
                run_context.request_stop()

        def end(self, session):
            self.note("end", type(session).__name__)

    return Recorder()


def outcome(tf, run):
    """The class and words of what is raised, without what is said of nodes."""
    try:
        run()
    except Exception as error:
        return [
            type(error).__name__,
            re.sub(r"\s*\[.*|\n.*|0x[0-9a-f]+", "", str(error), flags=re.DOTALL),
        ]
    return "well"


def tensor(name):
    return lambda tf: tf.get_default_graph().get_tensor_by_name(name)


def build_steps(tf):
    x = tf.placeholder_with_default(np.float32(2.0), [], name="x")
    y = tf.placeholder_with_default(np.float32(3.0), [], name="y")
    z = tf.multiply(x, y, name="z")
    tf.Variable(5.0, name="v")
    step = tf.train.create_global_step()
    with tf.control_dependencies([z]):
        return tf.assign_add(step, 1, name="step")


def raises(kind):
    def make(tf):
        if hasattr(tf.errors, kind):
            return getattr(tf.errors, kind)(None, None, "my words")
        return {"ValueError": ValueError, "StopIteration": StopIteration}[kind]("my words")

    return make


KINDS = ["ValueError", "StopIteration", "OutOfRangeError", "AbortedError", "UnavailableError"]
SESSIONS = ["MonitoredSession", "SingularMonitoredSession"]


@pytest.mark.parametrize("session", SESSIONS)
def test_hooks_are_called_in_order(assert_alike, session):
    def program(tf):
        step, calls = build_steps(tf), []
        hooks = [
            recorder(tf, calls, "a", tensor("z:0"), lambda tf: {tensor("x:0")(tf): 7.0}),
            recorder(tf, calls, "b", lambda tf: {"two": [tensor("z:0")(tf), "v:0"]}),
            recorder(tf, calls, "c", None, lambda tf: {tensor("y:0")(tf): 5.0}, stop_at=2),
            recorder(tf, calls, "d"),
        ]
        made = getattr(tf.train, session)(hooks=hooks)
        seen = [made.graph is tf.get_default_graph(), tf.get_default_graph().finalized]
        with made as entered:
            seen.append(entered is made)
            while not made.should_stop():
                seen.append(made.run([step, {"z": "z:0"}]))
            seen.append(outcome(tf, lambda: made.run(step)))
        seen += [made.should_stop(), made.graph, tf.get_default_graph().finalized]
        return [calls, seen]

    assert_alike(program)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["block", "before_run", "after_run", "after_create_session"])
@pytest.mark.parametrize("session", SESSIONS)
def test_errors(assert_alike, session, where, kind):
    def program(tf):
        step, calls = build_steps(tf), []
        fail = None if where == "block" else [where, 0 if where[0] == "a" else 2, raises(kind)]
        hooks = [
            recorder(tf, calls, "a", tensor("z:0")),
            recorder(tf, calls, "b", tensor("x:0"), stop_at=4, fail=fail),
            recorder(tf, calls, "c"),
        ]

        def run():
            with getattr(tf.train, session)(hooks=hooks) as made:
                while not made.should_stop():
                    calls.append(made.run(step))
                    if where == "block" and len(calls) > 20:
                        raise raises(kind)(tf)

        return [outcome(tf, run), calls]

    assert_alike(program)


def report(coord, error):
    """Ask to stop; TensorFlow takes an error only where it is being handled."""
    try:
        if error is not None:
            raise error
        coord.request_stop()
    except Exception as caught:
        coord.request_stop(caught)


@pytest.mark.parametrize("kind", [*KINDS, None])
@pytest.mark.parametrize("session", SESSIONS)
def test_threads_that_fail_or_stop(assert_alike, session, kind):
    class Threads:
        def __init__(self, tf):
            class Hook(tf.train.SessionRunHook):
                coords = []  # noqa: RUF012

                def after_create_session(self, session, coord):
                    self.coords.append(coord)

            self.hook = Hook()

        def fail(self, error):
            thread = threading.Thread(target=report, args=(self.hook.coords[-1], error))
            thread.start()
            thread.join()

    def program(tf):
        step, calls, threads = build_steps(tf), [], Threads(tf)
        hooks = [threads.hook, recorder(tf, calls, "a")]

        def run():
            with getattr(tf.train, session)(hooks=hooks) as made:
                for turn in range(4):
                    calls.append(made.run(step))
                    if turn == 1:
                        threads.fail(raises(kind)(tf) if kind else None)
                    calls.append(made.should_stop())

        return [outcome(tf, run), calls, len(threads.hook.coords)]

    assert_alike(program)


@pytest.mark.parametrize("session", SESSIONS)
def test_an_error_of_a_run_that_comes_of_a_lost_session(assert_alike, session):
    def program(tf):
        step, calls, turns = build_steps(tf), [], []

        class Hook(tf.train.SessionRunHook):
            def after_create_session(self, session, coord):
                self.coord = coord

            def before_run(self, run_context):
                turns.append(1)
                if len(turns) == 3:
                    report(self.coord, raises("AbortedError")(tf))
                    raise raises("ValueError")(tf)

        def run():
            with getattr(tf.train, session)(hooks=[Hook(), recorder(tf, calls, "a")]) as made:
                for _ in range(5):
                    calls.append(made.run(step))

        return [outcome(tf, run), calls, len(turns)]

    assert_alike(program)


def test_steps_of_several_runs(assert_alike):
    def program(tf):
        step, calls = build_steps(tf), []
        hooks = [recorder(tf, calls, "a", tensor("z:0"), stop_at=3)]

        def bare(step_context):
            return step_context.session.run(step)

        def both(step_context):
            first = step_context.run_with_hooks(step, feed_dict={"x:0": 4.0})
            return [first, step_context.session.run("z:0")]

        class Model:
            def method(self, step_context):
                if calls.append("method") or len(calls) > 20:
                    step_context.request_stop()
                return step_context.run_with_hooks(fetches=step)

        seen = []
        with tf.train.MonitoredSession(hooks=hooks) as made:
            seen.append(made.run_step_fn(bare))
            seen.append(made.run_step_fn(both))
            seen.append(made.run_step_fn(Model().method))
            seen.append(made.run_step_fn(lambda step_context: made.should_stop()))
            for bad in (lambda: 1, lambda context: 1, lambda step_context, more: 1):
                seen.append(outcome(tf, lambda: made.run_step_fn(bad))[0])  # noqa: B023
            made.run_step_fn(lambda step_context: step_context.request_stop())
            seen.append("not reached")
        with tf.train.MonitoredSession() as made:
            times = []

            def lost_once(step_context):
                times.append(1)
                if len(times) == 1:
                    raise raises("AbortedError")(tf)
                return len(times)

            seen.append(made.run_step_fn(lost_once))
        return [calls, seen]

    assert_alike(program)


def test_clashing_feeds_and_options(assert_alike):
    def program(tf):
        step, seen, calls = build_steps(tf), [], []
        x, y = tensor("x:0")(tf), tensor("y:0")(tf)

        def hook(feeds=None, options=None, fetches=None):
            class Hook(tf.train.SessionRunHook):
                def before_run(self, run_context):
                    return tf.train.SessionRunArgs(fetches, feeds, options)

                def after_run(self, run_context, run_values):
                    calls.append([
                        run_values.options.trace_level, run_values.options.timeout_in_ms,
                        len(run_values.run_metadata.step_stats.dev_stats) > 0,
                    ])  # fmt: skip

            return Hook()

        full = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE, timeout_in_ms=90_000)
        slow = tf.RunOptions(timeout_in_ms=100_000)
        for hooks, feeds in [
            ([hook({x: 1.0}), hook({x: 2.0})], None),
            ([hook({x: 1.0}), hook({y: 2.0})], {y: 4.0}),
            ([hook({x: 1.0}), hook({y: 2.0})], None),
            ([hook({x: 1.0})], {y: 4.0}),
            ([hook(), hook(fetches=y)], {y: 4.0}),
        ]:
            tf.get_default_graph()._unsafe_unfinalize()
            with tf.train.MonitoredSession(hooks=hooks) as made:
                what = outcome(tf, lambda: made.run(step, feeds))  # noqa: B023
                seen.append(what if what == "well" else [what[0], what[1].partition(".")[0]])
        with tf.train.MonitoredSession(hooks=[hook(options=full), hook(options=slow)]) as made:
            metadata, own = tf.RunMetadata(), tf.RunOptions(timeout_in_ms=80_000)
            made.run(step)
            made.run(step, options=own, run_metadata=metadata)
            seen.append(len(metadata.step_stats.dev_stats) > 0)
        return [seen, calls]

    assert_alike(program)


# -- what hooks write ------------------------------------------------------------------------------
#
# TensorFlow's hooks guess the next step from one that was read beside the run, before it or after,
# so that they are now and then a step early. The steps are chosen so that it does not matter.


class Lines(logging.Handler):
    """What is logged, without times and directories."""

    def __init__(self, tf, directory):
        super().__init__(logging.INFO)
        self.lines = []
        self.logger, self.directory = tf.get_logger(), str(directory)

    def emit(self, record):
        line = record.getMessage().replace(self.directory, "DIR")
        line = re.sub(r"[0-9.]+ sec\)", "N sec)", line)
        line = re.sub(r"/sec: [0-9.e+]+", "/sec: N", line)
        line = re.sub(r"0x[0-9a-f]+|<class '\w+'>, |\nTraceback.*", "", line, flags=re.DOTALL)
        self.lines.append(f"{record.levelname} {line}")

    def __enter__(self):
        self.level = self.logger.level
        self.logger.setLevel(logging.INFO)
        self.logger.addHandler(self)
        return self.lines

    def __exit__(self, *_):
        self.logger.removeHandler(self)
        self.logger.setLevel(self.level)


def events(tf, directory):
    """Step and content of the events; of rates only that there is one; which graphs there are."""
    found, graphs = [], set()
    for name in sorted(os.listdir(directory)):
        if "tfevents" not in name:
            continue
        for event in tf.train.summary_iterator(os.path.join(directory, name)):
            kind = event.WhichOneof("what")
            if kind in ("graph_def", "meta_graph_def"):  # TensorFlow writes them once more
                graphs.add(kind)
                continue
            content = None
            if kind == "summary":
                content = [(v.tag, "/sec" in v.tag or v.simple_value) for v in event.summary.value]
            elif kind == "session_log":
                content = [event.session_log.status, event.session_log.checkpoint_path]
                content[1] = content[1].replace(str(directory), "DIR")
            elif kind == "tagged_run_metadata":
                content = event.tagged_run_metadata.tag
            found.append([event.step, kind, content])
    return [*found, sorted(graphs)]


def take_events(tf, directory):
    """What `events` gives; the files go, for TensorFlow's next would have their names."""
    found = events(tf, directory)
    for name in os.listdir(directory):
        if "tfevents" in name:
            os.remove(os.path.join(directory, name))
    return found


def files(directory):
    return sorted(name for name in os.listdir(directory) if "tfevents" not in name)


def train(tf):
    loss = tf.square(tf.Variable(4.0, name="w"), name="loss")
    tf.summary.scalar("the_loss", loss)
    tf.multiply(loss, 0.5, name="half")
    step = tf.train.get_or_create_global_step()
    with tf.control_dependencies([loss]):
        return tf.train.GradientDescentOptimizer(0.25).minimize(loss, global_step=step)


OURS_NOT = (
    "Create CheckpointSaverHook", "Calling checkpoint listeners", "Restoring parameters",
    "has not been increased",  # said of a step that was read before the run
    "deprecated",
)  # fmt: skip


def spoken(lines):
    """Without what only TensorFlow says."""
    return [line for line in lines if not any(words in line for words in OURS_NOT)]


@pytest.mark.parametrize(
    "options",
    [
        {"save_checkpoint_steps": 4, "save_summaries_steps": 1, "log_step_count_steps": 5},
        {"save_checkpoint_secs": None, "save_summaries_steps": 0, "log_step_count_steps": None},
        {"save_checkpoint_steps": 7, "save_summaries_secs": 1000, "save_graph_def": False},
    ],
    ids=str,
)
def test_the_files_and_log_lines_of_a_training_session(assert_alike, tmp_path, options):
    def program(tf):
        directory = tmp_path / "run"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        results = []
        with Lines(tf, directory) as lines:
            for last in (6, 9):
                with tf.Graph().as_default():
                    op = train(tf)
                    hooks = [
                        tf.train.StopAtStepHook(last_step=last),
                        tf.train.LoggingTensorHook({"l": "loss", "half": "half:0"}, every_n_iter=4),
                        tf.train.LoggingTensorHook(["loss"], at_end=True),
                    ]
                    with tf.train.MonitoredTrainingSession(
                        checkpoint_dir=str(directory), hooks=hooks, **options
                    ) as session:
                        runs = 0
                        while not session.should_stop():
                            session.run(op)
                            runs += 1
                tf.summary.FileWriterCache.clear()
                results.append([runs, take_events(tf, directory), files(directory)])
        return [results, spoken(lines)]

    assert_alike(program)


def test_listeners_of_checkpoints(assert_alike, tmp_path):
    def program(tf):
        directory = tmp_path / "run"
        shutil.rmtree(directory, ignore_errors=True)
        calls, op = [], train(tf)

        class Listener(tf.train.CheckpointSaverListener):
            def begin(self):
                calls.append(["begin", tf.get_default_graph().finalized])

            def before_save(self, session, global_step_value):
                calls.append(["before_save", int(global_step_value)])

            def after_save(self, session, global_step_value):
                calls.append(["after_save", int(global_step_value)])
                return global_step_value == 6

            def end(self, session, global_step_value):
                calls.append(["end", int(global_step_value)])

        hook = tf.train.CheckpointSaverHook(
            str(directory), save_steps=3, saver=tf.train.Saver(), checkpoint_basename="mine",
            listeners=[Listener(), tf.train.CheckpointSaverListener()],
        )  # fmt: skip
        with Lines(tf, directory) as lines, tf.train.MonitoredSession(hooks=[hook]) as session:
            while not session.should_stop():
                session.run(op)
        tf.summary.FileWriterCache.clear()
        said = [re.sub("listener: .*", "", line) for line in spoken(lines)]
        return [calls, said, files(directory), events(tf, directory)]

    assert_alike(program)


def test_other_hooks(assert_alike, tmp_path):
    def program(tf):
        directory = tmp_path / "run"
        shutil.rmtree(directory, ignore_errors=True)
        op = train(tf)
        x = tf.placeholder(tf.float32, [], name="x")
        final = tf.train.FinalOpsHook({"w": "w/read:0", "x": x + 1.0}, {x: 3.0})
        hooks = [
            tf.train.ProfilerHook(save_steps=1, output_dir=str(directory)),
            final,
            tf.train.FeedFnHook(lambda: {x: 5.0}),
            tf.train.GlobalStepWaiterHook(0),
            tf.train.NanTensorHook(tf.log(-x, name="nan"), fail_on_nan_loss=False),
            tf.train.LoggingTensorHook(
                {"x": x}, every_n_secs=1000, formatter=lambda values: f"<{sorted(values)}>"
            ),
        ]
        seen = [final.final_ops_values]
        with Lines(tf, directory) as lines, tf.train.MonitoredSession(hooks=hooks) as session:
            seen.append(float(session.run([op, x])[1]))
            seen.append(session.should_stop())
        seen.append(final.final_ops_values)
        hooks[4] = tf.train.NanTensorHook(tf.log(-x, name="nan"))

        def run():
            with Lines(tf, directory) as more, tf.train.MonitoredSession(hooks=hooks) as session:
                seen.append(more)
                session.run(op)

        seen.append(outcome(tf, run))
        hooks[4] = tf.train.StopAtStepHook(num_steps=3)
        with tf.train.MonitoredSession(hooks=hooks) as session:
            while not session.should_stop():
                session.run(op)
        tf.summary.FileWriterCache.clear()
        *found, graphs = events(tf, directory)  # this writer has no meta graph of ours
        return [seen, spoken(lines), files(directory), found, "graph_def" in graphs]

    assert_alike(program)


def test_a_timer(assert_alike):
    def program(tf):
        timer = tf.train.SecondOrStepTimer(every_steps=3)
        seen = []
        for step in (0, 0, 1, 2, 3, 3, 7, 8, 12):
            due = timer.should_trigger_for_step(step)
            seen.append([due, timer.last_triggered_step()])
            if due:
                seconds, steps = timer.update_last_triggered_step(step)
                seen.append([seconds is None, steps])
        timer.reset()
        seen.append(timer.should_trigger_for_step(12))
        timer = tf.train.SecondOrStepTimer(every_secs=1000)
        seen.append(timer.should_trigger_for_step(5))
        timer.update_last_triggered_step(5)
        return [*seen, timer.should_trigger_for_step(5), timer.should_trigger_for_step(6)]

    assert_alike(program)


# -- session managers and supervisors --------------------------------------------------------------


def test_a_session_manager(assert_alike, tmp_path):
    def program(tf):
        directory = tmp_path / "run"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        v = tf.Variable(1.0, name="v")
        local = tf.Variable(v * 2.0, name="l", collections=[tf.GraphKeys.LOCAL_VARIABLES])
        saver = tf.train.Saver([v])
        ready = tf.report_uninitialized_variables()
        ready_for_local = tf.report_uninitialized_variables([v])
        manager = tf.train.SessionManager(
            local_init_op=local.initializer, ready_op=ready, ready_for_local_init_op=ready_for_local
        )
        impatient = tf.train.SessionManager(ready_op=ready, recovery_wait_secs=0.01)
        blind = tf.train.SessionManager(ready_op=ready)
        seen = []

        def state(made):
            session, well = made if isinstance(made, tuple) else (made, None)
            return [session.run(tf.get_collection("asked")[0]).tolist(), well]

        tf.add_to_collection("asked", tf.report_uninitialized_variables())
        path = str(directory)
        with Lines(tf, directory) as lines:
            seen.append(outcome(tf, lambda: blind.prepare_session("")))
            seen.append(outcome(tf, lambda: blind.prepare_session("", init_op=local.initializer)))
            seen.append(outcome(tf, lambda: manager.prepare_session("", init_op=tf.no_op())))
            seen.append(outcome(tf, lambda: manager.prepare_session("", init_fn=lambda s: None)))
            seen.append(outcome(tf, lambda: blind.prepare_session("", init_op=v.initializer)))
            seen.append(
                outcome(tf, lambda: manager.prepare_session("", None, saver, path, path + "/x"))
            )
            late = outcome(tf, lambda: impatient.wait_for_session("", max_wait_secs=0))
            seen.append([late[0], late[1][:42]])  # we go on to say what is not ready
            seen.append(state(manager.recover_session("", saver, path)))
            seen.append(
                state(impatient.recover_session("", saver, path, None, True, max_wait_secs=0.03))
            )
            made = manager.prepare_session("", v.initializer, saver, path)
            seen.append(made.run([v, local]))
            saver.save(made, f"{path}/model", global_step=3)
            seen.append(made.run(v.assign(7.0)))
            saver.save(made, f"{path}/model", global_step=4)
            again = tf.train.Saver([v])
            made = manager.prepare_session("", v.initializer, again, path)
            seen.append(
                [made.run([v, local]), [os.path.basename(p) for p in again.last_checkpoints]]
            )
            made = manager.prepare_session(
                "", None, again, checkpoint_filename_with_path=f"{path}/model-3"
            )
            seen.append(made.run([v, local]))
            seen.append(state(manager.recover_session("", saver, path)))
            seen.append(state(blind.recover_session("", saver, path)))
            feeds = {v.initializer.inputs[1]: 9.0}
            made = manager.prepare_session("", v.initializer, init_feed_dict=feeds)
            seen.append(made.run([v, local]))
            old = tf.train.SessionManager(ready_op=tf.assert_variables_initialized())
            seen.append(outcome(tf, lambda: old.prepare_session("", init_op=v.initializer))[0])
            made = old.prepare_session("", init_op=tf.global_variables_initializer(),
                                       init_fn=lambda s: s.run(local.initializer))  # fmt: skip
            seen.append(made.run(local))
        return [seen, spoken(lines)]

    assert_alike(program)


def test_a_supervisor(assert_alike, tmp_path):
    def program(tf):
        directory = tmp_path / "run"
        shutil.rmtree(directory, ignore_errors=True)
        op, seen = train(tf), []
        supervisor = tf.train.Supervisor(
            logdir=str(directory), save_summaries_secs=1000, save_model_secs=0, summary_op=None
        )
        seen += [supervisor.save_path.replace(str(directory), "DIR"), supervisor.is_chief]
        with Lines(tf, directory) as lines:
            with supervisor.managed_session() as session:
                for _ in range(3):
                    session.run(op)
                value = session.run("the_loss:0")
                supervisor.summary_computed(session, value)
                supervisor.saver.save(session, supervisor.save_path, supervisor.global_step)
                supervisor.request_stop()
                seen.append(supervisor.should_stop())
            seen.append(outcome(tf, lambda: session.run(op)))
            found = [e for e in events(tf, directory) if "/sec" not in str(e)]
            for kind in ("ValueError", "OutOfRangeError"):

                def run(kind=kind):
                    with supervisor.managed_session() as session:
                        seen.append(session.run("w:0"))
                        with supervisor.stop_on_exception():
                            raise raises(kind)(tf)

                seen.append(outcome(tf, run))
            seen.append(outcome(tf, lambda: supervisor.start_standard_services(None)))
        # The rate is counted by a thread of its own: it may come before or after.
        said = sorted(line for line in spoken(lines) if "/sec" not in line)
        return [seen, said, files(directory), found]

    assert_alike(program)


# -- refusals --------------------------------------------------------------------------------------

REFUSED = {
    "two init ops": lambda tf: [
        tf.add_to_collection("init_op", tf.no_op()), tf.add_to_collection("init_op", tf.no_op()),
        tf.train.Scaffold().finalize(),
    ],
    "no scaffold": lambda tf: tf.train.Scaffold(copy_from_scaffold=3),
    "local": lambda tf: tf.train.SessionManager(ready_for_local_init_op="op"),
    "stop": lambda tf: tf.train.StopAtStepHook(),
    "stop twice": lambda tf: tf.train.StopAtStepHook(num_steps=1, last_step=1),
    "stop without step": lambda tf: tf.train.StopAtStepHook(num_steps=1).begin(),
    "save when": lambda tf: tf.train.CheckpointSaverHook("/tmp"),
    "save both": lambda tf: tf.train.CheckpointSaverHook("/tmp", save_secs=1, save_steps=1),
    "save by": lambda tf: tf.train.CheckpointSaverHook("/tmp", saver=1, scaffold=2, save_steps=1),
    "summaries of": lambda tf: tf.train.SummarySaverHook(save_steps=1),
    "summaries of both": lambda tf: tf.train.SummarySaverHook(1, scaffold=1, summary_op=1),
    "summaries when": lambda tf: tf.train.SummarySaverHook(summary_op=1),
    "summaries without step": lambda tf: tf.train.SummarySaverHook(1, summary_op=1).begin(),
    "log when": lambda tf: tf.train.LoggingTensorHook(["a"]),
    "log never": lambda tf: tf.train.LoggingTensorHook(["a"], every_n_iter=0),
    "log both": lambda tf: tf.train.LoggingTensorHook(["a"], every_n_iter=1, every_n_secs=3),
    "log unknown": lambda tf: tf.train.LoggingTensorHook(["nope"], every_n_iter=1).begin(),
    "log ambiguous": lambda tf: [
        tf.split(tf.zeros([2]), 2, name="s"),
        tf.train.LoggingTensorHook(["s"], every_n_iter=1).begin(),
    ],
    "count when": lambda tf: tf.train.StepCounterHook(every_n_steps=None),
    "count both": lambda tf: tf.train.StepCounterHook(every_n_secs=1),
    "count without step": lambda tf: tf.train.StepCounterHook().begin(),
    "profile when": lambda tf: tf.train.ProfilerHook(),
    "timer": lambda tf: tf.train.SecondOrStepTimer(),
    "timer of both": lambda tf: tf.train.SecondOrStepTimer(1, 2),
    "closed twice": lambda tf: [
        tf.no_op(), s := tf.train.SingularMonitoredSession(), s.close(), s.close(),
    ],
    "no chief": lambda tf: [
        tf.device("/job:ps").__enter__(), tf.Variable(1.0),
        tf.train.Supervisor(is_chief=False).start_standard_services(None),
    ],
    "no device": lambda tf: [tf.Variable(1.0), tf.train.Supervisor(is_chief=False)],
    "no writer": lambda tf: tf.train.Supervisor().summary_computed(None, b""),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(hr, tf, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for TensorFlow writes before it refuses
    outcomes = []
    for module in (hr, tf):
        with module.Graph().as_default():
            outcomes.append(outcome(module, lambda: REFUSED[what](module)))  # noqa: B023
    gc.collect()  # TensorFlow opens its event file when the writer goes
    (kind, said), (their_kind, their_words) = outcomes
    assert kind == their_kind
    if what == "two init ops":  # TensorFlow does not fill in the names
        their_words = 'More than one item in the collection "init_op".'
    assert said.startswith(their_words.rstrip(".")) or their_words.startswith(said.rstrip("."))

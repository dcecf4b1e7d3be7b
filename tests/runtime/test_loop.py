"""`run_steps` and `make_loop`: the same, to the bit, as `Session.run` called as often."""

import os
import re
import signal
import sys

import numpy as np
import pytest

import headrace as tf
from tests.runtime.toys import on_host

STEPS = 23


def mlp(optimizer, dropout=False, layers=(6, 5, 3)):
    """x [n, 6], labels int64 [n], and [train, loss, accuracy]."""
    x = tf.placeholder(tf.float32, (None, layers[0]), name="x")
    y = tf.placeholder(tf.int64, (None,), name="y")
    h = x
    for i, n in enumerate(layers[1:]):
        w = tf.get_variable(f"w{i}", (h.shape[1], n), initializer=tf.glorot_uniform_initializer(i))
        b = tf.get_variable(f"b{i}", (n,), initializer=tf.zeros_initializer())
        z = h @ w + b
        h = tf.nn.dropout(tf.nn.relu(z), keep_prob=0.7, seed=5 + i) if dropout else tf.nn.tanh(z)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z))
    hits = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(z, 1), y), tf.float32))
    return x, y, [optimizer.minimize(loss), loss, hits]


def descent():
    return mlp(tf.train.GradientDescentOptimizer(0.3))


def adam():
    return mlp(tf.train.AdamOptimizer(0.01))


def momentum_with_dropout():
    return mlp(tf.train.MomentumOptimizer(0.1, 0.9), dropout=True)


def middling_adam_with_dropout():
    return mlp(tf.train.AdamOptimizer(0.01), dropout=True, layers=(6, 130, 70, 3))


def noisy_double():
    """float64, a global step, a decaying rate, random numbers of several kinds."""
    x = tf.placeholder(tf.float64, (None, 6), name="x")
    y = tf.placeholder(tf.int64, (None,), name="y")
    w = tf.get_variable("w", (6, 1), tf.float64, initializer=tf.ones_initializer())
    count = tf.train.get_or_create_global_step()
    noise = tf.random_normal(tf.shape(x), stddev=0.1, seed=3, dtype=tf.float64)
    mix = tf.random_shuffle(tf.range(4), seed=4)
    coin = tf.random_uniform((), 0, 10, dtype=tf.int64, seed=5)
    loss = tf.reduce_mean(((x + noise) @ w - tf.cast(y, tf.float64)[:, None]) ** 2)
    rate = tf.train.exponential_decay(0.1, count, 7, 0.5)
    step = tf.train.GradientDescentOptimizer(rate).minimize(loss, global_step=count)
    return x, y, [step, loss, mix, coin, count, noise]


def embedding():
    """Rows of a table, sparse updates, and indices that are checked."""
    x = tf.placeholder(tf.float32, (None, 6), name="x")
    y = tf.placeholder(tf.int64, (None,), name="y")
    table = tf.get_variable("table", (3, 6), initializer=tf.glorot_uniform_initializer(1))
    loss = tf.reduce_sum((tf.gather(table, y) - x) ** 2)
    return x, y, [tf.train.AdagradOptimizer(0.1).minimize(loss), loss]


MODELS = (
    *(descent, adam, momentum_with_dropout, middling_adam_with_dropout, noisy_double),
    *(embedding,),
)


def problem(n, seed=0):
    rng = np.random.RandomState(seed)
    return rng.randn(n, 6).astype(np.float32), rng.randint(0, 3, n)


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


@pytest.fixture
def in_eights(monkeypatch):
    """A call of XLA takes eight steps at most."""
    from headrace.runtime import xla_loop

    monkeypatch.setattr(xla_loop, "_MOST_TURNS", 8)


def variables(sess):
    return sess.run(tf.global_variables())


def one_by_one(model, feeds):
    """The rows of single runs, and the variables after them, in a graph and session of its own."""
    with tf.Graph().as_default(), tf.Session() as fresh:
        x, y, fetches = model()
        fresh.run(tf.global_variables_initializer())
        return [fresh.run(fetches, {x: a, y: b}) for a, b in feeds], variables(fresh)


def assert_equal(stacked, rows):
    """A list of arrays [steps, ...] against rows of values."""
    for got, values in zip(stacked, zip(*rows, strict=True), strict=True):
        if values[0] is None:
            assert got is None
        else:
            expected = np.stack(values)
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)


def assert_same(got, expected):
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


# -- the same as one by one ------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
class TestSame:
    def test_feeds_that_do_not_change(self, model, sess):
        x, y, fetches = model()
        X, Y = problem(16)
        rows, after = one_by_one(model, [(X, Y)] * STEPS)
        sess.run(tf.global_variables_initializer())
        assert_equal(sess.run_steps(fetches, {x: X, y: Y}, STEPS), rows)
        assert_same(variables(sess), after)

    @pytest.mark.usefixtures("in_eights")
    def test_batches(self, model, sess):
        x, y, fetches = model()
        X, Y = problem(STEPS * 16)
        X, Y = X.reshape(STEPS, 16, 6), Y.reshape(STEPS, 16)
        rows, after = one_by_one(model, zip(X, Y, strict=True))
        sess.run(tf.global_variables_initializer())
        assert_equal(sess.run_steps(fetches, batches={x: X, y: Y}), rows)
        assert_same(variables(sess), after)

    @pytest.mark.usefixtures("in_eights")
    def test_shuffled_data(self, model, sess):
        x, y, fetches = model()
        X, Y = problem(50)
        order = np.random.RandomState(7)
        epochs = [order.permutation(50)[:48].reshape(3, 16) for _ in range(4)]
        feeds = [(X[i], Y[i]) for i in np.concatenate(epochs)]
        rows, after = one_by_one(model, feeds)
        sess.run(tf.global_variables_initializer())
        got = sess.run_steps(fetches, data={x: X, y: Y}, batch_size=16, epochs=4, shuffle=7)
        assert_equal(got, rows)
        assert_same(variables(sess), after)


def test_large_feeds(sess):
    """Which a loop takes another way."""
    x = tf.placeholder(tf.float32, (None, 300))
    w = tf.Variable(tf.ones((300, 2)))
    loss = tf.reduce_mean(tf.abs(x @ w) ** 1.5)
    fetches = [tf.train.AdamOptimizer(0.1).minimize(loss), loss]
    X = np.random.RandomState(0).randn(10, 64, 300).astype(np.float32)
    sess.run(tf.global_variables_initializer())
    got = sess.run_steps(fetches, batches={x: X})
    with tf.Session() as other:  # where, as the signature is known, all runs are XLA's
        other.run(tf.global_variables_initializer())
        data = {x: X.reshape(640, 300)}
        rows = [*other.run_steps(fetches, data=data, batch_size=64, epochs=1)[1:], other.run(w)]
    with tf.Session() as other:
        other.run(tf.global_variables_initializer())
        losses = [other.run(fetches, {x: batch})[1] for batch in X]
        assert_same(rows, [np.stack(losses), other.run(w)])
    np.testing.assert_allclose(got[1], rows[0], rtol=1e-5)  # its first step was NumPy's


@pytest.mark.parametrize("model", [middling_adam_with_dropout, embedding])
def test_loops_and_runs_take_turns(model, sess):
    x, y, fetches = model()
    X, Y = problem(16)
    rows, after = one_by_one(model, [(X, Y)] * 20)
    sess.run(tf.global_variables_initializer())
    loop, got = sess.make_loop(fetches, output="last"), []
    for n in (1, 3, 6):
        got += [loop(n, feed_dict={x: X, y: Y}), sess.run(fetches, {x: X, y: Y})]
    got += [sess.run(fetches, {x: X, y: Y}) for _ in range(7)]
    columns = [None if v[0] is None else np.stack(v) for v in zip(*got, strict=True)]
    assert_equal(columns, [rows[i] for i in (0, 1, 4, 5, *range(11, 20))])
    assert_same(variables(sess), after)


def test_every_operation_of_a_chunk_is_one_call(sess, monkeypatch):
    from headrace.runtime import xla_loop

    x, y, fetches = descent()
    X, Y = problem(16)
    sess.run(tf.global_variables_initializer())
    calls = []
    call = xla_loop.CompiledLoop.call
    monkeypatch.setattr(
        xla_loop.CompiledLoop,
        "call",
        lambda self, n, *args: calls.append(n) or call(self, n, *args),
    )
    sess.run_steps(fetches, {x: X, y: Y}, 500)
    assert calls == [499]  # the first step is NumPy's, as it is of single runs


def test_a_turn_copies_neither_weights_nor_data(sess, monkeypatch):
    from headrace.runtime import in_place, xla_loop

    texts, init = [], xla_loop.CompiledLoop.__init__

    def noted(self, *args):
        init(self, *args)
        texts.append(self._compiled.as_text())

    monkeypatch.setattr(xla_loop.CompiledLoop, "__init__", noted)
    rng = np.random.RandomState(0)
    X = rng.randn(500, 96).astype(np.float32)

    def copies():
        x = tf.placeholder(tf.float32, (None, 96))
        v, w = (tf.Variable(rng.randn(96, 96).astype(np.float32) / 10) for _ in range(2))
        loss = tf.reduce_mean(tf.square(tf.nn.relu(x @ v) @ w - 1))
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        sess.run(tf.global_variables_initializer())
        sess.run_steps([train, loss], data={x: X}, batch_size=32, epochs=1, shuffle=0)
        return re.findall(r"= f32\[(?:96|500),96\]\S* copy\(", texts[-1])

    assert copies() == []
    monkeypatch.setattr(in_place.Order, "settle", lambda *_: None)
    assert len(copies()) == 1  # what there would be: `w` is read for the gradient of `v`


def test_unseeded_randomness_goes_on(sess):
    coin = tf.random_uniform((4,))
    drawn = np.concatenate([sess.run_steps(coin, steps=20), sess.run(coin)[None]])
    assert len(np.unique(drawn)) > 80


def test_counters_of_streams_carry_over_words(sess):
    coin = tf.random_uniform((4,), seed=3)
    sess.run(coin)
    near = np.array([1, 2, 2**32 - 700, 2**32 - 1, 2**32 - 1, 7], np.uint32)
    sess._state.streams[coin.op] = near
    single = [sess.run(coin) for _ in range(9)]
    sess._state.streams[coin.op] = near
    np.testing.assert_array_equal(sess.run_steps(coin, steps=9), single)


# -- what is fetched -------------------------------------------------------------------------------


def test_fetches_keep_their_structure(sess):
    v = tf.Variable(1.0)
    bump = v.assign_add(1.0)
    sess.run(v.initializer)
    got = sess.run_steps({"op": bump.op, "pair": (v, [bump])}, steps=4)
    assert got["op"] is None
    assert isinstance(got["pair"], tuple)
    assert got["pair"][0].tolist() == got["pair"][1][0].tolist() == [2, 3, 4, 5]


def test_a_variable_is_fetched_as_it_is_after_each_step_and_its_read_from_before(sess):
    v, constant = tf.Variable([1.0, 2.0]), tf.Variable([3.0])
    before = tf.identity(v)
    bump = v.assign_add([1.0, 1.0])
    sess.run(tf.global_variables_initializer())
    for _ in range(2):
        start = sess.run(v)
        steps = np.arange(5)[:, None]
        got = sess.run_steps([bump.op, v, before, constant], steps=5)
        np.testing.assert_array_equal(got[1], start + steps + 1)
        np.testing.assert_array_equal(got[2], start + steps)
        np.testing.assert_array_equal(got[3], np.full((5, 1), 3.0))


def test_last_gives_what_the_last_step_gave(sess):
    x = tf.placeholder(tf.float32, (2,))
    v = tf.Variable([0.0, 0.0])
    out = [v.assign_add(x), tf.reduce_sum(x), x]
    sess.run(v.initializer)
    X = np.arange(12.0).reshape(6, 2)
    sums, last, fed = sess.run_steps(out, batches={x: X}, output="last")
    assert sums.tolist() == X.sum(0).tolist()
    assert (last, type(last)) == (21, np.float32)
    assert fed.tolist() == [10, 11]


def test_results_are_the_callers_own(sess):
    v = tf.Variable(tf.zeros((3,)))
    sess.run(v.initializer)
    loop = sess.make_loop([v.assign_add(tf.ones((3,))), v])
    first = loop(5)
    kept = [a.copy() for a in first]
    for a in first:
        a[0] += 0  # writable
    loop(5)
    assert_same(first, kept)


def test_nothing_fetched(sess):
    tf.constant(1.0)
    assert sess.run_steps([], steps=3) == []


# -- feeds -----------------------------------------------------------------------------------------


def test_data_in_order_leaves_out_the_rest_and_goes_on_where_it_was(sess):
    x = tf.placeholder(tf.int64, (2,))
    loop = sess.make_loop(x * 10, data={x: np.arange(7)}, batch_size=2)
    assert loop(2).tolist() == [[0, 10], [20, 30]]
    assert loop(epochs=1).tolist() == [[40, 50], [0, 10], [20, 30]]
    assert loop(3).tolist() == [[40, 50], [0, 10], [20, 30]]


def test_feeds_of_the_loop_are_copied(sess):
    x = tf.placeholder(tf.float32, (2,))
    fed = np.ones(2, np.float32)
    loop = sess.make_loop(x * 2.0, {x: fed})
    for n in (1, 4, 4):  # NumPy's, compiled, as before
        assert (loop(n) == 2).all()
        fed[:] = 9


def test_data_is_copied(sess):
    x = tf.placeholder(tf.float32, (1,))
    data = np.ones(4, np.float32)
    loop = sess.make_loop(x * 2.0, data={x: data}, batch_size=1)
    data[:] = 9
    assert loop(4).ravel().tolist() == [2, 2, 2, 2]


def test_feeds_of_a_call_come_before_those_of_the_loop(sess):
    x, k = tf.placeholder(tf.float32, ()), tf.placeholder(tf.float32, ())
    loop = sess.make_loop(x * k, {x: 2.0, k: 1.0}, output="last")
    assert (loop(3), loop(3, feed_dict={k: 5.0}), loop(3)) == (2, 10, 2)


def test_batches_and_the_loops_own_feeds_take_turns(sess):
    x, k = tf.placeholder(tf.float32, (1,)), tf.placeholder(tf.float32, ())
    loop = sess.make_loop(x * k, {x: [2.0], k: 1.0})
    batched = sess.make_loop(x * k, {k: 3.0})
    for n in (5, 6, 5):
        assert loop(n).tolist() == [[2]] * n
        batches = np.arange(float(n))[:, None]
        assert batched(batches={x: batches}).tolist() == (3 * batches).tolist()
        assert batched(3, feed_dict={x: [n], k: 1.0}).tolist() == [[n]] * 3


def test_a_size_that_is_fed_and_does_not_change_is_looped(sess):
    n, x = tf.placeholder(tf.int32, ()), tf.placeholder(tf.float32, ())
    y = tf.fill([n], x)
    X = np.arange(6.0)
    assert sess.run_steps(y, {n: 3}, batches={x: X}).tolist() == [[i] * 3 for i in X]
    assert sess.run_steps(y, {n: 2}, batches={x: X}).tolist() == [[i] * 2 for i in X]


# -- step by step ----------------------------------------------------------------------------------


def test_sizes_that_change_give_a_list(sess):
    n = tf.placeholder(tf.int32, ())
    got = sess.run_steps([tf.fill([n], 2.0), n], batches={n: [1, 3, 2]})
    assert [a.tolist() for a in got[0]] == [[2], [2, 2, 2], [2, 2]]
    assert got[1].tolist() == [1, 3, 2]


def test_host_operations_and_strings(sess):
    x = tf.placeholder(tf.float32, (2,))
    v = tf.Variable([0.0, 0.0])
    out = [v.assign_add(on_host(x)), tf.py_func(lambda a: a * 2, [x], tf.float32), tf.constant("s")]
    sess.run(v.initializer)
    got = sess.run_steps(out, batches={x: np.arange(6.0).reshape(3, 2)})
    assert got[0].tolist() == [[0, 1], [2, 4], [6, 9]]
    assert got[1].tolist() == [[0, 2], [4, 6], [8, 10]]
    assert got[2].tolist() == [b"s"] * 3


def test_print_prints_at_every_step(sess, capfd):
    v = tf.Variable(0)
    sess.run(v.initializer)
    assert sess.run_steps(tf.Print(v.assign_add(1), [v], "at "), steps=3).tolist() == [1, 2, 3]
    assert capfd.readouterr().err.count("at ") == 3


def test_initializers_and_variables_that_change_their_shape(sess):
    v = tf.Variable([1.0], validate_shape=False)
    longer = tf.assign(v, tf.concat([v, [2.0]], 0), validate_shape=False)
    assert sess.run_steps(v.initializer, steps=3) is None
    got = sess.run_steps(longer, steps=3)
    assert [a.tolist() for a in got] == [[1, 2], [1, 2, 2], [1, 2, 2, 2]]


def test_a_kept_loop_goes_on_when_a_variable_has_changed_its_shape(sess):
    v = tf.Variable([1.0], validate_shape=False)
    longer = tf.assign(v, tf.concat([v, [2.0]], 0), validate_shape=False)
    loop = sess.make_loop(tf.assign_add(v, v))
    sess.run(v.initializer)
    assert [loop(3)[-1].tolist() for _ in range(3)] == [[8], [64], [512]]
    sess.run(longer)
    assert [loop(3)[-1].tolist() for _ in range(3)] == [[4096, 16], [32768, 128], [262144, 1024]]
    sess.run(v.initializer)
    assert loop(3).tolist() == [[2], [4], [8]]


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_eights")
def test_a_failing_check_leaves_what_the_steps_before_it_did(sess):
    i = tf.placeholder(tf.int32, (1,), name="i")
    table, count = tf.Variable(tf.zeros((4, 2))), tf.Variable(0)
    noise = tf.random_uniform((2,), seed=1)
    row = tf.gather(table, i) + noise
    train = tf.scatter_add(table, i, row + 1.0), count.assign_add(1), noise
    batches = np.array([[0], [1], [2], [3]] * 5 + [[4], [0]])

    def wholly():
        sess.run(tf.global_variables_initializer())
        sess._state.streams.clear()
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[0\] = 4") as caught:
            sess.run_steps(train, batches={i: batches})
        return str(caught.value), variables(sess), sess.run(noise)

    def singly():
        sess.run(tf.global_variables_initializer())
        sess._state.streams.clear()
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            [sess.run(train, {i: batch}) for batch in batches]
        return str(caught.value), variables(sess), sess.run(noise)

    for _ in range(2):
        message, after, drawn = wholly()
        assert after[1] == 20
        alone, expected, next_ = singly()
        assert message == alone
        assert_same([*after, drawn], [*expected, next_])


def test_uninitialized_variables(sess):
    v = tf.Variable(1.0, name="weights")
    for _ in range(2):
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value weights"):
            sess.run_steps(v.assign_add(1.0), steps=3)


X = np.zeros((6, 2), np.float32)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ValueError, "How many steps"),
        ({"steps": 0}, ValueError, "`steps` must be a whole number of at least 1, and got 0"),
        ({"steps": True}, ValueError, "got True"),
        ({"steps": 2.5}, ValueError, "got 2.5"),
        ({"epochs": 2}, ValueError, "`epochs` is for `data`"),
        ({"steps": 4, "batches": {"x:0": X}}, ValueError, "`steps` means 4 and `batches` means 6"),
        ({"batches": {"x:0": X, "y:0": X[:5]}}, ValueError, r"'y:0' has 5 steps .*'x:0' it has 6"),
        ({"batches": {"x:0": 1.0}}, ValueError, "'x:0' is a scalar.*feed_dict"),
        ({"batches": {"x:0": X[:0]}}, ValueError, "leading axis of 0"),
        (
            {"batches": {"x:0": X[0]}},
            ValueError,
            r"(?s)shape \(\) .*'x:0'.*one element of `batches`",
        ),
        ({"batches": {"z:0": X}}, TypeError, "z:0"),
        ({"steps": 3, "feed_dict": {"z:0": 1}}, TypeError, "z:0"),
        ({"steps": 6, "feed_dict": {"x:0": X[0]}, "batches": {"x:0": X}}, ValueError, "fed twice"),
        ({"steps": 3, "data": {"x:0": X}}, ValueError, "`data` needs batch_size.*None"),
        ({"steps": 3, "data": {"x:0": X}, "batch_size": 7}, ValueError, "batch_size is 7.*6 rows"),
        ({"steps": 3, "data": {"x:0": X}, "batch_size": 2, "shuffle": True}, TypeError, "the seed"),
        ({"steps": 3, "shuffle": 0}, ValueError, "batch_size and shuffle are for `data`"),
        ({"steps": 3, "output": "all"}, ValueError, '"stack" or "last", and got \'all\''),
        ({"steps": 3, "every": 2}, ValueError, "`every` and `callback` go together"),
        ({"steps": 3}, tf.errors.InvalidArgumentError, "You must feed a value for placeholder"),
    ],
)
def test_errors_say_what_is_wrong(sess, options, error, words):
    x = tf.placeholder(tf.float32, (2,), name="x")
    y = tf.placeholder(tf.float32, (2,), name="y")
    with pytest.raises(error, match=words):
        sess.run_steps(x + y, **options)


def test_closed_sessions():
    with tf.Session() as sess:
        loop, used = (sess.make_loop(tf.constant(1.0) + 1.0) for _ in range(2))
        used(3)
    for closed in (loop, used):
        with pytest.raises(RuntimeError, match="closed"):
            closed(3)
    with pytest.raises(RuntimeError, match="closed"):
        sess.make_loop(tf.constant(1.0))


def test_a_kept_loop_after_its_variables_are_gone():
    sess = tf.InteractiveSession()
    v = tf.Variable(1.0, name="weights")
    loop = sess.make_loop(v.assign_add(1.0))
    sess.run(v.initializer)
    loop(3)
    sess.reset()
    with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value weights"):
        loop(3)
    sess.run(v.initializer)
    assert loop(3).tolist() == [2, 3, 4]
    sess.close()


# -- between calls ---------------------------------------------------------------------------------


def test_callback_sees_every_so_many_steps_and_may_use_the_session(sess):
    v = tf.Variable(0)
    bump = v.assign_add(1)
    seen = []
    sess.run(v.initializer)
    got = sess.run_steps(
        bump,
        steps=10,
        every=4,
        callback=lambda step, value: seen.append((step, value, sess.run(v))),
    )
    assert seen == [(4, 4, 4), (8, 8, 8)]
    assert got.tolist() == list(range(1, 11))


def test_a_callback_that_fails_loses_nothing(sess):
    v = tf.Variable(0)
    bump = v.assign_add(1)
    sess.run(v.initializer)

    def stop(step, value):
        raise StopIteration

    with pytest.raises(StopIteration):
        sess.run_steps(bump, steps=10, every=4, callback=stop)
    assert sess.run(v) == 4


def test_callback_may_change_variables(sess):
    v, w = tf.Variable([1.0, 1.0]), tf.Variable([2.0])
    both = [v.assign_add(w * [1.0, 1.0]), w.assign_add([0.0])]
    reset = v.assign([0.0, 0.0])
    sess.run(tf.global_variables_initializer())
    got = sess.run_steps(both, steps=6, every=3, callback=lambda *_: sess.run(reset))
    assert got[0][:, 0].tolist() == [3, 5, 7, 2, 4, 6]


def test_interrupt_stops_after_a_call_with_its_steps_done(sess, monkeypatch):
    from headrace.runtime import xla_loop

    monkeypatch.setattr(xla_loop, "_MOST_TURNS", 8)
    call = xla_loop.CompiledLoop.call

    def interrupted(self, *args):
        os.kill(os.getpid(), signal.SIGINT)
        return call(self, *args)

    v = tf.Variable(0)
    bump = v.assign_add(1)
    sess.run(v.initializer)
    monkeypatch.setattr(xla_loop.CompiledLoop, "call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sess.run_steps(bump, steps=100)
    assert sess.run(v) == 9  # one by NumPy, eight by XLA


def test_progress(sess, capsys, monkeypatch):
    x = tf.placeholder(tf.float32, ())
    sess.run_steps(x + 1.0, {x: 1.0}, 20, progress=True)
    assert "20/20" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    sess.run_steps(x + 1.0, {x: 1.0}, 20, progress=True)
    assert capsys.readouterr().err == ""


def test_longer_and_shorter_loops_share_what_was_compiled(sess, monkeypatch):
    from headrace.runtime import xla_loop

    made = []
    init = xla_loop.CompiledLoop.__init__
    monkeypatch.setattr(
        xla_loop.CompiledLoop, "__init__", lambda self, *args: made.append(1) or init(self, *args)
    )
    v = tf.Variable(0)
    loop = sess.make_loop(v.assign_add(1))
    sess.run(v.initializer)
    for n, compiled in ((100, 1), (7, 1), (120, 1), (1000, 2), (3, 2)):
        loop(n)
        assert len(made) == compiled

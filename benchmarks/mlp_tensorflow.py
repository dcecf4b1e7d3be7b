"""The dense network in TensorFlow's ways: sessions (headrace's too), tf.function, Keras."""

import numpy as np
from mlp import BETA1, BETA2, EPSILON, batches, orders, problem
from precision import set_tensorflow


def graph_of(tf, case, weights):
    """Build a TensorFlow-1 program: (x, y, train, loss, init)."""

    def product(h, w):
        if case.precision != "bfloat16":
            return tf.matmul(h, w)
        return tf.cast(tf.matmul(tf.cast(h, tf.bfloat16), tf.cast(w, tf.bfloat16)), tf.float32)

    x = tf.placeholder(tf.float32, [None, case.layers[0]], name="x")
    y = tf.placeholder(tf.float32, [None, case.layers[-1]], name="y")
    h = x
    for i, (w, b) in enumerate(weights):
        z = product(h, tf.Variable(w, name=f"w{i}")) + tf.Variable(b, name=f"b{i}")
        h = tf.nn.relu(z)
    if case.layers[-1] == 1:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=z)
    else:
        losses = tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=z)
    loss = tf.reduce_mean(losses)
    if case.optimizer == "adam":
        optimizer = tf.train.AdamOptimizer(case.rate, BETA1, BETA2, EPSILON)
    else:
        optimizer = tf.train.GradientDescentOptimizer(case.rate)
    return x, y, optimizer.minimize(loss), loss, tf.global_variables_initializer()


def limited(tf, cores):
    """The configuration of a session on so many cores."""
    return tf.ConfigProto(intra_op_parallelism_threads=cores, inter_op_parallelism_threads=cores)


def session_program(tf, case, cores, way):
    """Run the graph; `tf` is TensorFlow's compat.v1 or headrace.

    `way` is run, callable or loop; or ahead, in headrace: each batch is on its way to the device
    while the step before is computed.
    """
    set_tensorflow(tf, case.precision)
    weights, inputs, labels = problem(case)
    with tf.Graph().as_default() as graph:
        x, y, train, loss, init = graph_of(tf, case, weights)
    session = tf.Session(graph=graph, config=limited(tf, cores))
    session.run(init)
    fetches, stream = [train, loss], batches(case, inputs, labels)
    if way == "loop":
        if case.examples:
            loop = session.make_loop(
                fetches, data={x: inputs, y: labels}, batch_size=case.batch, shuffle=0
            )
        else:
            loop = session.make_loop(fetches, {x: inputs, y: labels})
        return lambda: loop(case.steps)[1]
    if way == "callable":
        run = session.make_callable(fetches, feed_list=[x, y])
        return lambda: run(*next(stream))[1]
    if way == "ahead":
        return fed_ahead(
            lambda fed: session.run(fetches, dict(zip((x, y), fed, strict=True))), stream
        )

    def step():
        inputs, labels = next(stream)
        return session.run(fetches, {x: inputs, y: labels})[1]

    return step


def fed_ahead(run, stream):
    """Give `step()`: the loss of a run with one batch, while JAX carries the next to the device."""
    import jax

    ahead = jax.device_put(next(stream))

    def step():
        nonlocal ahead
        now, ahead = ahead, jax.device_put(next(stream))
        return run(now)[1]

    return step


def headrace(case, cores, way="run"):
    """`session_program` in headrace."""
    import headrace as tf

    return session_program(tf, case, cores, way)


def tensorflow(case, cores, way="run"):
    """`session_program` in TensorFlow, with its second version's behaviour off."""
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    return session_program(tf, case, cores, way)


def function(case, cores, jit=None, many=False):
    """TensorFlow 2: a `tf.function` of a step with the update by hand, or of a loop of steps."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    weights, inputs, labels = problem(case)
    layers = [(tf.Variable(w), tf.Variable(b)) for w, b in weights]
    params = [p for layer in layers for p in layer]
    slots = [(tf.Variable(tf.zeros_like(p)), tf.Variable(tf.zeros_like(p))) for p in params]
    updates = tf.Variable(0.0)

    def train(x, y):
        with tf.GradientTape() as tape:
            h = x
            for w, b in layers:
                z = h @ w + b
                h = tf.nn.relu(z)
            if case.layers[-1] == 1:
                loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, z))
            else:
                loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(y, z))
        grads = tape.gradient(loss, params)
        if case.optimizer == "adam":
            t = updates.assign_add(1)
            rate = case.rate * tf.sqrt(1 - BETA2**t) / (1 - BETA1**t)
            for p, g, (m, v) in zip(params, grads, slots, strict=True):
                m.assign_add((1 - BETA1) * (g - m))
                v.assign_add((1 - BETA2) * (g * g - v))
                p.assign_sub(rate * m / (tf.sqrt(v) + EPSILON))
        else:
            for p, g in zip(params, grads, strict=True):
                p.assign_sub(case.rate * g)
        return loss

    @tf.function(jit_compile=jit)
    def loop(x, y, order):
        losses = tf.TensorArray(tf.float32, case.steps)
        for i in tf.range(case.steps):
            if case.examples:
                loss = train(tf.gather(x, order[i]), tf.gather(y, order[i]))
            else:
                loss = train(x, y)
            losses = losses.write(i, loss)
        return losses.stack()

    if many:
        x, y, shuffled = tf.constant(inputs), tf.constant(labels), orders(case)
        same = np.empty((0, 0), np.int32)
        return lambda: loop(x, y, next(shuffled) if case.examples else same).numpy()
    call, stream = tf.function(train, jit_compile=jit), batches(case, inputs, labels)
    return lambda: float(call(*next(stream)))


def keras_model(case, weights):
    """The network as a compiled Keras model."""
    import keras

    *hidden, last = case.layers[1:]
    model = keras.Sequential(
        [
            keras.Input((case.layers[0],)),
            *(keras.layers.Dense(n, "relu") for n in hidden),
            keras.layers.Dense(last),
        ]
    )
    model.set_weights([p for layer in weights for p in layer])
    if case.optimizer == "adam":
        optimizer = keras.optimizers.Adam(case.rate, BETA1, BETA2, EPSILON)
    else:
        optimizer = keras.optimizers.SGD(case.rate)
    if last == 1:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    else:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    return model


def keras(case, cores):
    """Keras, a `train_on_batch` a step; cores are limited by the environment (`process.py`)."""
    weights, inputs, labels = problem(case)
    model, stream = keras_model(case, weights), batches(case, inputs, labels)
    return lambda: float(model.train_on_batch(*next(stream)))


def keras_fit(case, cores):
    """Keras, an epoch by `fit`, which shuffles by itself.

    So its order is its own. Only its first call, of five steps, takes the rows that the others
    take, for the losses to be compared.
    """
    import keras

    class Losses(keras.callbacks.Callback):
        """The losses of a call's batches, of which Keras tells the mean so far."""

        def on_train_begin(self, logs=None):
            """Forget those of the call before."""
            self.totals = [0.0]

        def on_train_batch_end(self, batch, logs=None):
            """Keep one."""
            self.totals.append((batch + 1) * logs["loss"])

    weights, inputs, labels = problem(case)
    model, losses = keras_model(case, weights), Losses()
    first = next(orders(case))[:5].ravel()

    def step():
        nonlocal first
        if first is not None:
            x, y, shuffle, first = inputs[first], labels[first], False, None
        else:
            x, y, shuffle = inputs, labels, True
        model.fit(
            x, y, batch_size=case.batch, shuffle=shuffle, verbose=0, callbacks=[losses],
            steps_per_epoch=len(x) // case.batch,
        )  # fmt: skip
        return np.diff(losses.totals)

    return step

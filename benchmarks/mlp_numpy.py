"""The dense network on NumPy's arrays: by hand, compiled by PyTensor, by scikit-learn."""

import numpy as np
from mlp import BETA1, BETA2, EPSILON, batches, problem


def numpy(case, cores):
    """NumPy by hand: the forward pass, the backward pass and the update written out."""
    weights, *data = problem(case)
    stream = batches(case, *data)
    params = [p for layer in weights for p in layer]
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in params]
    updates = 0

    def gradients():
        inputs, labels = next(stream)
        outputs = [inputs]
        for w, b in weights:
            z = outputs[-1] @ w
            z += b
            outputs.append(np.maximum(z, 0))
        if case.layers[-1] == 1:
            e = np.exp(-np.abs(z))
            loss = np.mean(np.maximum(z, 0) - z * labels + np.log1p(e))
            dz = np.where(z >= 0, 1, e) / (1 + e) - labels
        else:
            z -= z.max(axis=1, keepdims=True)
            e = np.exp(z)
            total = e.sum(axis=1, keepdims=True)
            loss = np.mean((np.log(total) - z)[labels == 1])
            dz = e / total - labels
        dz /= len(inputs)
        grads = []
        for i in reversed(range(len(weights))):
            grads = [outputs[i].T @ dz, dz.sum(axis=0), *grads]
            if i:
                dz = dz @ weights[i][0].T
                dz *= outputs[i] > 0
        return loss, grads

    def step():
        nonlocal updates
        loss, grads = gradients()
        updates += 1
        if case.optimizer == "adam":
            rate = case.rate * (1 - BETA2**updates) ** 0.5 / (1 - BETA1**updates)
            for p, g, (m, v) in zip(params, grads, moments, strict=True):
                m += (1 - BETA1) * (g - m)
                v += (1 - BETA2) * (g * g - v)
                p -= rate * m / (np.sqrt(v) + EPSILON)
        else:
            for p, g in zip(params, grads, strict=True):
                g *= case.rate
                p -= g
        return loss

    return step


def pytensor(case, cores):
    """PyTensor: a function compiled by Numba, with shared variables that it updates."""
    import pytensor
    import pytensor.tensor as pt

    def number(value):  # a float64 would make float64 of all that it meets
        return np.float32(value)

    weights, *data = problem(case)
    params = [pytensor.shared(p) for layer in weights for p in layer]
    x, y = pt.matrix(dtype="float32"), pt.matrix(dtype="float32")
    h = x
    for w, b in zip(params[::2], params[1::2], strict=True):
        z = h @ w + b
        h = pt.maximum(z, number(0))
    if case.layers[-1] == 1:
        loss = pt.mean(pt.softplus(z) - z * y)
    else:
        loss = -pt.mean(pt.sum(y * pt.special.log_softmax(z, axis=-1), axis=-1))
    grads = pt.grad(loss, params)
    if case.optimizer == "adam":
        before = pytensor.shared(number(0))
        t = before + number(1)
        rate = number(case.rate) * pt.sqrt(1 - number(BETA2) ** t) / (1 - number(BETA1) ** t)
        updates = [(before, t)]
        for p, g in zip(params, grads, strict=True):
            m_before, v_before = (pytensor.shared(np.zeros_like(p.get_value())) for _ in range(2))
            m = m_before + number(1 - BETA1) * (g - m_before)
            v = v_before + number(1 - BETA2) * (g * g - v_before)
            updates += [(m_before, m), (v_before, v)]
            updates.append((p, p - rate * m / (pt.sqrt(v) + number(EPSILON))))
    else:
        updates = [(p, p - number(case.rate) * g) for p, g in zip(params, grads, strict=True)]
    call = pytensor.function([x, y], loss, updates=updates, mode="NUMBA")
    call.trust_input = True  # its checks of what it is fed take longer than a small step
    stream = batches(case, *data)
    return lambda: float(call(*next(stream)))


def sklearn(case, cores):
    """scikit-learn's `partial_fit`, started from our weights; its labels are class numbers."""
    from sklearn.neural_network import MLPClassifier

    weights, x, y = problem(case)
    model = MLPClassifier(
        case.layers[1:-1], alpha=0, batch_size=case.batch, shuffle=False, momentum=0,
        learning_rate_init=case.rate, beta_1=BETA1, beta_2=BETA2, epsilon=EPSILON,
        solver="adam" if case.optimizer == "adam" else "sgd", nesterovs_momentum=False,
    )  # fmt: skip
    labels = y[:, 0].astype(int) if case.layers[-1] == 1 else y.argmax(axis=1)
    stream = batches(case, x, labels)
    classes = range(max(case.layers[-1], 2))
    start = x[: case.batch], labels[: case.batch]
    model.partial_fit(*start, classes=classes)  # only to make the arrays
    for (w, b), coef, intercept in zip(weights, model.coefs_, model.intercepts_, strict=True):
        coef[...], intercept[...] = w, b
    del model._optimizer  # its moments have seen other weights; it is made anew

    def step():
        nonlocal classes
        model.partial_fit(*next(stream), classes=classes)
        classes = None  # wanted only by the call that makes the optimizer
        return model.loss_

    return step

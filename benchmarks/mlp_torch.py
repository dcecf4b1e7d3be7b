"""The dense network in PyTorch, eagerly or compiled."""

from contextlib import nullcontext

from mlp import BETA1, BETA2, EPSILON, batches, problem
from precision import set_torch


def perceptron(weights, activation):
    """Give an `nn.Sequential` of dense layers with these weights, an activation between."""
    import torch
    from torch import nn

    layers = []
    for w, b in weights:
        layer = nn.Linear(*w.shape)
        layer.weight.data = torch.from_numpy(w.T.copy())
        layer.bias.data = torch.from_numpy(b)
        layers += [layer, activation()]
    return nn.Sequential(*layers[:-1])


def narrow(model):
    """Give the model as a function whose products are in bfloat16 and all else in float32."""
    import torch
    from torch import nn

    def forward(h):
        for layer in model:
            if isinstance(layer, nn.Linear):
                product = h.to(torch.bfloat16) @ layer.weight.to(torch.bfloat16).T
                h = product.to(torch.float32) + layer.bias
            else:
                h = layer(h)
        return h

    return forward


def sent_ahead(stream, device):
    """Give `take()`: what the next step is fed, while the batch after it is on its way.

    By a stream of its own, as PyTorch's data loaders have it; the batches lie in pinned memory.
    """
    import torch

    side = torch.cuda.Stream() if device.type == "cuda" else None

    def send():
        with torch.cuda.stream(side) if side else nullcontext():
            return [a.to(device, non_blocking=True) for a in next(stream)]

    coming = send()

    def take():
        nonlocal coming
        now = coming
        if side:
            torch.cuda.current_stream().wait_stream(side)
            for tensor in now:
                tensor.record_stream(torch.cuda.current_stream())
        coming = send()
        return now

    return take


def torch(case, cores, compiled=False, ahead=False):
    """`nn.Sequential`, `torch.optim` as they come, `loss.item()`; or both by `torch.compile`."""
    import torch
    from torch import nn

    torch.set_num_threads(cores)
    device = set_torch(case.precision)
    weights, inputs, labels = problem(case)
    model = perceptron(weights, nn.ReLU).to(device)
    forward = narrow(model) if case.precision == "bfloat16" else model
    criterion = nn.BCEWithLogitsLoss() if case.layers[-1] == 1 else nn.CrossEntropyLoss()
    if case.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), case.rate, (BETA1, BETA2), EPSILON)
    else:
        optimizer = torch.optim.SGD(model.parameters(), case.rate)

    def loss_of(x, y):
        return criterion(forward(x), y)

    update = optimizer.step
    if compiled:
        torch.compiler.reset()  # of the case before
        loss_of, update = torch.compile(loss_of), torch.compile(update)

    def select(array, rows):
        return array.index_select(0, torch.from_numpy(rows).to(device))

    if case.examples:  # kept as tensors; a batch that stays the same is fed as it is to the others
        inputs, labels = (torch.from_numpy(a).to(device) for a in (inputs, labels))
    elif ahead:
        inputs, labels = (
            a.pin_memory() if device.type == "cuda" else a
            for a in map(torch.from_numpy, (inputs, labels))
        )
    stream = batches(case, inputs, labels, take=select)
    if ahead:
        take = sent_ahead(stream, device)
    elif device.type == "cuda":
        take = lambda: [torch.as_tensor(a).to(device) for a in next(stream)]  # noqa: E731
    else:
        take = lambda: map(torch.as_tensor, next(stream))  # noqa: E731

    def step():
        x, y = take()
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        update()
        return loss.item()

    return step

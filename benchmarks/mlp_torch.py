"""The dense network in PyTorch, eagerly or compiled."""

from mlp import BETA1, BETA2, EPSILON, batches, problem


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


def torch(case, cores, compiled=False):
    """`nn.Sequential`, `torch.optim` as they come, `loss.item()`; or both by `torch.compile`."""
    import torch
    from torch import nn

    torch.set_num_threads(cores)
    weights, inputs, labels = problem(case)
    model = perceptron(weights, nn.ReLU)
    criterion = nn.BCEWithLogitsLoss() if case.layers[-1] == 1 else nn.CrossEntropyLoss()
    if case.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), case.rate, (BETA1, BETA2), EPSILON)
    else:
        optimizer = torch.optim.SGD(model.parameters(), case.rate)

    def loss_of(x, y):
        return criterion(model(x), y)

    update = optimizer.step
    if compiled:
        torch.compiler.reset()  # of the case before
        loss_of, update = torch.compile(loss_of), torch.compile(update)

    def select(array, rows):
        return array.index_select(0, torch.from_numpy(rows))

    if case.examples:  # kept as tensors; a batch that stays the same is fed as it is to the others
        inputs, labels = torch.from_numpy(inputs), torch.from_numpy(labels)
    stream = batches(case, inputs, labels, take=select)

    def step():
        x, y = map(torch.as_tensor, next(stream))
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        update()
        return loss.item()

    return step

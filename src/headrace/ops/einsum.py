"""Einstein sums: products of tensors given by letters for their axes."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import Spec, op
from headrace.ops import array, math, reduce
from headrace.ops.operands import is_floating

# -- equations -------------------------------------------------------------------------------------


def _parse(equation: str) -> tuple[list[str], str]:
    """The letters of each operand, and of the result; an ellipsis is a dot."""
    before, arrow, after = equation.replace("...", ".").partition("->")
    if not arrow:
        raise ValueError(f"Expecting exactly one '->' in einsum equation: {equation}")
    return before.split(","), after


def _sizes(inputs: Sequence[str], dims: Sequence[shapes.Shape]) -> dict[str, int | None]:
    """The size of each letter; ValueError in TensorFlow's words if two operands clash."""
    sizes: dict[str, int | None] = {}
    for letters, shape in zip(inputs, dims, strict=True):
        if shape is None:
            for letter in letters.replace(".", ""):
                sizes.setdefault(letter, None)
            continue
        for letter, size in zip(*_apart(letters, shape)[:2], strict=True):
            sizes[letter] = shapes.merge_size(sizes.get(letter), size)
    return sizes


def _apart(letters: str, shape: Any) -> tuple[str, tuple[Any, ...], Any]:
    """The letters without the ellipsis, their sizes, and the sizes that the ellipsis stands for."""
    named = letters.replace(".", "")
    if "." not in letters:
        return named, shapes.with_rank(shape, len(named)), None
    shapes.at_least_rank(shape, len(named))
    i = letters.index(".")
    j = len(shape) - (len(named) - i)
    return named, (*shape[:i], *shape[j:]), tuple(shape[i:j])


# -- the op ----------------------------------------------------------------------------------------


@op("Einsum", "inputs: N*T -> output: T", T=dtypes.NUMBERS)
def _einsum(xp: Any, xs: Sequence[Any], *, equation: str) -> Any:
    inputs, output = _parse(equation)
    made = next((d for d in output if d != "." and output.count(d) > 1), None)
    xs = list(xs)
    while made:  # a letter twice in the result makes a diagonal: a product with the identity
        i = next(i for i, s in enumerate(inputs) if made in s)
        n = _apart(inputs[i], xs[i].shape)[1][inputs[i].replace(".", "").index(made)]
        fresh = next(c for c in string.ascii_letters if c not in equation)
        at = output.rindex(made)
        output = output[:at] + fresh + output[at + 1 :]
        inputs = [*inputs, made + fresh]
        equation += fresh
        xs.append(np.eye(n, dtype=xs[0].dtype))
        made = next((d for d in output if d != "." and output.count(d) > 1), None)
    text = f"{','.join(inputs)}->{output}".replace(".", "...")
    if xp.traced:
        return xp.einsum(text, *xs)
    if is_floating(xs[0]) and xs[0].dtype.itemsize == 2:
        wide = [x.astype(np.float32) for x in xs]
        return np.einsum(text, *wide, optimize=True).astype(xs[0].dtype)
    return np.einsum(text, *xs, optimize=len(xs) > 1)


@_einsum.def_infer
def _(xs: list[Spec], *, equation: str) -> shapes.Shape:
    inputs, output = _parse(equation)
    dims = [x.shape for x in xs]
    sizes = _sizes(inputs, dims)
    result = [sizes[d] for d in output.replace(".", "")]
    if "." not in output:
        return tuple(result)
    batch: shapes.Shape = ()
    for letters, shape in zip(inputs, dims, strict=True):
        if "." in letters:
            if shape is None:
                return None
            batch = shapes.broadcast(batch, _apart(letters, shape)[2])
    i = output.index(".")
    return (*result[:i], *batch, *result[i:])  # type: ignore[misc]


@_einsum.def_gradient
def _(op: Any, dy: Any) -> Any:
    inputs, output = _parse(op.attrs["equation"])
    return [_operand_gradient(op, dy, inputs, output, i) for i in range(len(inputs))]


def _operand_gradient(op: Any, dy: Tensor, inputs: list[str], output: str, i: int) -> Tensor:
    """Swap the operand with the result; what was summed away in it alone is repeated."""
    x, mine = op.inputs[i], inputs[i]
    others = [
        (s, math.conj(t)) for j, (s, t) in enumerate(zip(inputs, op.inputs, strict=True)) if j != i
    ]
    seen = set(output).union(*(s for s, _ in others))
    kept = "".join(d for d in mine if d in seen or d == ".")
    if "." in output and "." not in kept:
        kept = "." + kept  # summed below: x was broadcast
    equation = f"{','.join([output, *(s for s, _ in others)])}->{kept}".replace(".", "...")
    g = _einsum([dy, *(t for _, t in others)], equation=equation)
    if "." in mine:
        inner = [len(s.replace(".", "")) for s in inputs]
        g = _sum_ellipsis(g, x, kept, inner[i], op, inputs)
    elif "." in kept:
        g = _sum_leading(g, len(mine))
    if kept.replace(".", "") == mine.replace(".", ""):
        return g
    return _repeat(g, x, kept, mine)


def _sum_leading(g: Tensor, inner: int) -> Tensor:
    if g._dims is None:
        raise NotImplementedError("The gradient of an einsum with '...' needs known ranks.")
    return reduce.reduce_sum(g, np.arange(len(g._dims) - inner))


def _sum_ellipsis(
    g: Tensor, x: Tensor, kept: str, inner: int, op: Any, inputs: list[str]
) -> Tensor:
    """The gradient summed over the axes of the ellipsis along which x was broadcast."""
    mine = inputs[[t is x for t in op.inputs].index(True)]
    if g._dims is None or x._dims is None:
        raise NotImplementedError("The gradient of an einsum with '...' needs known ranks.")
    at = kept.index(".")
    have = g._dims[at : at + len(g._dims) - len(kept) + 1]
    want = _apart(mine, x._dims)[2]
    extra = len(have) - len(want)
    if None in want and any(s is None and h != 1 for s, h in zip(want, have[extra:], strict=True)):
        others = [_apart(s, t._dims)[2] for s, t in zip(inputs, op.inputs, strict=True)
                  if "." in s and t is not x]  # fmt: skip
        if any(other and len(other) >= 1 for other in others) and not all(
            o is not None and o[len(o) - len(want) :] == want for o in others if o is not None
        ):
            raise NotImplementedError(
                "The gradient of an einsum whose '...' broadcasts needs its sizes when built."
            )
    axes = [at + i for i in range(extra)]
    once = [at + extra + i for i, (h, w) in enumerate(zip(have[extra:], want, strict=True))
            if w == 1 and h != 1]  # fmt: skip
    if once:
        g = reduce.reduce_sum(g, once, keepdims=True)
    return reduce.reduce_sum(g, axes) if axes else g


def _repeat(g: Tensor, x: Tensor, kept: str, mine: str) -> Tensor:
    """The gradient with the letters that were summed away put back, repeated along them."""
    order = kept
    for at, letter in enumerate(mine):
        if letter not in kept and letter not in mine[:at]:
            order = order[:at] + letter + order[at:]
    seen: list[str] = []
    for letter in mine:  # each letter once, in the order of the operand
        if letter not in seen:
            seen.append(letter)
    shape = array.shape(x)
    once = "".join(dict.fromkeys(kept))
    if len(once) != len(kept):
        raise NotImplementedError(f"The gradient of an einsum with {mine!r} as an operand.")
    for at, letter in enumerate(seen):
        if letter not in kept:
            g = array.expand_dims(g, at)
    if "." in mine:
        return array.broadcast_to(g, shape)
    first = [mine.index(d) for d in seen]
    sizes = array.stack([shape[i] for i in first]) if not shapes.is_full(x._dims) else [
        x._dims[i] for i in first  # type: ignore[index]
    ]  # fmt: skip
    g = array.broadcast_to(g, sizes)
    if len(seen) == len(mine):
        return g
    return _einsum([g], equation=f"{''.join(seen)}->{mine}")


# -- the public function ---------------------------------------------------------------------------


def einsum(equation: str, *inputs: Any, **kwargs: Any) -> Tensor:
    """The Einstein sum of tensors, such as `einsum("ij,jk->ik", a, b)` for a product of matrices.

    A letter names an axis; those missing behind `->` are summed over. `...` stands for leading axes
    that broadcast. ValueError for letters that do not fit the operands.
    """
    name = kwargs.pop("name", None)
    kwargs.pop("optimize", None)
    if kwargs:
        raise TypeError(f"Invalid keyword arguments for einsum: {', '.join(kwargs)}")
    with name_scope(name, "einsum", list(inputs)):
        tensors = [convert_to_tensor(x) for x in inputs]
        letters, output = _resolve(equation, tensors)
        if len(tensors) > 2:
            while len(tensors) > 2:
                letters, tensors = _contract_first(letters, output, tensors)
            letters, tensors = letters[::-1], tensors[::-1]  # the latest product first
        return _einsum(tensors, equation=_text(letters, output))


def _text(letters: Sequence[str], output: str) -> str:
    return f"{','.join(letters)}->{output}".replace(".", "...")


def _resolve(equation: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    text = equation.replace(" ", "")
    before, arrow, after = text.partition("->")
    letters = before.replace("...", ".").split(",")
    if len(letters) != len(tensors):
        raise ValueError(
            f"Got {len(tensors)} arguments for equation {equation!r}, expecting {len(letters)}."
        )
    for s in letters:
        named = s.replace(".", "")
        if s.count(".") > 1 or (named and not named.isalpha()):
            raise ValueError(f"Subscripts {s!r} of equation {equation!r} are not letters.")
    if arrow:
        output = after.replace("...", ".")
        if output.replace(".", "") and not output.replace(".", "").isalpha():
            raise ValueError(f"Subscripts {after!r} of equation {equation!r} are not letters.")
    else:
        joined = "".join(letters)
        once = sorted(d for d in set(joined) if d != "." and joined.count(d) == 1)
        output = ("." if "." in joined else "") + "".join(once)
    for d in output.replace(".", ""):
        if not any(d in s for s in letters):
            raise ValueError(
                f"Output subscripts contain the label {d} not present in the input subscripts."
            )
    for s, t in zip(letters, tensors, strict=True):
        if t._dims is not None:
            _apart(s, t._dims)
    return letters, output


def _contract_first(
    letters: list[str], output: str, tensors: list[Tensor]
) -> tuple[list[str], list[Tensor]]:
    """Multiply the two operands that NumPy's greedy search would take first."""
    sizes = _sizes(letters, [t._dims for t in tensors])
    known = {d: 2 if n is None else n for d, n in sizes.items()}
    if any("." in s for s in letters):
        pair = (0, 1)
    else:
        dummies = [np.broadcast_to(0.0, [known[d] for d in s]) for s in letters]
        path = np.einsum_path(_text(letters, output), *dummies, optimize="greedy")[0]
        pair = tuple(sorted(path[1]))
        if len(pair) != 2:
            pair = (0, 1)
    i, j = pair
    first, second = letters[j], letters[i]
    rest = [s for k, s in enumerate(letters) if k not in pair]
    needed = set(output).union(*rest)
    joined = first + second
    kept = "".join(sorted((set(joined) & needed) - {"."}, key=joined.find))
    kept = ("." if "." in joined else "") + kept
    product = _einsum([tensors[j], tensors[i]], equation=_text([first, second], kept))
    others = [t for k, t in enumerate(tensors) if k not in pair]
    return [*rest, kept], [*others, product]

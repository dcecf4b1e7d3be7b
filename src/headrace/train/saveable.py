"""What a Saver saves: variables, parts of them, and objects of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from headrace.conversion import convert_to_tensor
from headrace.devices import merge_devices
from headrace.dtypes import DType
from headrace.graph import device, get_default_graph
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor
from headrace.ops import array, state
from headrace.partitioned import PartitionedVariable
from headrace.variables import ResourceVariable, Variable

_REF_TYPES = ("Variable", "VariableV2")
_RESOURCE_TYPES = ("VarHandleOp", "ReadVariableOp")


class SaveSpec:
    """A tensor to save under a name; `slice_spec` says which part of a larger one it is."""

    def __init__(
        self,
        tensor: Any,
        slice_spec: str,
        name: str,
        dtype: DType | None = None,
        device: str | None = None,
    ):
        self._tensor: Any = tensor
        self._is_maker = callable(tensor)
        self.slice_spec = slice_spec
        self.name = name
        self.dtype = tensor.dtype if dtype is None else dtype
        self.device = tensor.device if device is None else device

    @property
    def tensor(self) -> Tensor:
        """The tensor; it may be made only now."""
        return self._tensor() if self._is_maker else self._tensor


class SaveableObject:
    """What is saved and restored as one: a base for the user's own, who overrides `restore`."""

    def __init__(self, op: Any, specs: Sequence[SaveSpec], name: str):
        self.op = op
        self.specs = specs
        self.name = name

    @property
    def device(self) -> str:
        """The device of its tensors."""
        return self.specs[0].device

    def restore(self, restored_tensors: Sequence[Tensor], restored_shapes: Any) -> Operation:
        """An operation that takes the tensors read for its specs, of these shapes if given."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to restore.")


class _Ref(SaveableObject):
    """A variable of the ref kind."""

    def __init__(self, variable: Any, slice_spec: str, name: str):
        ref = variable._variable if isinstance(variable, Variable) else variable
        kept = variable._snapshot if slice_spec else ref
        super().__init__(ref, [SaveSpec(kept, slice_spec, name, ref.dtype)], name)

    def restore(self, restored_tensors: Sequence[Tensor], restored_shapes: Any) -> Operation:
        value = restored_tensors[0]
        if restored_shapes is not None:
            value = array.reshape(value, restored_shapes[0])
        known = restored_shapes is None and self.op.shape.is_fully_defined()
        return state.assign(self.op, value, validate_shape=known).op


class _Resource(SaveableObject):
    """A variable of the resource kind."""

    def __init__(self, variable: Any, slice_spec: str, name: str):
        if isinstance(variable, Variable):
            self._handle, shape = variable._variable, variable.shape
            tensor, kind = lambda: _read(variable), variable.dtype
        else:
            self._handle, shape = variable.op.inputs[0], variable.shape
            tensor, kind = variable, variable.dtype
        self._shape = shape
        spec = SaveSpec(tensor, slice_spec, name, kind, variable.device)
        super().__init__(self._handle, [spec], name)

    def restore(self, restored_tensors: Sequence[Tensor], restored_shapes: Any) -> Operation:
        value = restored_tensors[0]
        if restored_shapes is not None:
            value = array.reshape(value, restored_shapes[0])
        with device(self.device):
            value = array.identity(value)
            if not value.shape.is_compatible_with(self._shape):
                raise ValueError(
                    f"Received incompatible tensor with shape {value.shape} when attempting to "
                    f"restore variable with shape {self._shape} and name {self.name}."
                )
            return state.assign_variable(self._handle, value)


def _read(variable: Any) -> Tensor:
    with device(variable.device):
        value = variable.read_value()
        with device("/device:CPU:0"):
            return array.identity(value)


# -- from what the user gives ----------------------------------------------------------------------


def all_saveables(scope: str | None = None) -> list[Any]:
    """What is saved if nothing is said: global variables, and what was put with them."""
    graph = get_default_graph()
    return graph.get_collection(GraphKeys.GLOBAL_VARIABLES, scope) + graph.get_collection(
        GraphKeys.SAVEABLE_OBJECTS, scope
    )


def by_name(variables: Iterable[Any]) -> dict[str, Any]:
    """Variables by the names under which they are saved; parts of one as a list.

    TypeError for what is no list or has what is no variable, ValueError for equal names.
    """
    if not isinstance(variables, (list, tuple, set)):
        raise TypeError(f"Variables to save should be passed in a dict or a list. Got {variables}")
    named: dict[str, Any] = {}
    for item in sorted(_flatten(variables), key=lambda v: v.name):
        part = getattr(item, "_save_slice_info", None)
        if isinstance(item, (SaveableObject, PartitionedVariable)):
            name, kept = item.name, item
        elif part is not None:
            name = part.full_name
            if not isinstance(named.setdefault(name, []), list):
                raise ValueError(f"Mixing slices and non-slices with the same name: {name}")
            named[name].append(item)
            continue
        else:
            kept = _tensor_of(item)
            if kept is None:
                raise TypeError(f"Variable to save is not a Variable: {item}")
            name = (kept.op.inputs[0].op if kept.op.type == "ReadVariableOp" else kept.op).name
        if name in named:
            raise ValueError(f"At least two variables have the same name: {name}")
        named[name] = kept
    return named


def _flatten(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, (list, tuple, set)):
            yield from _flatten(item)
        else:
            yield item


def _tensor_of(item: Any) -> Tensor | None:
    """The tensor that stands for a variable in a graph; None if it is no variable."""
    if isinstance(item, ResourceVariable):
        return item._snapshot
    tensor = convert_to_tensor(item, as_ref=True)
    return tensor if tensor.op.type in (*_REF_TYPES, *_RESOURCE_TYPES) else None


def saveables(named: dict[str, Any]) -> list[SaveableObject]:
    """The saveable objects of variables by name, in the order of names.

    TypeError for what is no variable, ValueError if one is there twice.
    """
    for name in named:
        if not isinstance(name, str):
            raise TypeError(
                "names_to_saveables must be a dict mapping string names to trackable operations. "
                f"Name is not a string: {name}"
            )
    made: list[SaveableObject] = []
    seen: set[Any] = set()
    for name in sorted(named):
        for saveable in _of(named[name], name):
            if saveable.op is not None and saveable.op in seen:
                raise ValueError(
                    f"The same saveable will be restored with two names: {saveable.name}"
                )
            seen.add(saveable.op)
            made.append(saveable)
    return made


def _of(item: Any, name: str) -> Iterator[SaveableObject]:
    if isinstance(item, SaveableObject):
        yield item
    elif isinstance(item, (list, tuple, PartitionedVariable)):
        yield from _parts(list(item), name)
    else:
        tensor = _tensor_of(item)
        if tensor is None:
            raise TypeError(
                "names_to_saveables must be a dict mapping string names to Tensors/Variables. Not "
                f"a variable: {item}"
            )
        yield (_Ref if tensor.op.type in _REF_TYPES else _Resource)(tensor, "", name)


def _parts(items: Sequence[Any], name: str) -> Iterator[SaveableObject]:
    whole: str | None = None
    for part in items:
        if isinstance(part, SaveableObject):
            yield part
            continue
        if not isinstance(part, Variable):
            raise ValueError(f"Slices must all be Variables: {part}")
        info = part._save_slice_info
        if info is None:
            raise ValueError(f"Slices must all be slices: {part}")
        whole = info.full_name if whole is None else whole
        if info.full_name != whole:
            raise ValueError(
                f"Slices must all be from the same tensor: {whole} != {info.full_name}"
            )
        yield (_Resource if isinstance(part, ResourceVariable) else _Ref)(part, info.spec, name)


# -- devices ---------------------------------------------------------------------------------------


def on_cpu(name: str) -> str:
    """The CPU of the machine that a device is on."""
    return merge_devices(name, "/device:CPU:0")


def by_device(items: Iterable[SaveableObject]) -> list[tuple[str, list[SaveableObject]]]:
    """Saveable objects by the devices of their tensors, in order of these."""
    groups: dict[str, list[SaveableObject]] = {}
    for item in items:
        devices = {spec.device for spec in item.specs}
        if len(devices) != 1:
            raise ValueError(
                f"All tensors of a saveable object must be on the same device: {item.name}"
            )
        groups.setdefault(devices.pop(), []).append(item)
    return sorted(groups.items())

"""ATen operations as operations of `graph`, one function an operation.

A new operation is one function with the names it serves; nothing else changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch.fx import Node

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Add, AddBias, DataType, Graph, Linear, Relu, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onewafer.graph import Operation

_WITHOUT_EFFECT = frozenset({"aten._assert_tensor_metadata.default"})
"""Checks that export has made already."""

NOTHING = "nothing in it is for the wafer to compute"

FORMATS = {torch.float32: DataType.F32, torch.float16: DataType.F16}
"""PyTorch dtypes that the wafer computes in."""


@dataclass(frozen=True, slots=True)
class External:
    """A tensor from outside: an argument, parameter or buffer, seen with a shape.

    Its use decides what it becomes: an input of the graph where rows are expected, a parameter
    where a weight or bias is.
    """

    name: str
    tensor: torch.Tensor
    shape: tuple[int, ...]
    position: int | None = None
    """Place among the leaves of the call's arguments; None: the module or the graph holds it."""

    def find(self, leaves: Sequence[object]) -> torch.Tensor:
        """Return the tensor in a call with these leaves, in the shape it has there."""
        found = self.tensor if self.position is None else leaves[self.position]
        assert isinstance(found, torch.Tensor), "guards have compared the types"  # invariant
        return found


@dataclass(frozen=True, slots=True)
class Value:
    """A result of the graph, seen with a PyTorch shape of the same elements in the same order."""

    tensor: Tensor
    shape: tuple[int, ...]


Operand = External | Value


def to_rows(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (rows, features) of a PyTorch shape.

    >>> to_rows((4, 3, 64)), to_rows((64,))
    ((12, 64), (1, 64))
    """
    return math.prod(shape[:-1]), shape[-1]


@dataclass(slots=True)
class GraphWriter:
    """A graph under construction."""

    name: str
    dtype: DataType | None
    """None: that of the tensors, which must then have one."""
    inputs: dict[str, External] = field(default_factory=dict[str, External])
    parameters: dict[str, External] = field(default_factory=dict[str, External])
    converts: bool = field(init=False)
    _formats: dict[torch.dtype, str] = field(default_factory=dict[torch.dtype, str])
    """Format → the first tensor that has it."""
    _shapes: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    _operations: list[Operation] = field(default_factory=list["Operation"])
    _outputs: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        """Note whether the user chose the format, to which every tensor is then converted."""
        self.converts = self.dtype is not None

    def rows(self, operand: Operand) -> Tensor:
        """Return an operand as a tensor of rows; an external one becomes an input."""
        if not operand.shape:
            raise UnsupportedOperationError("a tensor without dimensions has no features")
        match operand:
            case Value():
                if to_rows(operand.shape) != operand.tensor.shape:
                    have, want = operand.tensor.shape, to_rows(operand.shape)
                    msg = f"a view between two operations re-cuts the rows: {have} to {want}"
                    raise UnsupportedOperationError(msg)
                return operand.tensor
            case External():
                shape = to_rows(operand.shape)
                name = f"{operand.name}__{shape[1]}"
                self.inputs[name] = operand
                return self._declare(name, shape, operand.tensor)

    def parameter(self, operand: Operand, what: str) -> Tensor:
        """Return an operand as a parameter that stays on the wafer."""
        match operand:
            case External(name=name, tensor=tensor, shape=shape) if shape == tuple(tensor.shape):
                self.parameters[name] = operand
                return self._declare(name, shape, tensor)
            case _:
                msg = f"the {what} is computed in the module; the wafer keeps stored ones only"
                raise UnsupportedOperationError(msg)

    def emit(self, operation: Operation, shape: tuple[int, ...]) -> Value:
        """Append an operation; return its result seen with a PyTorch shape."""
        self._operations.append(operation)
        return Value(operation.result, shape)

    def result(self, name: str, rows: int, features: int) -> Tensor:
        """Return the tensor for a new result."""
        assert self.dtype is not None, "operands were declared before"  # invariant
        _check_shape(name, (rows, features))
        return Tensor(name, (rows, features), self.dtype)

    def add_output(self, name: str) -> None:
        """Make a result an output of the graph."""
        if name not in self._outputs:
            self._outputs.append(name)

    def finish(self) -> Graph:
        """Return the graph; refuse one that computes nothing or mixes batches."""
        if not self._operations or not self._outputs:
            raise UnsupportedOperationError(NOTHING)
        inputs = tuple(self._shapes[name] for name in self.inputs)
        batches = sorted({tensor.shape[0] for tensor in inputs})
        if len(batches) != 1:
            sizes = " and ".join(str(size) for size in batches)
            raise UnsupportedOperationError(f"its inputs have different numbers of rows: {sizes}")
        parameters = tuple(self._shapes[name] for name in self.parameters)
        return Graph(self.name, inputs, parameters, tuple(self._operations), tuple(self._outputs))

    def _declare(self, name: str, shape: tuple[int, ...], tensor: torch.Tensor) -> Tensor:
        if tensor.dtype not in FORMATS:
            msg = f"{name!r} has dtype {tensor.dtype}; the wafer computes in float32 and float16"
            raise UnsupportedOperationError(msg)
        if tensor.is_meta or tensor.layout != torch.strided:
            raise UnsupportedOperationError(f"{name!r} has no plain elements in memory")
        _check_shape(name, shape)
        self._formats.setdefault(tensor.dtype, name)
        if not self.converts and len(self._formats) > 1:
            (one, first), (other, second) = self._formats.items()
            msg = f"{first!r} is {one} and {second!r} is {other}; one number format holds for all"
            raise UnsupportedOperationError(msg)
        if self.dtype is None:
            self.dtype = FORMATS[tensor.dtype]
        return self._shapes.setdefault(name, Tensor(name, shape, self.dtype))


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise UnsupportedOperationError(f"{name!r} is empty: it has shape {shape}")


class _Lowering(Protocol):
    def __call__(self, writer: GraphWriter, call: _Call) -> Operand: ...


@dataclass(frozen=True, slots=True)
class _Call:
    """One ATen call: its node and the operands that its arguments stand for."""

    node: Node
    operands: Mapping[Node, Operand]

    @property
    def name(self) -> str:
        return str(self.node.target)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return tuple(self.node.meta["val"].shape)

    def operand(self, index: int) -> Operand:
        argument = self.node.args[index]
        if isinstance(argument, Node) and argument in self.operands:
            return self.operands[argument]
        raise self.unsupported(f"its argument {index} is not a tensor: {argument!r}")

    def constant(self, index: int, name: str, default: object) -> object:
        """Return a non-tensor argument, given by position or by name."""
        if index < len(self.node.args):
            return self.node.args[index]
        return self.node.kwargs.get(name, default)

    def unsupported(self, reason: str) -> UnsupportedOperationError:
        return UnsupportedOperationError(f"{self.name}: {reason}")


_LOWERINGS: dict[str, _Lowering] = {}


def _lowers(*names: str) -> Callable[[_Lowering], _Lowering]:
    def register(lowering: _Lowering) -> _Lowering:
        _LOWERINGS.update(dict.fromkeys((f"aten.{name}" for name in names), lowering))
        return lowering

    return register


def lower(writer: GraphWriter, node: Node, operands: Mapping[Node, Operand]) -> Operand | None:
    """Translate one call of an exported graph; None if it computes nothing.

    Raises UnsupportedOperationError with the name of the operation.
    """
    call = _Call(node, operands)
    if call.name in _WITHOUT_EFFECT:
        return None
    lowering = _LOWERINGS.get(call.name)
    if lowering is None:
        raise call.unsupported("the mesh program has no such operation")
    try:
        return lowering(writer, call)
    except UnsupportedOperationError as error:
        if str(error).startswith(call.name):
            raise
        raise call.unsupported(str(error)) from None


@_lowers("linear.default")
def _lower_linear(writer: GraphWriter, call: _Call) -> Operand:
    rows = writer.rows(call.operand(0))
    weight = writer.parameter(call.operand(1), "weight")
    name, features = call.node.name, weight.shape[0]
    if call.constant(2, "bias", None) is None:
        result = writer.result(name, rows.shape[0], features)
        return writer.emit(Linear(result, rows.name, weight.name), call.shape)
    product = writer.result(f"{name}_product", rows.shape[0], features)
    writer.emit(Linear(product, rows.name, weight.name), call.shape)
    bias = writer.parameter(call.operand(2), "bias")
    result = writer.result(name, rows.shape[0], features)
    return writer.emit(AddBias(result, product.name, bias.name), call.shape)


@_lowers("relu.default")
def _lower_relu(writer: GraphWriter, call: _Call) -> Operand:
    rows = writer.rows(call.operand(0))
    result = writer.result(call.node.name, *to_rows(call.shape))
    return writer.emit(Relu(result, rows.name), call.shape)


@_lowers("add.Tensor")
def _lower_add(writer: GraphWriter, call: _Call) -> Operand:
    if call.constant(2, "alpha", 1) != 1:
        raise call.unsupported("alpha is not 1")
    left, right = call.operand(0), call.operand(1)
    if left.shape != right.shape:
        return _lower_bias(writer, call, left, right)
    first, second = writer.rows(left), writer.rows(right)
    result = writer.result(call.node.name, *first.shape)
    return writer.emit(Add(result, first.name, second.name), call.shape)


def _lower_bias(writer: GraphWriter, call: _Call, left: Operand, right: Operand) -> Operand:
    """Add a stored vector of features to rows, in either order."""
    if len(left.shape) < len(right.shape):
        left, right = right, left
    if right.shape != left.shape[-1:] or not isinstance(right, External):
        raise call.unsupported(f"it broadcasts {right.shape} over {left.shape}")
    rows, bias = writer.rows(left), writer.parameter(right, "bias")
    result = writer.result(call.node.name, *rows.shape)
    return writer.emit(AddBias(result, rows.name, bias.name), call.shape)


@_lowers("dropout.default", "dropout_.default")
def _lower_dropout(writer: GraphWriter, call: _Call) -> Operand:
    del writer
    if call.constant(2, "train", None):
        raise call.unsupported("dropout in training mode draws random numbers; call model.eval()")
    return call.operand(0)


@_lowers("native_dropout.default")
def _lower_native_dropout(writer: GraphWriter, call: _Call) -> Operand:
    del writer
    raise call.unsupported("dropout in training mode draws random numbers; call model.eval()")


@_lowers(
    "clone.default", "contiguous.default", "alias.default", "detach.default", "detach_.default"
)
def _lower_identity(writer: GraphWriter, call: _Call) -> Operand:
    del writer
    return call.operand(0)


@_lowers("to.dtype", "to.dtype_layout", "to.device", "_to_copy.default")
def _lower_conversion(writer: GraphWriter, call: _Call) -> Operand:
    del writer
    source = call.node.args[0]
    have = source.meta["val"].dtype if isinstance(source, Node) else None
    want = call.node.meta["val"].dtype
    if have != want:
        raise call.unsupported(f"it converts {have} to {want}; one number format holds for all")
    return call.operand(0)


@_lowers(
    "view.default",
    "_unsafe_view.default",
    "reshape.default",
    "flatten.using_ints",
    "unflatten.int",
    "squeeze.default",
    "squeeze.dim",
    "squeeze.dims",
    "unsqueeze.default",
)
def _lower_view(writer: GraphWriter, call: _Call) -> Operand:
    """See the same elements in the same order with another shape."""
    del writer
    match call.operand(0):
        case External() as external:
            return replace(external, shape=call.shape)
        case Value(tensor=tensor):
            return Value(tensor, call.shape)

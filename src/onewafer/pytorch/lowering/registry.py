"""The registry of the functions that lower ATen operations, and the `Call` that they get.

A new operation is one function with the names it serves; nothing else changes.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.lowering.layout import MATRIX_DIMENSIONS
from onewafer.pytorch.lowering.lines import line_of, name_of
from onewafer.pytorch.lowering.operands import (
    DividedLoss,
    External,
    FormError,
    Operand,
    Origin,
    Rotated,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch.fx import Graph
    from torch.fx.node import Argument

    from onewafer.errors import Refusal
    from onewafer.pytorch.lowering.operands import Value
    from onewafer.pytorch.lowering.writer import GraphWriter

Operands = Operand | tuple[Operand, ...]
"""The value of a node: one tensor or several."""

_WITHOUT_EFFECT = frozenset({"aten._assert_tensor_metadata.default"})
"""Checks that export has made already."""

_OF_MASKS = frozenset(
    f"aten.{name}"
    for name in ("add.Tensor", "where.self", "where.ScalarOther", "masked_fill.Scalar")
)
"""Operations that join an attention mask with a learned bias (heads, queries, keys)."""
_MASK_RANK = 4


class _Lowering(Protocol):
    def __call__(self, writer: GraphWriter, call: Call) -> Operands: ...


class _Simpler(Protocol):
    def __call__(self, writer: GraphWriter, call: Call) -> External | None: ...


@dataclass(frozen=True, slots=True)
class Number:
    """An argument that is no tensor, or a tensor that always holds this one number."""

    value: float


@dataclass(frozen=True, slots=True)
class Call:
    """One ATen call: its node and the operands that its arguments stand for."""

    node: Node
    operands: Mapping[Node, Operands]

    @property
    def name(self) -> str:
        """Name of the operation, with its overload."""
        return str(self.node.target)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return tuple(self.node.meta["val"].shape)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the result's elements."""
        return self.node.meta["val"].dtype

    def operand(self, index: int) -> Operand:
        """Return the operand of an argument that must be a tensor."""
        argument = self.node.args[index] if index < len(self.node.args) else None
        found = self._find(argument)
        if found is None:
            raise self.unsupported(f"its argument {index} is not a tensor{_show(argument)}")
        return found

    def operand_or_number(self, index: int) -> Operand | Number:
        """Return the operand of an argument, or the number that it is or always holds."""
        argument = self.node.args[index]
        match self._find(argument):
            case None if isinstance(argument, int | float) and not isinstance(argument, bool):
                return Number(float(argument))
            case External(tensor=tensor, origin=Origin.CONSTANT) if not tensor.shape:
                return Number(float(tensor.item()))
            case None:
                raise self.unsupported(f"its argument {index} is not a tensor{_show(argument)}")
            case operand:
                return operand

    def operand_list(self, index: int) -> list[Operand]:
        """Return the operands of an argument that must be a list of tensors."""
        found = [self._find(item) for item in cast("Iterable[object]", self.node.args[index])]
        if any(operand is None for operand in found):
            raise self.unsupported(f"its argument {index} is not a list of tensors")
        return [operand for operand in found if operand is not None]

    def optional(self, index: int, name: str) -> Operand | None:
        """Return the operand of an argument that may be left out."""
        return self._find(self.constant(index, name, None))

    def constant(self, index: int, name: str, default: object) -> object:
        """Return a non-tensor argument, given by position or by name."""
        if index < len(self.node.args):
            return self.node.args[index]
        return self.node.kwargs.get(name, default)

    def unsupported(self, reason: str) -> UnsupportedOperationError:
        """Return the error that names the operation, the reason and the user's line."""
        return NamedOperationError(f"`{name_of(self.node.target)}`: {reason}", line_of(self.node))

    def unknown(self) -> UnsupportedOperationError:
        """Return the error for an operation that the wafer does not have."""
        reason = f"`{name_of(self.node.target)}` is not supported on the wafer"
        return NamedOperationError(reason, line_of(self.node))

    def _find(self, argument: object) -> Operand | None:
        found = self.operands.get(argument) if isinstance(argument, Node) else None
        return None if isinstance(found, tuple) else found


def _show(argument: object) -> str:
    """Return the value of an argument that PyTorch knows too."""
    return f": {argument!r}" if isinstance(argument, bool | int | float | str) else ""


class NamedOperationError(UnsupportedOperationError):
    """A refusal that names the operation to blame."""


_LOWERINGS: dict[str, _Lowering] = {}
_SIMPLER: dict[str, _Simpler] = {}
_VIEWS: set[str] = set()
_TAKES_ROTATED: set[str] = set()


def lowers(
    *names: str, is_view: bool = False, takes_rotated: bool = False, namespace: str = "aten"
) -> Callable[[_Lowering], _Lowering]:
    """Register a function for operations of PyTorch.

    The host computes views of arguments. `Rotated` operands are written before the function gets
    them, unless it `takes_rotated`.
    """

    def register(lowering: _Lowering) -> _Lowering:
        full = [f"{namespace}.{name}" for name in names]
        _LOWERINGS.update(dict.fromkeys(full, lowering))
        if is_view:
            _VIEWS.update(full)
        if takes_rotated:
            _TAKES_ROTATED.update(full)
        return lowering

    return register


def simplifies(name: str) -> Callable[[_Simpler], _Simpler]:
    """Register a function that finds a simpler form of what the host computes with an operation.

    It returns None where there is none.
    """

    def register(simpler: _Simpler) -> _Simpler:
        _SIMPLER[f"aten.{name}"] = simpler
        return simpler

    return register


def lower(writer: GraphWriter, node: Node, operands: Mapping[Node, Operands]) -> Operands | None:
    """Translate one call of an exported graph; None if it computes nothing.

    Raises UnsupportedOperationError with the name of the operation.
    """
    call = Call(node, operands)
    writer.node = node
    if call.name in _WITHOUT_EFFECT:
        return None
    if node.target is operator.getitem:
        return _get_item(call)
    if _is_for_host(call) and not (writer.keeps_order and _orders_data(call)):
        return _compute_on_host(writer, call)
    lowering = _LOWERINGS.get(call.name)
    if lowering is None:
        raise call.unknown()
    try:
        if call.name not in _TAKES_ROTATED:
            call = _with_values(writer, call)
        return lowering(writer, call)
    except UnsupportedOperationError as error:
        raise _name_operation(call, error) from None


def find_unknown(graph: Graph, operands: Mapping[Node, Operands]) -> Iterator[tuple[Node, Refusal]]:
    """Yield the calls of a graph on data that the wafer has no operation for, with the reason.

    `operands` are at least those of placeholders. A call on data is one that gets an argument with
    data, or what was computed of one, or joins arguments and parameters.
    """
    origins = {
        node: {operand.origin}
        for node, operand in operands.items()
        if isinstance(operand, External)
    }
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        found = set[Origin]().union(*(origins.get(source, ()) for source in node.all_input_nodes))
        if {Origin.CALL, Origin.PARAMETER} <= found:
            found.add(Origin.DATA)
        origins[node] = found
        call = Call(node, {})
        is_known = call.name in _LOWERINGS or call.name in (*_WITHOUT_EFFECT, *_VIEWS)
        if Origin.DATA in found and not is_known and node.target is not operator.getitem:
            yield node, call.unknown().refusal


def _with_values(writer: GraphWriter, call: Call) -> Call:
    """Return the call with values in the places of rotations."""
    rotated = [node for node in _sources(call) if isinstance(call.operands[node], Rotated)]
    if not rotated:
        return call
    values = {node: writer.value(cast("Rotated", call.operands[node])) for node in rotated}
    return Call(call.node, {**call.operands, **values})


def _sources(call: Call) -> list[Node]:
    """Return the arguments that are tensors."""
    return [node for node in call.node.all_input_nodes if node in call.operands]


def value_of(writer: GraphWriter, node: Node, operands: Mapping[Node, Operands]) -> Value:
    """Return a node that the module returns as a value."""
    operand = operands[node]
    call = Call(node, operands)
    if isinstance(operand, tuple):
        raise call.unsupported("returning several tensors as one is not supported")
    if isinstance(operand, DividedLoss):
        writer.divisors[operand.loss.tensor.name] = operand.divisor
        operand = operand.loss
    try:
        return writer.own(writer.value(operand))
    except UnsupportedOperationError as error:
        raise _name_operation(call, error) from None


def _name_operation(call: Call, error: UnsupportedOperationError) -> UnsupportedOperationError:
    """Return an error that names the operation to blame: the one that made a form, if one did."""
    if isinstance(error, NamedOperationError):
        return error
    if isinstance(error, FormError):
        for node in (call.node, *call.node.all_input_nodes):
            if call.operands.get(node) is error.form:
                return Call(node, call.operands).unsupported(str(error))
    return call.unsupported(str(error))


def _get_item(call: Call) -> Operand:
    source, index = call.node.args
    several = call.operands.get(source) if isinstance(source, Node) else None
    if not isinstance(several, tuple) or not isinstance(index, int):
        raise call.unsupported("only tuples of tensors have parts on the wafer")
    return several[index]


def _is_for_host(call: Call) -> bool:
    """Tell whether the host computes a call: it has no operand of the wafer and no input data.

    Views of input data are the host's, too; calls that join indices or lengths of the call with
    parameters are the wafer's, except for masks.
    """
    sources = [call.operands[node] for node in _sources(call)]
    origins = {source.origin for source in sources if isinstance(source, External)}
    if not all(isinstance(source, External) for source in sources):
        return False
    if Origin.DATA in origins:
        return call.name in _VIEWS
    if call.name in _OF_MASKS and len(call.shape) >= _MASK_RANK:
        return True
    return not {Origin.CALL, Origin.PARAMETER} <= origins


def _orders_data(call: Call) -> bool:
    """Tell whether a call only permutes the rows of an input."""
    if call.name not in _ORDERS or len(call.shape) <= MATRIX_DIMENSIONS:
        return False
    (source,) = [call.operands[node] for node in _sources(call)]
    if not isinstance(source, External) or source.origin is not Origin.DATA:
        return False
    return source.shape[-1] == call.shape[-1]


_ORDERS = frozenset(
    f"aten.{name}"
    for name in ("transpose.int", "swapaxes.default", "permute.default", "movedim.int")
)
_ANY_STRIDES = {
    "aten.view.default": torch.ops.aten.reshape.default,
    "aten._unsafe_view.default": torch.ops.aten.reshape.default,
}
"""Views that PyTorch can take of a contiguous copy only → the same for any strides."""


def _compute_on_host(writer: GraphWriter, call: Call) -> Operands | None:
    target = call.node.target
    if torch.Tag.nondeterministic_seeded in getattr(target, "tags", ()):
        raise call.unsupported("drawing random numbers is not supported")

    simplify = _SIMPLER.get(call.name)
    simpler = None if simplify is None else simplify(writer, call)
    if simpler is not None:
        return simpler

    def external(node: Node) -> Argument:
        if node not in call.operands:
            raise call.unsupported(
                "a number that is read from a tensor (`.item()`) is not supported"
            )
        return cast("Argument", call.operands[node])

    args, kwargs = map_arg(call.node.args, external), map_arg(call.node.kwargs, external)
    try:
        return writer.derive(
            call.node.name,
            _ANY_STRIDES.get(call.name, target),
            *cast("tuple[object, ...]", args),
            **cast("dict[str, object]", kwargs),
        )
    except RuntimeError as error:
        raise call.unsupported(f"the host cannot compute it: {error}") from error

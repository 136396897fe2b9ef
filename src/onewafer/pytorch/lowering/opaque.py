"""Operations that a graph does not have, as one operation that says what they cost.

A capture for counts only never fails for an operation of PyTorch: what is not lowered stands in the
graph as `Opaque`, with the floating point operations that `flop` counts for it. Its
result is a matrix with the rows of what it reads wherever that many are among its dimensions, so
that the graph can still be asked for other numbers of rows.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, cast

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Opaque
from onewafer.pytorch.lowering.layout import MATRIX_DIMENSIONS
from onewafer.pytorch.lowering.operands import External, Origin, Value, see, see_in_order
from onewafer.pytorch.program_flop import count_flop_of

if TYPE_CHECKING:
    from torch.fx import Node

    from onewafer.errors import Refusal
    from onewafer.graph import Tensor
    from onewafer.pytorch.lowering.operands import Operand
    from onewafer.pytorch.lowering.registry import Operands
    from onewafer.pytorch.lowering.writer import GraphWriter
_MOVES = frozenset(
    f"aten.{name}"
    for name in (
        "cat",
        "stack",
        "index",
        "index_select",
        "gather",
        "embedding",
        "slice_scatter",
        "select_scatter",
        "scatter",
        "copy",
        "copy_",
        "clone",
        "contiguous",
        "_to_copy",
        "to",
        "constant_pad_nd",
        "pad",
        "repeat",
        "repeat_interleave",
        "roll",
        "flip",
        "new_empty",
        "new_zeros",
        "empty",
        "empty_like",
        "zeros",
        "zeros_like",
        "ones_like",
        "full_like",
        "fill",
        "where",
        "masked_fill",
    )
)
"""Functions that move elements and compute nothing."""


def write_opaque(
    writer: GraphWriter, node: Node, operands: dict[Node, Operands], refusal: Refusal
) -> Operands:
    """Write a refused call as operations that are only counted, and return its results.

    Arguments that are forms without a value are written so first, into `operands`.
    """
    inputs: list[Tensor] = []
    parameters: list[str] = []
    for source in node.all_input_nodes:
        operand = _resolve(writer, source, operands)
        match operand:
            case Value():
                inputs.append(operand.tensor)
            case External(tensor=tensor) if tensor.is_floating_point():
                parameters.append(writer.parameter(operand, "weight").name)
            case _:
                pass  # indices and masks of the host are not counted
    read = tuple(dict.fromkeys(inputs)), tuple(dict.fromkeys(parameters))
    kind = _OpaqueCall(node, *read, str(refusal))
    found: object = node.meta["val"]
    if isinstance(found, torch.Tensor):
        return kind.write(writer, found, kind.num_flop())
    if not isinstance(found, tuple | list):
        msg = f"{node.target} gives {type(found).__name__}, which depends on elements"
        raise UnsupportedOperationError(msg)
    tensors = cast("list[torch.Tensor]", found)
    flop = [kind.num_flop(), *[0.0] * (len(tensors) - 1)]
    return tuple(
        kind.write(writer, tensor, count) for tensor, count in zip(tensors, flop, strict=True)
    )


def _resolve(writer: GraphWriter, source: Node, operands: dict[Node, Operands]) -> Operand | None:
    """Return a value or a tensor of the host for an argument; None if it is neither."""
    operand = operands.get(source)
    match operand:
        case None | tuple():
            return None
        case External(origin=Origin.DATA):
            return writer.value(operand)
        case Value() | External():
            return operand
        case _:
            pass
    try:
        return writer.value(operand)
    except UnsupportedOperationError as error:
        made = write_opaque(writer, source, operands, error.refusal)
        operands[source] = made
        return None if isinstance(made, tuple) else made


@dataclass(frozen=True, slots=True)
class _OpaqueCall:
    """One call of an operation that a graph does not have."""

    node: Node
    inputs: tuple[Tensor, ...]
    parameters: tuple[str, ...]
    refusal: str

    @property
    def _is_view(self) -> bool:
        """True if the result is a view of its argument."""
        schema = getattr(self.node.target, "_schema", None)
        aliases = [] if schema is None else [value.alias_info for value in schema.returns]
        return bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)

    def write(self, writer: GraphWriter, found: torch.Tensor, flop: float) -> Operand:
        """Emit the operation for one of the results; one without elements costs nothing."""
        if not found.numel():
            empty = torch.empty(tuple(found.shape), dtype=found.dtype)
            return External(self.node.name, empty, Origin.BUFFER)
        rows = self.inputs[0].shape[0] if self.inputs else None
        result, value = _arrange(writer, self.node.name, tuple(found.shape), rows)
        writer.emit(
            Opaque(
                result,
                str(self.node.target),
                tuple(tensor.name for tensor in self.inputs),
                self.parameters,
                flop / result.num_elements,
                keeps_rows=result.shape[0] == rows,
                is_view=self._is_view,
                refusal=self.refusal,
            )
        )
        return value

    def num_flop(self) -> float:
        """Return the floating point operations that are counted, or one for each element."""
        packet = str(self.node.target).rpartition(".")[0]
        if packet in _MOVES or self._is_view:
            return 0.0
        counted = count_flop_of([self.node])
        if counted:
            return float(counted)
        sources = [_num_elements(node.meta.get("val")) for node in self.node.all_input_nodes]
        return float(max([_num_elements(self.node.meta["val"]), *sources]))


def _num_elements(value: object) -> int:
    return value.numel() if isinstance(value, torch.Tensor) else 0


def _arrange(
    writer: GraphWriter, name: str, shape: tuple[int, ...], rows: int | None
) -> tuple[Tensor, Value]:
    """Return a matrix for a result, with the rows of its operand if possible, and its view."""
    total = math.prod(shape)
    if rows in shape:
        place = shape.index(rows)
        others = [index for index in range(len(shape)) if index != place]
        result = writer.result(name, shape[place], total // shape[place])
        return result, see_in_order(result, shape, [place, *others])
    if len(shape) > MATRIX_DIMENSIONS and shape[0] * math.prod(shape[2:]) == rows:
        # Images (batch, features, *sides) whose places are the rows.
        result = writer.result(name, total // shape[1], shape[1])
        return result, see_in_order(result, shape, [0, *range(2, len(shape)), 1])
    if rows is not None and rows in accumulate(shape, operator.mul) and total > rows:
        result = writer.result(name, rows, total // rows)
    else:
        features = shape[-1] if shape else 1
        result = writer.result(name, total // features, features)
    return result, see(result, shape)

"""The schedule of a mesh program: one entry of eight words an operation.

The state machine in `kernels/pe.csl` reads them in this order; offsets are elements from the start
of the operand's arena.

    kind  result  left  right  n  rows  columns  inner
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import TYPE_CHECKING, assert_never

from onewafer.mesh.program import (
    Add,
    AddBias,
    Axis,
    Broadcast,
    ChainReduce,
    Convert,
    Matmul,
    Relu,
)

if TYPE_CHECKING:
    from onewafer.mesh.program import Block, MeshOperation, MeshProgram

ENTRY_WORDS = 8
ENTRY_BYTES = 2 * ENTRY_WORDS


class Kind(IntEnum):
    """What an entry of the schedule asks for."""

    STOP = 0
    MATMUL = auto()
    CHAIN_REDUCE_X = auto()
    CHAIN_REDUCE_Y = auto()
    BROADCAST_X = auto()
    BROADCAST_Y = auto()
    CONVERT = auto()
    ADD_BIAS = auto()
    RELU = auto()
    ADD = auto()


def kind_of(operation: MeshOperation) -> Kind:
    """Return the schedule kind of an operation."""
    match operation:
        case Matmul():
            return Kind.MATMUL
        case ChainReduce():
            return Kind.CHAIN_REDUCE_X if operation.axis is Axis.X else Kind.CHAIN_REDUCE_Y
        case Broadcast():
            return Kind.BROADCAST_X if operation.axis is Axis.X else Kind.BROADCAST_Y
        case Convert():
            return Kind.CONVERT
        case AddBias():
            return Kind.ADD_BIAS
        case Relu():
            return Kind.RELU
        case Add():
            return Kind.ADD
        case _:
            assert_never(operation)


def schedule_entries(program: MeshProgram) -> list[tuple[int, ...]]:
    """Return the entries of a program, the closing STOP included."""
    entries = [_entry(operation) for operation in program.operations]
    return [*entries, (Kind.STOP, *(0,) * (ENTRY_WORDS - 1))]


def _entry(operation: MeshOperation) -> tuple[int, ...]:
    kind = kind_of(operation)
    match operation:
        case Matmul(result, operand, weight):
            return _words(kind, result, operand.offset, weight.offset, weight.rows)
        case ChainReduce(values) | Broadcast(values):
            return _words(kind, values)
        case Convert(result, source) | Relu(result, source):
            return _words(kind, result, source.offset)
        case AddBias(result, source, bias):
            return _words(kind, result, source.offset, bias.offset)
        case Add(result, left, right):
            return _words(kind, result, left.offset, right.offset)
        case _:
            assert_never(operation)


def _words(
    kind: Kind, result: Block, left: int = 0, right: int = 0, inner: int = 0
) -> tuple[int, ...]:
    return (
        kind,
        result.offset,
        left,
        right,
        result.num_elements,
        result.rows,
        result.columns,
        inner,
    )

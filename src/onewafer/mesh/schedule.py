"""The schedule of a mesh program: one entry of eight words an operation.

The state machine in `kernels/pe.csl` reads the words of an entry in the order of its fields. Layers
that repeat are written once: a REPEAT entry sends the machine back over the entries before it, and
parameters are then found further on in their arena.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
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
    Turn,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onewafer.mesh.program import Block, MeshOperation, MeshProgram

ENTRY_WORDS = 8
ENTRY_BYTES = 2 * ENTRY_WORDS


class Kind(IntEnum):
    """What an entry of the schedule asks for, in the order in which `pe.csl` asks for it."""

    MATMUL_X = 1
    MATMUL_Y = auto()
    CHAIN_REDUCE_X = auto()
    BROADCAST_X = auto()
    CHAIN_REDUCE_Y = auto()
    BROADCAST_Y = auto()
    TURN_X = auto()
    TURN_Y = auto()
    CONVERT = auto()
    ADD_BIAS = auto()
    RELU = auto()
    ADD = auto()
    REPEAT = auto()
    STOP = auto()

    @property
    def reads_parameters(self) -> bool:
        """Whether the operand `right` is in the parameter arena."""
        return self in (Kind.MATMUL_X, Kind.MATMUL_Y, Kind.ADD_BIAS)


CONTROL_KINDS = frozenset({Kind.REPEAT, Kind.STOP})
"""Kinds that every state machine has, so that depth alone never changes the code."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of the state machine; operands are elements from the start of their arena."""

    kind: Kind
    result: int = 0
    left: int = 0
    """REPEAT: words to go back."""
    right: int = 0
    """REPEAT: elements by which the parameters of the next round lie further on."""
    n: int = 0
    """Elements of the result. MATMUL: columns of padding, over all PEs along the axis of the
    result. REPEAT: rounds after the first."""
    rows: int = 0
    columns: int = 0
    inner: int = 0
    """MATMUL: rows of the weight block. TURN: columns of the input block."""

    @property
    def words(self) -> tuple[int, ...]:
        """The eight words."""
        return dataclasses.astuple(self)


def kind_of(operation: MeshOperation) -> Kind:
    """Return the schedule kind of an operation."""
    match operation:
        case Matmul():
            return Kind.MATMUL_X if operation.axis is Axis.X else Kind.MATMUL_Y
        case Turn():
            return Kind.TURN_X if operation.axis is Axis.X else Kind.TURN_Y
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


def build_schedule(program: MeshProgram) -> tuple[Entry, ...]:
    """Return the entries of a program, repetitions folded, with STOP at the end."""
    entries = [_entry(operation, program) for operation in program.operations]
    return (*_fold_repetitions(entries), Entry(Kind.STOP))


def kinds_of(schedule: Iterable[Entry]) -> frozenset[Kind]:
    """Return the kinds that the state machine of a schedule asks for."""
    return frozenset(entry.kind for entry in schedule) | CONTROL_KINDS


def _entry(operation: MeshOperation, program: MeshProgram) -> Entry:
    kind = kind_of(operation)
    match operation:
        case Matmul(result, operand, weight):
            entry = _block_entry(kind, result, operand.offset, weight.offset, weight.rows)
            num_columns = program.size(operation.axis) * result.columns
            return dataclasses.replace(entry, n=num_columns - operation.features)
        case Turn(result, source):
            return _block_entry(kind, result, source.offset, inner=source.columns)
        case ChainReduce(values) | Broadcast(values):
            return _block_entry(kind, values)
        case Convert(result, source) | Relu(result, source):
            return _block_entry(kind, result, source.offset)
        case AddBias(result, source, bias):
            return _block_entry(kind, result, source.offset, bias.offset)
        case Add(result, left, right):
            return _block_entry(kind, result, left.offset, right.offset)
        case _:
            assert_never(operation)


def _block_entry(kind: Kind, result: Block, left: int = 0, right: int = 0, inner: int = 0) -> Entry:
    size = result.num_elements
    return Entry(kind, result.offset, left, right, size, result.rows, result.columns, inner)


@dataclass(frozen=True, slots=True)
class _Repetition:
    """`rounds` further rounds of the `length` entries from `start` on."""

    start: int
    length: int
    rounds: int
    stride: int

    @property
    def saving(self) -> int:
        """Entries that folding removes, less the REPEAT that it adds."""
        return self.rounds * self.length - 1


def _fold_repetitions(entries: Sequence[Entry]) -> list[Entry]:
    """Fold, from left to right, the repetition that saves most at each place."""
    folded: list[Entry] = []
    start = 0
    while start < len(entries):
        found = [
            _repetition(entries, start, length)
            for length in range(1, (len(entries) - start) // 2 + 1)
        ]
        best = max(found, key=lambda repetition: repetition.saving, default=None)
        if best is None or best.saving < 1:
            folded.append(entries[start])
            start += 1
            continue
        folded += entries[start : start + best.length]
        back = ENTRY_WORDS * (best.length + 1)
        folded.append(Entry(Kind.REPEAT, left=back, right=best.stride, n=best.rounds))
        start += best.length * (best.rounds + 1)
    return folded


def _repetition(entries: Sequence[Entry], start: int, length: int) -> _Repetition:
    """Count how often the `length` entries from `start` on come again right after themselves."""
    stride, rounds = 0, 0
    while True:
        step = _parameter_step(entries, start, start + (rounds + 1) * length, length)
        if step is None or (rounds > 0 and step != stride * (rounds + 1)):
            return _Repetition(start, length, rounds, stride)
        stride = stride if rounds else step
        rounds += 1


def _parameter_step(entries: Sequence[Entry], start: int, again: int, length: int) -> int | None:
    """Return by how much the parameters from `again` on lie further on; None: no repetition."""
    if again + length > len(entries):
        return None
    steps: set[int] = set()
    for index in range(length):
        first, second = entries[start + index], entries[again + index]
        shifted = first
        if first.kind is second.kind and first.kind.reads_parameters:
            steps.add(second.right - first.right)
            shifted = dataclasses.replace(first, right=second.right)
        if shifted != second or len(steps) > 1:
            return None
    step = steps.pop() if steps else 0
    return step if step >= 0 else None

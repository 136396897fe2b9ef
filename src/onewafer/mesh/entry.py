"""An entry of the schedule: what the state machine in `kernels/pe.csl` reads before each step."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum, auto

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


CONTROL_KINDS = frozenset({Kind.REPEAT, Kind.STOP})
"""Kinds that every state machine has, so that depth alone never changes the code."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of the state machine; operands are elements from the start of their arena."""

    kind: Kind
    result: int = 0
    """REPEAT: elements by which the state of the next round lies further on."""
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
    parameter_words: tuple[int, ...] = ()
    """Which of the words are offsets in the arena of parameters."""
    state_words: tuple[int, ...] = ()
    """Which of the words are offsets in the arena of the state."""

    @property
    def words(self) -> tuple[int, ...]:
        """The eight words."""
        return dataclasses.astuple(self)[:ENTRY_WORDS]

"""An entry of the schedule: what the state machine in `kernels/pe.csl` reads before each step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum, auto
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ENTRY_WORDS = 8
"""Words that every entry has; some kinds have more."""


class Family(StrEnum):
    """Kinds that stand together in the state machine."""

    DENSE = "dense"
    ELEMENTWISE = "elementwise"
    NORM = "norm"
    FEATURE_MAPS = "feature_maps"
    SEQUENCE = "sequence"
    ATTENTION = "attention"
    SELECTION = "selection"
    PRODUCTS = "products"
    CONTROL = "control"


class Kind(IntEnum):
    """The kinds of entries of the schedule."""

    MATMUL_X = 1
    MATMUL_Y = auto()
    CHAIN_REDUCE_X = auto()
    BROADCAST_X = auto()
    CHAIN_REDUCE_Y = auto()
    BROADCAST_Y = auto()
    CHAIN_MAX_X = auto()
    CHAIN_MAX_Y = auto()
    REDISTRIBUTE_X = auto()
    REDISTRIBUTE_Y = auto()
    MATMULS_X = auto()
    MATMULS_Y = auto()
    CONVERT = auto()
    SPLIT = auto()
    BROADCAST_STORE_X = auto()
    BROADCAST_STORE_Y = auto()
    SUM_ROW_SQUARES = auto()
    STORE_NORMALIZED = auto()
    ADD_BIAS = auto()
    SCALE_FEATURES = auto()
    RELU = auto()
    ADD = auto()
    MULTIPLY = auto()
    SCALE = auto()
    SILU = auto()
    GELU = auto()
    GELU_TANH = auto()
    SIGMOID = auto()
    TANH = auto()
    COPY = auto()
    SUM_SQUARES = auto()
    NORMALIZE = auto()
    SUM = auto()
    SUM_CENTRED_SQUARES = auto()
    CENTRE_AND_NORMALIZE = auto()
    FIND_GROUP_MAXIMA = auto()
    WEIGH_GROUPS = auto()
    DIVIDE_GROUPS = auto()
    GLOBAL_AVERAGE_POOL = auto()
    SCALE_FEATURE_MAPS = auto()
    CONVOLVE = auto()
    DEPTHWISE = auto()
    MAX_POOL = auto()
    ROTATE = auto()
    LOOK_UP_TOKENS = auto()
    LOOK_UP_POSITIONS = auto()
    TAKE_ROW = auto()
    APPEND = auto()
    SCORE = auto()
    BIAS_SCORES = auto()
    REDUCE_SCORES_X = auto()
    BROADCAST_SCORES_X = auto()
    REDUCE_SCORES_Y = auto()
    BROADCAST_SCORES_Y = auto()
    REDUCE_HEADS = auto()
    BROADCAST_HEADS = auto()
    FIND_MAXIMA = auto()
    WEIGH = auto()
    SUM_VALUES = auto()
    DIVIDE = auto()
    SHARE = auto()
    FIND_LARGEST = auto()
    CLAIM = auto()
    TAKE_INDEX = auto()
    GATHER = auto()
    MULTIPLY_PLAIN = auto()
    MULTIPLY_TRANSPOSED = auto()
    REPEAT = auto()
    STOP = auto()

    @property
    def family(self) -> Family:
        """The family that it belongs to; kinds of one stand together."""
        return next(family for family, last in _LAST_KINDS.items() if self <= last)


_LAST_KINDS = {
    Family.DENSE: Kind.STORE_NORMALIZED,
    Family.ELEMENTWISE: Kind.COPY,
    Family.NORM: Kind.DIVIDE_GROUPS,
    Family.FEATURE_MAPS: Kind.MAX_POOL,
    Family.SEQUENCE: Kind.TAKE_ROW,
    Family.ATTENTION: Kind.SHARE,
    Family.SELECTION: Kind.GATHER,
    Family.PRODUCTS: Kind.MULTIPLY_TRANSPOSED,
    Family.CONTROL: Kind.STOP,
}
CONTROL_KINDS = frozenset({Kind.REPEAT, Kind.STOP})
"""Kinds that every state machine has, so that depth alone never changes the code."""
COLLECTIVE_KINDS = frozenset(
    kind for kind in Kind if kind.name.startswith(("CHAIN_", "BROADCAST_", "REDUCE_"))
)
"""Kinds that move values along an axis, in which PEs wait for one another."""


class Asking(StrEnum):
    """A task of the state machine that dispatches on the kind of an entry."""

    STEP = "steps"
    AFTER_CHAIN_X = "after_chain_x"
    AFTER_CHAIN_Y = "after_chain_y"
    AFTER_HEAD_CHAIN = "after_head_chain"


_AFTER_CHAINS = {
    Kind.BROADCAST_X: Asking.AFTER_CHAIN_X,
    Kind.BROADCAST_STORE_X: Asking.AFTER_CHAIN_X,
    Kind.BROADCAST_SCORES_X: Asking.AFTER_CHAIN_X,
    Kind.BROADCAST_Y: Asking.AFTER_CHAIN_Y,
    Kind.BROADCAST_STORE_Y: Asking.AFTER_CHAIN_Y,
    Kind.BROADCAST_SCORES_Y: Asking.AFTER_CHAIN_Y,
    Kind.BROADCAST_HEADS: Asking.AFTER_HEAD_CHAIN,
}


def asking_task(kind: Kind) -> Asking:
    """Return the task that asks for a kind: what follows a chain has one of its own."""
    return _AFTER_CHAINS.get(kind, Asking.STEP)


def asked_by(task: Asking, kinds: Iterable[Kind]) -> list[Kind]:
    """Return those of some kinds that a task asks for, in ascending order."""
    return sorted(kind for kind in kinds if asking_task(kind) is task)


def num_questions(kinds: Collection[Kind]) -> int:
    """Return how many questions a state machine has: of each task one less than it has kinds."""
    return len(kinds) - len({asking_task(kind) for kind in kinds})


def last_kind(family: Family) -> Kind:
    """Return the last kind of a family."""
    return _LAST_KINDS[family]


class Answers(NamedTuple):
    """How often the state machine learns on which side of another one a kind is."""

    below: int
    above: int


@cache
def answers(kind: Kind, kinds: frozenset[Kind]) -> Answers:
    """Return what a state machine with these kinds learns before it reaches this kind.

    It halves the kinds that it may be, as `choose` in `pe.csl` does.
    """
    left, found = asked_by(asking_task(kind), kinds), Answers(0, 0)
    while len(left) > 1:
        middle = len(left) // 2
        is_below = kind < left[middle]
        left = left[:middle] if is_below else left[middle:]
        found = Answers(found.below + is_below, found.above + (not is_below))
    return found


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of the state machine; operands are elements from the start of their arena."""

    kind: Kind
    result: int = 0
    """REPEAT: elements by which the state of the next round lies further on."""
    left: int = 0
    """REPEAT: words to go back."""
    right: int = 0
    """REPEAT: elements by which the parameters of the next round lie further on. MATMULS, SPLIT,
    STORE_NORMALIZED: how many products there are."""
    n: int = 0
    """Elements of the result. MATMUL, CONVOLVE: columns of padding, over all PEs along the axis of
    the result. SUM_ROW_SQUARES: columns of the input block. REPEAT: rounds after the first."""
    rows: int = 0
    """0: as many as the launch has; `n` is then rows × columns of the launch, too."""
    columns: int = 0
    inner: int = 0
    """MATMUL, MATMULS: rows of the weight blocks. REDISTRIBUTE: columns of the input block.
    LOOK_UP: entries of the table block. ROTATE: members of a feature. TAKE_ROW: 0 is the first one,
    1 the last. CONVOLVE: columns of the input block. GLOBAL_AVERAGE_POOL, SCALE_FEATURE_MAPS:
    rows of a sample. FIND_LARGEST, CLAIM, TAKE_INDEX, GATHER: columns of the input block.
    MULTIPLY_PLAIN, MULTIPLY_TRANSPOSED: columns of the left block. SUM_ROW_SQUARES: features of a
    row."""
    more: tuple[int, ...] = ()
    """Further words, of kinds that need them."""
    parameter_words: tuple[int, ...] = ()
    """Indices of the words that are offsets in the arena of parameters."""
    state_words: tuple[int, ...] = ()
    """Indices of the words that are offsets in the arena of the state."""

    @property
    def words(self) -> tuple[int, ...]:
        """All words, in the order in which `pe.csl` reads them."""
        sizes = (self.n, self.rows, self.columns, self.inner)
        return (int(self.kind), self.result, self.left, self.right, *sizes, *self.more)

    @property
    def num_bytes(self) -> int:
        """Bytes of the words."""
        return 2 * len(self.words)


def float_words(value: float) -> tuple[int, int]:
    """Return a number in f32 as two words, low first."""
    bits = int(np.float32(value).view(np.uint32))
    return bits & 0xFFFF, bits >> 16

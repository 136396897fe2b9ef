"""Attention over a cache of keys and values, in steps between collectives.

    Share ─▶ Append ─▶ Score (─▶ BiasScores) ─▶ ReduceScores, BroadcastScores along A ─▶ FindMaxima
    ─▶ ChainMax, Broadcast along B ─▶ Weigh ─▶ SumValues ─▶ ChainReduce, Broadcast along B ─▶ Divide

The features of queries, keys and values lie along A, the positions of the cache along B. The
kernels and their mirrors are those of `mesh/attention.py`.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic, attention, functions
from onewafer.mesh.entry import Kind, float_words
from onewafer.mesh.operations.collectives import reduce_along
from onewafer.mesh.operations.operation import Classes, MeshOperation, Traffic
from onewafer.mesh.operations.sizes import CHUNK, block_entry
from onewafer.mesh.operations.tokens import axis_word
from onewafer.mesh.program import Axis, Launch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program import Block, MeshProgram

    Array = NDArray[Any]

_MOST_STRIDE = 127
"""How far a DSD reaches from one element to the next, as `kv_append.csl` has it."""


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """How attention lies on the rectangle; the same for all layers that are alike."""

    axis: Axis
    """A, over which features are blocked."""
    num_pes: int
    """Along A."""
    kv_heads: int
    group: int
    """Query heads for each of them."""
    head_dim: int
    width: int
    """Features of keys on each PE; those of queries are `group` times as many."""
    capacity: int
    """Positions that a PE keeps."""
    is_causal: bool
    rows: int
    """Of the largest launch."""
    table: int
    """Where its shares are in the arena of tables."""

    @property
    def num_heads(self) -> int:
        """Query heads."""
        return self.kv_heads * self.group

    @property
    def most_kv_heads(self) -> int:
        """The most kv heads that a PE has features of."""
        return attention.most_heads(
            self.num_pes,
            width=self.width,
            head_dim=self.head_dim,
            features=self.kv_heads * self.head_dim,
        )

    @property
    def most(self) -> int:
        """The most query heads that a PE has features of."""
        return self.most_kv_heads * self.group

    @property
    def cache_elements(self) -> int:
        """Elements of keys and values on each PE."""
        return 2 * self.width * self.capacity

    @property
    def totals_columns(self) -> int:
        """Elements of a row of sums of weights and of weighted values."""
        return self.most + self.group * self.width

    @property
    def table_words(self) -> int:
        """Words of its shares: slots, first position, slots of each row, heads."""
        return 2 + self.rows + 2 + self.most_kv_heads

    @property
    def words(self) -> tuple[int, ...]:
        """What the schedule says of it with each step."""
        heads = self.table + 2 + self.rows
        cache = self.width, self.capacity
        axis, is_kept = axis_word(self.axis), int(self.is_causal)
        return (self.table, heads, self.group, *cache, self.num_heads, self.most, axis, is_kept)

    def first(self, launch: Launch) -> int:
        """Return the position of the first row in the cache: what is not causal keeps nothing."""
        return launch.start if self.is_causal else 0

    def sizes(self, program: MeshProgram, launch: Launch) -> dict[str, Size]:
        """Return the sizes that the costs of its steps depend on.

        `heads`, `features` and so on are those of a class of PEs, `slots`, `kept` and `attended`
        (summed over the rows) those of a place along the axis of the positions. Of the rows,
        `seeing` attend to `seen` slots. Keys that are `kept` are copied with a stride, or feature
        by feature where that would be too long.
        """
        (heads, features), _ = _local_work(self)
        places = np.arange(program.size(self.axis.other))
        start, end = self.first(launch), self.first(launch) + launch.num_rows
        slots = attention.num_slots(end, places, len(places))
        kept = slots - attention.num_slots(start, places, len(places))
        seeing, seen = self._count_rows(launch, places)
        is_near = self.capacity <= _MOST_STRIDE
        elements = heads * self.group * slots
        chunks = -(-elements // CHUNK)
        lacking = (self.width - features) * self.group
        return {
            "rows": launch.num_rows,
            "heads": heads,
            "group": self.group,
            "width": self.width,
            "features": features,
            "lacking": lacking,
            "padded": (lacking > 0).astype(np.int64),
            "capacity": self.capacity,
            "share": -(-features // np.maximum(heads, 1)),
            "present": (heads > 0).astype(np.int64),
            "slots": slots[np.newaxis, np.newaxis],
            "used": (slots > 0).astype(np.int64)[np.newaxis, np.newaxis],
            "seeing": seeing,
            "seen": seen,
            "attended": (seeing * seen).sum(axis=0, keepdims=True),
            "num_heads": self.num_heads,
            "most": self.most,
            "totals": self.totals_columns,
            "kept": kept[np.newaxis, np.newaxis],
            "strided": (kept * is_near)[np.newaxis, np.newaxis],
            "single": (kept * (not is_near))[np.newaxis, np.newaxis],
            "chunks": chunks,
            "chunk": -(-elements // np.maximum(chunks, 1)),
            "cut": (elements % CHUNK > 0).astype(np.int64),
        }

    @property
    def classes(self) -> Classes:
        """How the PEs along its axis differ: by heads and features."""
        return _local_work(self)[1]

    def _count_rows(self, launch: Launch, places: Array) -> tuple[Array, Array]:
        """Return how many rows attend to how many slots of a place, `[kinds of rows, 1, places]`.

        Rows that attend to none are not counted.
        """
        first, size = self.first(launch), len(places)
        end = first + launch.num_rows
        least = (first + 1 if self.is_causal else end) // size
        seen = np.arange(max(1, least), -(-end // size) + 1)[:, np.newaxis, np.newaxis]
        # A place has n slots for the positions from that of its n-th slot to that of the next.
        begins = places + (seen - 1) * size
        if self.is_causal:
            seeing = np.minimum(begins + size, end) - np.maximum(begins, first)
            return np.maximum(seeing, 0), seen
        return launch.num_rows * ((begins < end) & (begins + size >= end)), seen

    def local_heads(self, a: int) -> attention.LocalHeads:
        """Return the heads of the PEs at `a` along A."""
        features = self.kv_heads * self.head_dim
        return attention.local_heads(a, width=self.width, head_dim=self.head_dim, features=features)


@cache
def _local_work(shape: AttentionShape) -> tuple[Array, Classes]:
    """Return the numbers of kv heads and of their features, `[2, 1, classes, 1]`, and the classes.

    All steps of attention ask for them, so they are worked out once.
    """
    sizes = [shape.local_heads(a).sizes for a in range(shape.num_pes)]
    numbers = np.array([(len(of_pe), sum(of_pe)) for of_pe in sizes])
    distinct, classes = Classes.of(shape.axis, numbers)
    return distinct.T[:, np.newaxis, :, np.newaxis], classes


@dataclass(frozen=True, slots=True)
class _Column:
    """The PEs at one place along A; arrays of theirs are `[PEs along B, …]`."""

    a: int
    heads: attention.LocalHeads
    b: Array
    """Their places along B."""
    lengths: Array
    """`[PEs along B, rows]`: slots that each row attends to."""
    slots: int
    """The most of them that any PE of the program has in use."""

    def of(self, values: Array, axis: Axis) -> Array:
        """Return a view of what these PEs have of an array `[height, width, …]`."""
        return values[:, self.a] if axis is Axis.X else values[self.a]


class _Step(MeshOperation):
    """A step of attention."""

    __slots__ = ()

    shape: AttentionShape

    @abstractmethod
    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks of the result and of up to two operands."""

    def more(self) -> tuple[int, ...]:
        """Return further words of the schedule."""
        return ()

    def entry(self, program: MeshProgram) -> Entry:
        """Return its words in the schedule."""
        more = (*self.shape.words, *self.more())
        entry = block_entry(program, self.kind, *self.blocks(), more=more)
        return dataclasses.replace(entry, rows=0)  # whatever the rows of the result

    def sizes(self, program: MeshProgram, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that its cost depends on."""
        return self.shape.sizes(program, launch)

    def classes(self, program: MeshProgram, launch: Launch) -> Classes:
        """Return how the PEs along the axis of the features differ."""
        del program, launch
        return self.shape.classes

    def columns(self, memories: Memories) -> Iterator[_Column]:
        """Yield the PEs of the program, those at one place along A together."""
        shape, launch = self.shape, memories.launch
        size = memories.program.size(shape.axis.other)
        b, first = np.arange(size), shape.first(launch)
        end = first + launch.num_rows
        reach, step = (first + 1, 1) if shape.is_causal else (end, 0)
        lengths = attention.row_lengths(launch.num_rows, reach=reach, step=step, b=b, size=size)
        slots = int(attention.num_slots(end, 0, size))
        for a in range(memories.program.size(shape.axis)):
            yield _Column(a, shape.local_heads(a), b, lengths, slots)

    def split_cache(self, cache: Array, column: _Column) -> tuple[Array, tuple[Array, ...]]:
        """Return views of the keys, and of the values of each local head."""
        shape = self.shape
        return attention.split_cache(
            cache, column.heads, width=shape.width, capacity=shape.capacity
        )


@dataclass(frozen=True, slots=True)
class Share(_Step):
    """Work out the heads and slots of each PE, once a launch for all layers that are alike."""

    shape: AttentionShape
    rows: Block
    """Any block of the launch's rows."""

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.SHARE

    def blocks(self) -> tuple[Block, ...]:
        """Return the block that says how many rows there are."""
        return (self.rows,)

    def more(self) -> tuple[int, ...]:
        """Return further words of the schedule."""
        shape = self.shape
        return (shape.head_dim, shape.kv_heads * shape.head_dim)

    def execute(self, memories: Memories) -> None:
        """Do nothing: on NumPy arrays each step works its shares out."""


@dataclass(frozen=True, slots=True)
class Append(_Step):
    """Put the keys and values of the launch's rows into the cache, each on the PE that keeps it."""

    shape: AttentionShape
    cache: Block
    keys: Block
    values: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.APPEND

    def blocks(self) -> tuple[Block, ...]:
        """Return cache, keys and values."""
        return self.cache, self.keys, self.values

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        shape = self.shape
        cache = memories.whole(self.cache)
        keys, values = memories.matrix(self.keys), memories.matrix(self.values)
        for column in self.columns(memories):
            attention.append(
                column.of(cache, shape.axis),
                column.of(keys, shape.axis),
                column.of(values, shape.axis),
                column.heads,
                start=shape.first(memories.launch),
                capacity=shape.capacity,
                b=column.b,
                size=len(column.b),
            )


@dataclass(frozen=True, slots=True)
class Score(_Step):
    """Multiply queries by keys, as far as a PE has their features and slots; f32 sums."""

    shape: AttentionShape
    scores: Block
    """Room for all heads and slots in each row; those in use lie together."""
    queries: Block
    cache: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.SCORE

    def blocks(self) -> tuple[Block, ...]:
        """Return scores, queries and cache."""
        return self.scores, self.queries, self.cache

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        shape = self.shape
        rows = memories.num_rows(self.queries)
        queries = memories.view(self.queries, rows, shape.width, shape.group)
        cache = memories.whole(self.cache)
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            keys, _ = self.split_cache(column.of(cache, shape.axis), column)
            column.of(scores, shape.axis)[...] = attention.scores(
                column.of(queries, shape.axis),
                keys,
                column.heads,
                column.lengths,
                slots=column.slots,
                num_heads=shape.num_heads,
            )


@dataclass(frozen=True, slots=True)
class BiasScores(_Step):
    """Add a bias to the partial sums of scores; each PE along A has a share of all heads' rows."""

    shape: AttentionShape
    scores: Block
    bias: Block
    """Parameters: its share of the rows, a column for every slot."""

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.BIAS_SCORES

    def blocks(self) -> tuple[Block, ...]:
        """Return scores and bias."""
        return self.scores, self.scores, self.bias

    def more(self) -> tuple[int, ...]:
        """Return further words of the schedule."""
        return (self.bias.rows,)

    def sizes(self, program: MeshProgram, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that its cost depends on: `biased` rows are those of the first PE."""
        sizes = self.shape.sizes(program, launch)
        biased = min(self.bias.rows, launch.num_rows * self.shape.num_heads)
        return {**sizes, "biased": sizes["used"] * biased}

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        shape, bias = self.shape, memories.matrix(self.bias)
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            attention.add_bias(
                column.of(scores, shape.axis), column.of(bias, shape.axis), at=column.a
            )


def view_scores(memories: Memories, scores: Block, shape: AttentionShape, slots: int) -> Array:
    """Return the scores in use, `[height, width, rows, heads, slots]`.

    On the wafer, a PE that has a slot less than others leaves no room for it.
    """
    return memories.view(scores, memories.launch.num_rows, shape.num_heads, slots)


class _ScoresCollective(_Step):
    """A collective over the scores in use."""

    __slots__ = ()

    scores: Block

    def blocks(self) -> tuple[Block, ...]:
        """Return the scores."""
        return (self.scores,)

    def used(self, memories: Memories) -> Array:
        """Return a view of the scores in use, `[across, along, …]`."""
        column = next(self.columns(memories))
        scores = view_scores(memories, self.scores, self.shape, column.slots)
        return scores if self.shape.axis is Axis.X else scores.swapaxes(0, 1)

    def words(self, program: MeshProgram, launch: Launch) -> Array:
        """Return how many scores the PEs at each place along the axis of the positions have."""
        slots = self.shape.sizes(program, launch)["slots"]
        return launch.num_rows * self.shape.num_heads * np.asarray(slots)[0, 0]


@dataclass(frozen=True, slots=True)
class ReduceScores(_ScoresCollective):
    """Sum the scores along A into PE 0, as `ChainReduce` does."""

    shape: AttentionShape
    scores: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        is_x = self.shape.axis is Axis.X
        return Kind.REDUCE_SCORES_X if is_x else Kind.REDUCE_SCORES_Y

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        reduce_along(self.used(memories), arithmetic.add)

    def traffic(self, program: MeshProgram, launch: Launch) -> Traffic:
        """Return what it sends."""
        words = self.words(program, launch)
        return Traffic(self.shape.axis, "fadds", words, is_chain=True)


@dataclass(frozen=True, slots=True)
class BroadcastScores(_ScoresCollective):
    """Copy the scores of PE 0 along A to all others, as `Broadcast` does."""

    shape: AttentionShape
    scores: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        is_x = self.shape.axis is Axis.X
        return Kind.BROADCAST_SCORES_X if is_x else Kind.BROADCAST_SCORES_Y

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        values = self.used(memories)
        values[:, 1:] = values[:, :1]

    def traffic(self, program: MeshProgram, launch: Launch) -> Traffic:
        """Return what it sends."""
        words = self.words(program, launch)
        return Traffic(self.shape.axis, "fmovs", words, is_chain=False)


@dataclass(frozen=True, slots=True)
class FindMaxima(_Step):
    """Scale the scores of the local heads, and find the largest one of each row and head."""

    shape: AttentionShape
    maxima: Block
    scores: Block
    scale: float

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.FIND_MAXIMA

    def blocks(self) -> tuple[Block, ...]:
        """Return maxima and scores."""
        return self.maxima, self.scores

    def more(self) -> tuple[int, ...]:
        """Return further words of the schedule."""
        return float_words(self.scale)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        shape, maxima = self.shape, memories.matrix(self.maxima)
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            column.of(maxima, shape.axis)[...] = attention.maxima(
                column.of(scores, shape.axis),
                column.heads,
                column.lengths,
                group=shape.group,
                most=shape.most,
                scale=self.scale,
            )


@dataclass(frozen=True, slots=True)
class Weigh(_Step):
    """Make the scores of the local heads exp(score − maximum), and sum them."""

    shape: AttentionShape
    totals: Block
    """A row: sums of the weights, then room for those of weighted values."""
    scores: Block
    maxima: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.WEIGH

    def blocks(self) -> tuple[Block, ...]:
        """Return totals, scores and maxima."""
        return self.totals, self.scores, self.maxima

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        shape, totals = self.shape, memories.matrix(self.totals)
        maxima = memories.matrix(self.maxima)
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            column.of(totals, shape.axis)[..., : shape.most] = attention.weights(
                column.of(scores, shape.axis),
                column.of(maxima, shape.axis),
                column.heads,
                column.lengths,
                functions.exponential,
                group=shape.group,
            )


@dataclass(frozen=True, slots=True)
class SumValues(_Step):
    """Sum the values in a PE's slots, times their weights."""

    shape: AttentionShape
    totals: Block
    scores: Block
    cache: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.SUM_VALUES

    def blocks(self) -> tuple[Block, ...]:
        """Return totals, scores and cache."""
        return self.totals, self.scores, self.cache

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        shape, totals = self.shape, memories.matrix(self.totals)
        cache = memories.whole(self.cache)
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            _, values = self.split_cache(column.of(cache, shape.axis), column)
            weighted = attention.values(
                column.of(scores, shape.axis),
                values,
                column.heads,
                column.lengths,
                group=shape.group,
                width=shape.width,
            )
            target = column.of(totals, shape.axis)[..., shape.most :]
            target[...] = weighted.reshape(target.shape)


@dataclass(frozen=True, slots=True)
class Divide(_Step):
    """Divide the weighted sums by the sums of the weights; store them in the program's dtype."""

    shape: AttentionShape
    result: Block
    totals: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.DIVIDE

    def blocks(self) -> tuple[Block, ...]:
        """Return result and totals."""
        return self.result, self.totals

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        shape, totals = self.shape, memories.matrix(self.totals)
        rows = memories.num_rows(self.result)
        result = memories.view(self.result, rows, shape.width, shape.group)
        for column in self.columns(memories):
            local = column.of(totals, shape.axis)
            weighted = local[..., shape.most :].reshape(*local.shape[:-1], shape.group, shape.width)
            column.of(result, shape.axis)[...] = attention.divide(
                local[..., : shape.most], weighted, column.heads, dtype=result.dtype
            )

"""Attention over a cache of keys and values, in steps between collectives.

    Share ─▶ Append ─▶ Score (─▶ BiasScores) ─▶ ReduceScores, BroadcastScores along A ─▶ FindMaxima
    ─▶ ChainMax, Broadcast along B ─▶ Weigh ─▶ SumValues ─▶ ChainReduce, Broadcast along B ─▶ Divide

Where no block of features has parts of two heads, scores go no further than the PEs of their head.
The features of queries, keys and values lie along A, the positions of the cache along B. The
kernels and their mirrors are those of `arrays.py`.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import DataType
from onewafer.mesh import arithmetic, functions
from onewafer.mesh.attention import arrays
from onewafer.mesh.blocks import Axis, Launch
from onewafer.mesh.chains import reduce_along
from onewafer.mesh.collectives.operations import copy_along
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import ELEMENT, Beginning, Kind, Module, Task, along_axes
from onewafer.mesh.operation import Classes, MeshOperation, Traffic
from onewafer.mesh.sizes import block_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.attention.shape import AttentionShape
    from onewafer.mesh.blocks import Block
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]


_VALUES = Module("values", ELEMENT)
_SOFTMAX = Module(
    "softmax",
    ".exponential = if (is_half) functions.exponential_for_half else functions.exponential",
    (FUNCTIONS,),
)
_SHARE = """
// Fill the table of an attention for this launch.
inline fn share(words: [*]u16, numbers: [*]u16, heads: [*]u16, rows: u16, width: u16, axis: u16,
                is_kept: u16) void {
  const b = place(1 - axis);
  const num_pes = size(1 - axis);
  const first = if (is_kept != 0) start else 0;
  const end = first + rows;
  numbers[0] = shares.slots(end, b, num_pes);
  numbers[1] = first;
  const lengths = table(words[8] + 2);
  if (is_kept != 0) {
    shares.lengths(lengths, rows, first + 1, 1, b, num_pes);
  } else {
    shares.lengths(lengths, rows, end, 0, b, num_pes);
  }
  const head_dim = words[17];
  shares.heads(heads, place(axis), width, head_dim, words[18]);
  if (words[19] != 0) heads[0] = 0; // scores are those of the PE's own heads
  entry += 3;
}
"""
_OF_ATTENTION = Beginning(
    "steps of attention",
    """
    // A table has: slots in use, the cache's place of row 0, slots of each row; then the heads.
    const numbers = table(words[8]);
    const heads = table(words[9]);
    const group = words[10];
    const width = words[11];
    const capacity = words[12];
    const num_heads = words[13];
    const most = words[14];
    const axis = words[15];
    const is_kept = words[16];
    const lengths = table(words[8] + 2);
    const slots = numbers[0];
    entry += 9;
    """,
)


@dataclass(frozen=True, slots=True)
class _Column:
    """The PEs at one place along A; arrays of theirs are `[PEs along B, …]`."""

    a: int
    heads: arrays.LocalHeads
    b: Array
    """Their places along B."""
    lengths: Array
    """`[PEs along B, rows]`: slots that each row attends to."""
    slots: int
    """The most slots that any PE of the program uses."""

    def of(self, values: Array, axis: Axis) -> Array:
        """Return a view of these PEs' part of an array `[height, width, …]`."""
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

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        more = (*self.shape.words, *self.more())
        entry = block_entry(program, self.kind, *self.blocks(), more=more)
        return dataclasses.replace(entry, rows=0)  # whatever the rows of the result

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that its cost depends on."""
        return self.shape.sizes(program, launch)

    def classes(self, program: ProgramShape, launch: Launch) -> Classes:
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
        lengths = arrays.row_lengths(launch.num_rows, reach=reach, step=step, b=b, size=size)
        slots = int(arrays.num_slots(end, 0, size))
        for a in range(memories.program.size(shape.axis)):
            yield _Column(a, shape.local_heads(a), b, lengths, slots)

    def split_cache(self, cache: Array, column: _Column) -> tuple[Array, tuple[Array, ...]]:
        """Return views of the keys, and of the values of each local head."""
        shape = self.shape
        return arrays.split_cache(cache, column.heads, width=shape.width, capacity=shape.capacity)


@dataclass(frozen=True, slots=True)
class Share(_Step):
    """Work out the heads and slots of each PE, once a launch for all layers that are alike."""

    kinds = (
        Kind(
            61,
            "share",
            """
            share(words, numbers, heads, rows, width, axis, is_kept);
            """,
            (Module("shares"),),
            (_SHARE,),
            beginning=_OF_ATTENTION,
        ),
    )

    shape: AttentionShape
    rows: Block
    """Any block of the launch's rows."""

    def blocks(self) -> tuple[Block, ...]:
        """Return the block that says how many rows there are."""
        return (self.rows,)

    def more(self) -> tuple[int, ...]:
        """Return further words of the schedule."""
        shape = self.shape
        return (shape.head_dim, shape.kv_heads * shape.head_dim, int(shape.is_apart))

    def execute(self, memories: Memories) -> None:
        """Do nothing: on NumPy arrays each step works its shares out."""


@dataclass(frozen=True, slots=True)
class Append(_Step):
    """Put the keys and values of the launch's rows into the cache, each on the PE that keeps it."""

    kinds = (
        Kind(
            48,
            "append",
            """
            kv_append.run(cache(result, is_kept), activation(left, width), activation(right, width),
                          heads, numbers[1], rows, width, capacity,
                          place(1 - axis), size(1 - axis));
            """,
            (Module("kv_append", ELEMENT),),
            beginning=_OF_ATTENTION,
        ),
    )

    shape: AttentionShape
    cache: Block
    keys: Block
    values: Block

    def blocks(self) -> tuple[Block, ...]:
        """Return cache, keys and values."""
        return self.cache, self.keys, self.values

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        shape = self.shape
        cache = memories.whole(self.cache)
        keys, values = memories.matrix(self.keys), memories.matrix(self.values)
        for column in self.columns(memories):
            arrays.append(
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

    kinds = (
        Kind(
            49,
            "score",
            """
            scores.run(sums(result, 1), activation(left, 1), cache(right, is_kept), heads, lengths,
                       rows, slots, num_heads, group, width, capacity);
            """,
            (Module("scores", ELEMENT),),
            beginning=_OF_ATTENTION,
        ),
    )

    shape: AttentionShape
    scores: Block
    """Room for all heads and slots in each row; those in use lie together."""
    queries: Block
    cache: Block

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
            column.of(scores, shape.axis)[...] = arrays.scores(
                column.of(queries, shape.axis),
                keys,
                column.heads,
                column.lengths,
                slots=column.slots,
                num_heads=shape.score_heads,
            )


@dataclass(frozen=True, slots=True)
class BiasScores(_Step):
    """Add a bias to the partial sums of scores; each PE along A has a share of all heads' rows."""

    kinds = (
        Kind(
            50,
            "bias_scores",
            """
            score_bias.run(sums(result, 1), parameter(right, 1), place(axis), words[17],
                           rows * num_heads, slots, capacity);
            entry += 1;
            """,
            (Module("score_bias", ELEMENT),),
            beginning=_OF_ATTENTION,
        ),
    )

    shape: AttentionShape
    scores: Block
    bias: Block
    """Parameters: its share of the rows, a column for every slot."""

    def blocks(self) -> tuple[Block, ...]:
        """Return scores and bias."""
        return self.scores, self.scores, self.bias

    def more(self) -> tuple[int, ...]:
        """Return further words of the schedule."""
        return (self.bias.rows,)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that its cost depends on: `biased` rows are those of the first PE."""
        sizes = self.shape.sizes(program, launch)
        biased = min(self.bias.rows, launch.num_rows * self.shape.num_heads)
        return {**sizes, "biased": sizes["used"] * biased}

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        shape, bias = self.shape, memories.matrix(self.bias)
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            arrays.add_bias(column.of(scores, shape.axis), column.of(bias, shape.axis), at=column.a)


def view_scores(memories: Memories, scores: Block, shape: AttentionShape, slots: int) -> Array:
    """Return the scores in use, `[height, width, rows, heads, slots]`.

    On the wafer, a PE that has a slot less than others leaves no room for it.
    """
    return memories.view(scores, memories.launch.num_rows, shape.score_heads, slots)


class _ScoresCollective(_Step):
    """A collective over the scores in use: along the whole axis, or in the segments of heads."""

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

    def parts(self, memories: Memories) -> Iterator[tuple[Array, int, Array]]:
        """Yield the scores in use of PEs that have some in common, their root and their leaders."""
        used, segments = self.used(memories), self.shape.segments
        chains = memories.program.chains(self.shape.axis)
        leaders = chains.leaders()
        if segments is None:
            yield used, chains.middle, leaders
            return
        roots = chains.roots(of_heads=True)
        for head in range(segments.num_heads):
            first, end = head * segments.num_pes, (head + 1) * segments.num_pes
            yield used[:, first:end], int(roots[first]) - first, leaders[first:end]

    @property
    def of_heads(self) -> bool:
        """Whether the PEs of each head have a root of their own."""
        return self.shape.segments is not None

    def words(self, program: ProgramShape, launch: Launch) -> Array:
        """Return how many scores the PEs at each place along the axis of the positions have."""
        slots = self.shape.slots(program.size(self.shape.axis.other), launch)
        return launch.num_rows * self.shape.score_heads * slots


@dataclass(frozen=True, slots=True)
class ReduceScores(_ScoresCollective):
    """Sum the scores along A into its middle, or into the PE of each head that is next to it.

    In the order of `chains.reduce_along`.
    """

    kinds = (
        *along_axes(
            Kind(
                51,
                "reduce_scores",
                """
            moving = rows * num_heads * slots;
            if (moving > 0) {
              along_$axis.chain_reduce(sums(result, moving), moving);
            } else {
              @activate(after_chain_${axis}_id);
            }
            return;
                """,
                beginning=_OF_ATTENTION,
                flags=("may_send_nothing_$axis",),
                is_collective=True,
            ),
            53,
        ),
        Kind(
            55,
            "reduce_heads",
            """
            moving = if (head_chain.has_part == 0) 0 else rows * num_heads * slots;
            if (moving > 0) {
              head_chain.reduce(sums(result, moving), moving);
            } else {
              @activate(after_head_chain_id);
            }
            return;
            """,
            beginning=_OF_ATTENTION,
            flags=("has_head_chains",),
            is_collective=True,
        ),
    )

    shape: AttentionShape
    scores: Block

    @property
    def kind(self) -> Kind:
        """Its kind in the schedule."""
        return self.kinds[2 if self.of_heads else self.shape.axis.number]

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        for scores, root, leaders in self.parts(memories):
            reduce_along(scores, root, leaders, arithmetic.add)

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
        """Return its traffic."""
        words = self.words(program, launch)
        return Traffic(self.shape.axis, "fadds", words, is_chain=True, of_heads=self.of_heads)


@dataclass(frozen=True, slots=True)
class BroadcastScores(_ScoresCollective):
    """Copy the scores of the middle along A, or of the roots of heads, to all others."""

    kinds = (
        *along_axes(
            Kind(
                52,
                "broadcast_scores",
                """
            if (n > 0) {
              along_$axis.broadcast(sums(result, n), n);
              return;
            }
                """,
                beginning=_OF_ATTENTION,
                task=Task.AFTER_CHAIN_X,
                is_collective=True,
            ),
            54,
        ),
        Kind(
            56,
            "broadcast_heads",
            """
            if (n > 0) {
              head_chain.broadcast(sums(result, n), n);
              return;
            }
            """,
            beginning=_OF_ATTENTION,
            task=Task.AFTER_HEAD_CHAIN,
            is_collective=True,
        ),
    )

    shape: AttentionShape
    scores: Block

    @property
    def kind(self) -> Kind:
        """Its kind in the schedule."""
        return self.kinds[2 if self.of_heads else self.shape.axis.number]

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        for scores, root, _ in self.parts(memories):
            copy_along(scores, root)

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
        """Return its traffic."""
        words = self.words(program, launch)
        return Traffic(self.shape.axis, "fmovs", words, is_chain=False, of_heads=self.of_heads)


@dataclass(frozen=True, slots=True)
class FindMaxima(_Step):
    """Scale the scores of the local heads, and find the largest one of each row and head."""

    kinds = (
        Kind(
            57,
            "find_maxima",
            """
            softmax.maxima(totals(result), sums(left, 1), heads, lengths,
                           rows, slots, num_heads, group, most, number(words, 17));
            entry += 2;
            """,
            (_SOFTMAX,),
            beginning=_OF_ATTENTION,
        ),
    )

    shape: AttentionShape
    maxima: Block
    scores: Block
    scale: float

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
            column.of(maxima, shape.axis)[...] = arrays.maxima(
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

    kinds = (
        Kind(
            58,
            "weigh",
            """
            softmax.weights(totals(result), sums(left, 1), totals(right), heads, lengths,
                            rows, slots, num_heads, group, most, width);
            """,
            (_SOFTMAX,),
            beginning=_OF_ATTENTION,
        ),
    )

    shape: AttentionShape
    totals: Block
    """A row: sums of the weights, then room for those of weighted values."""
    scores: Block
    maxima: Block

    def blocks(self) -> tuple[Block, ...]:
        """Return totals, scores and maxima."""
        return self.totals, self.scores, self.maxima

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        shape, totals = self.shape, memories.matrix(self.totals)
        maxima = memories.matrix(self.maxima)
        is_half = memories.program.dtype is DataType.F16
        exponential = functions.exponential_for_half if is_half else functions.exponential
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            column.of(totals, shape.axis)[..., : shape.most] = arrays.weights(
                column.of(scores, shape.axis),
                column.of(maxima, shape.axis),
                column.heads,
                column.lengths,
                exponential,
                group=shape.group,
            )


@dataclass(frozen=True, slots=True)
class SumValues(_Step):
    """Sum the values in a PE's slots, times their weights."""

    kinds = (
        Kind(
            59,
            "sum_values",
            """
            values.run(sums(result, 1), sums(left, 1), cache(right + width * capacity, is_kept),
                       heads, lengths, rows, slots, num_heads, group, most, width, capacity);
            """,
            (_VALUES,),
            beginning=_OF_ATTENTION,
        ),
    )

    shape: AttentionShape
    totals: Block
    scores: Block
    cache: Block

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
            weighted = arrays.values(
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

    kinds = (
        Kind(
            60,
            "divide",
            """
            values.divide(activation(result, 1), totals(left), heads, rows, group, most, width);
            """,
            (_VALUES,),
            beginning=_OF_ATTENTION,
        ),
    )

    shape: AttentionShape
    result: Block
    totals: Block

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
            column.of(result, shape.axis)[...] = arrays.divide(
                local[..., : shape.most], weighted, column.heads, dtype=result.dtype
            )

"""Cycles and bytes of launches, read from the mesh program of one piece of each segment.

In: one piece of each segment, joined, and a group of PEs. Out: cycles, the resources that they wait
for, and bytes. Each further piece costs as much as the first, plus the schedule step that goes back
to it. Work that a launch does once for all layers is counted once.

    cycles = once + Σ over segments of pieces · (cycles of a piece [+ one REPEAT])
    bytes  = code, activations, buffers, tables + Σ pieces · (weights + sequences · cache)
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from onewafer.graph import Attention, Linear
from onewafer.mesh import (
    Arena,
    Estimator,
    Launch,
    Matmul,
    Role,
    check_words,
    footprint,
    split_waits,
)
from onewafer.perf.breakdown import Limit
from onewafer.perf.wafer.feature_map_blocks import Exchange
from onewafer.perf.wafer.messages import Groups
from onewafer.perf.wafer.stored_weights import stored_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from onewafer.arch import Architecture
    from onewafer.graph import Graph, LayerPart, Tensor
    from onewafer.mesh import Cutter, Estimate, Footprint, MeshProgram, Waits
    from onewafer.perf.wafer.feature_map_blocks import Grid, Message
    from onewafer.perf.wafer.stand_ins import Piece
    from onewafer.perf.wafer.stored_weights import StoredWeight
    from onewafer.perf.wafer.workload import Load

Work = tuple[tuple[int, int], ...]
"""The pieces of a region in order: indices of segments, and numbers of their pieces."""
Rectangle = tuple[int, int]
"""Width and height in PEs."""
Split = dict["tuple[str | None, Limit, bool]", float]
"""Cycles by part of a layer (None: the launch itself), limiting resource, and True if estimated by
operations that replace others."""

HALOS = "neighbours' places"
"""Messages between blocks of feature maps."""
_ONCE = -1
"""The segment index of work that a launch does once."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes on every PE of a region."""

    weights: float
    cache: int
    other: int
    """Code, activations, buffers, tables, the schedule."""
    weights_at_once: float
    """Weights that must be present at a time under weight streaming: of experts, which follow one
    another, as many as a row is routed to."""

    @property
    def total(self) -> float:
        """The total bytes of a PE."""
        return self.weights + self.cache + self.other


@dataclass(frozen=True, slots=True)
class Given:
    """Properties that all programs of a model for one load share."""

    architecture: Architecture
    density: float
    """Share of the weights that are not zero."""
    element_bytes: int
    """Bytes of an element of a weight, an activation, or a key."""
    parts: tuple[tuple[LayerPart, ...], ...]
    """The part of each operation of each segment."""
    stored: Callable[[Piece], Iterable[tuple[Tensor, float]]]
    """The learned parameters of a piece, each with stored bytes ÷ bytes."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The work of one program."""

    pieces: Sequence[tuple[int, Piece]]
    """In order, each with the index of its segment."""
    grid: Grid
    messages: Mapping[str, Message]
    """Messages between groups of the grid, by result in the program's graph."""
    cutter: Cutter


class Measured:
    """The mesh program of one piece of each segment, and the costs that follow for more pieces."""

    def __init__(self, load: Load, given: Given, joined: Joined, group: Rectangle) -> None:
        self._given = given
        self._joined = joined
        self._group = group
        self._pieces = pieces = joined.pieces
        has_cache = any(_cached_features(piece.graph) for _, piece in pieces)
        program = joined.cutter.cut(
            width=group[0],
            height=group[1],
            architecture=given.architecture,
            context=load.capacity if has_cache else None,
            usual_rows=load.rows,
        )
        self._program: MeshProgram = with_head_products(
            program,
            {name: count for _, piece in pieces for name, count in piece.head_products.items()},
        )
        check_words(self._program)
        self._launch = Launch.at(load.position, load.rows)
        self._rounds = Counter(index for index, _ in pieces)
        """Number of pieces of each segment in the program."""

    @property
    def is_transposed(self) -> bool:
        """True if output features lie along the other axis than input features."""
        given = self._program.with_role(Role.INPUT)[0]
        return given.columns is not self._program.with_role(Role.OUTPUT)[0].columns

    @property
    def code_bytes(self) -> int:
        """Bytes of kernels and the schedule."""
        return self._footprint.kernels + self._footprint.schedule

    def cycles_of(self, work: Work) -> float:
        """Return the cycles of a launch."""
        cycles = self._cycles
        return cycles[_ONCE] + sum(
            count * cycles[index] / self._rounds[index] + self._repeats(count)
            for index, count in work
        )

    def split(self, work: Work) -> Split:
        """Return the cycles of a launch by part of a layer and limiting resource."""
        counts = Counter(dict(work))
        split: Split = {}
        of_operations = [
            (place, waits)
            for at, (place, waits) in enumerate(zip(self._places, self._waits, strict=True))
            if at not in self._told_instead
        ]
        told = [((self._places[at][0], HALOS, True), waits) for at, waits in self._told]
        for (index, part, is_estimated), waits in (*of_operations, *told):
            factor = 1 if index == _ONCE else counts[index] / self._rounds[index]
            for limit, cycles in _by_limit(waits):
                key = part, limit, is_estimated
                split[key] = split.get(key, 0.0) + cycles * factor
        control = self._control_cycles + sum(map(self._repeats, counts.values()))
        split[None, Limit.COMPUTE, False] = control
        return {key: cycles for key, cycles in split.items() if cycles}

    def bytes_of(self, work: Work, *, sequences: int) -> Bytes:
        """Return the bytes on every PE with the caches of `sequences`."""
        counts, caches = Counter(dict(work)), self._cache_bytes
        needed, pieces = self._footprint, dict(self._pieces)
        kept = (
            counts[index] * size * sequences * pieces[index].kept_share
            for index, size in caches.items()
        )
        passing = (
            counts[index] * size * pieces[index].passing_share for index, size in caches.items()
        )
        blocks = sum(one.block_bytes for one in self._weights)

        def share(one: StoredWeight) -> float:
            """Return the bytes of a weight's block, over all pieces."""
            return one.block_bytes * counts[one.segment] / self._rounds[one.segment]

        return Bytes(
            weights=sum(share(one) * one.times for one in self._weights),
            cache=math.ceil(sum(kept)),
            other=needed.total - needed.state - blocks + math.ceil(sum(passing)),
            weights_at_once=sum(share(one) * one.times_at_once for one in self._weights),
        )

    def _repeats(self, count: int) -> int:
        """Return the cycles of the schedule steps that go back to the first piece."""
        return count * self._estimator.repeat_cycles() if count > 1 else 0

    @cached_property
    def _estimator(self) -> Estimator:
        return Estimator(self._program, self._given.architecture)

    @cached_property
    def _estimate(self) -> Estimate:
        return self._estimator.estimate(self._launch)

    @cached_property
    def _footprint(self) -> Footprint:
        return footprint(self._program, self._given.architecture)

    @property
    def _control_cycles(self) -> int:
        return self._estimate.launch_cycles + self._estimate.control_cycles

    @cached_property
    def _cycles(self) -> Mapping[int, int]:
        """Cycles of all operations, by segment."""
        cycles: Counter[int] = Counter({_ONCE: self._control_cycles})
        of_operations = (
            [cost.cycles for cost in self._estimate.operations]
            if self._given.density == 1.0
            else [waits.cycles for waits in self._waits]
        )
        for at, ((index, _, _), of_operation) in enumerate(
            zip(self._places, of_operations, strict=True)
        ):
            cycles[index] += 0 if at in self._told_instead else of_operation
        for at, waits in self._told:
            cycles[self._places[at][0]] += waits.cycles
        return cycles

    @cached_property
    def _told(self) -> tuple[tuple[int, Waits], ...]:
        """The messages between groups: mesh operation → its waiting cycles."""
        if not self._joined.messages:
            return ()
        groups = Groups(
            grid=self._joined.grid,
            width=self._group[0],
            height=self._group[1],
            element_bytes=self._given.element_bytes,
            timing=self._given.architecture.timing,
            issue_cycles=self._estimator.issue_cycles(),
        )
        return tuple(
            (at, groups.waits(message, self._columns(at))) for at, message in self._messages.items()
        )

    @cached_property
    def _told_instead(self) -> frozenset[int]:
        """Mesh operations that a message replaces."""
        return frozenset(at for at, told in self._messages.items() if isinstance(told, Exchange))

    @cached_property
    def _messages(self) -> Mapping[int, Message]:
        """The messages by mesh operation, of which each has one."""
        messages, operations = self._joined.messages, self._program.graph.operations
        if not messages:
            return {}
        names = [operations[source].result.name for source in self._program.sources]
        return {at: messages[name] for at, name in enumerate(names) if name in messages}

    def _columns(self, at: int) -> int:
        """Return the features per PE of the result of a mesh operation."""
        sizes = self._program.operations[at].sizes(self._program, self._launch)
        return int(sizes["columns"])

    @cached_property
    def _waits(self) -> tuple[Waits, ...]:
        """The waiting cycles of each operation; products count only nonzero weights."""
        architecture, density = self._given.architecture, self._given.density
        waits = split_waits(self._program, self._launch, self._estimate, architecture)
        if density == 1.0:
            return waits
        return tuple(
            replace(wait, memory=-int(-wait.memory * density // 1))
            if operation.kind.name.startswith("matmul")
            else wait
            for operation, wait in zip(self._program.operations, waits, strict=True)
        )

    @cached_property
    def _places(self) -> tuple[tuple[int, str, bool], ...]:
        """The segment, the layer part, and whether it is estimated, of each mesh operation."""
        of_pieces = [
            (index, part.value, operation.result.name in piece.estimated)
            for index, piece in self._pieces
            for part, operation in zip(
                self._given.parts[index], piece.graph.operations, strict=True
            )
        ]
        messages = self._joined.messages
        of_operations: list[tuple[int, str, bool]] = []
        count = 0
        """Number of operations of the pieces so far."""
        for operation in self._program.graph.operations:
            of_operations.append(of_pieces[count])  # an exchange belongs to the operation after it
            count += not isinstance(messages.get(operation.result.name), Exchange)
        prepared, places = self._program.num_prepared, self._program.sources
        return tuple(
            (_ONCE if at < prepared else of_operations[source][0], *of_operations[source][1:])
            for at, source in enumerate(places)
        )

    @cached_property
    def _weights(self) -> tuple[StoredWeight, ...]:
        return tuple(stored_weights(self._pieces, self._program, self._given.stored))

    @cached_property
    def _cache_bytes(self) -> Mapping[int, int]:
        """Bytes of keys and values of one sequence in one piece, by segment."""
        features = {index: _cached_features(piece.graph) for index, piece in self._pieces}
        total = sum(features[index] for index, _ in self._pieces)
        size = self._program.arena_bytes(Arena.STATE)
        return {index: size * share // total for index, share in features.items() if share}


def _cached_features(graph: Graph) -> int:
    """Return the features of keys and values that a graph caches per position."""
    return sum(
        graph.tensor(name).shape[-1]
        for operation in that_keep(graph)
        for name in (operation.key, operation.value)
    )


def that_keep(graph: Graph) -> Iterator[Attention]:
    """Yield the attentions that cache keys and values for later tokens."""
    for operation in graph.operations:
        if isinstance(operation, Attention) and operation.is_causal:
            yield operation


def _by_limit(waits: Waits) -> Iterator[tuple[Limit, int]]:
    yield Limit.COMPUTE, waits.instructions
    yield Limit.SRAM_BANDWIDTH, waits.memory
    yield Limit.FABRIC_LATENCY, waits.travel
    yield Limit.FABRIC_BANDWIDTH, waits.wavelets


def with_head_products(program: MeshProgram, heads: Mapping[str, int]) -> MeshProgram:
    """Make products with block-diagonal weights multiply only the nonzero blocks.

    The program has block-diagonal weights (products of heads) as dense ones. Features are ordered
    so that every PE has some of each head: each column multiplies only 1 / heads of the operand's
    features.

    `heads` has, for each weight, the number of diagonal blocks.
    """
    if not heads:
        return program
    operations = program.graph.operations
    multiplied = (
        _less(operation, heads.get(source.weight, 1))
        if isinstance(operation, Matmul) and isinstance(source := operations[at], Linear)
        else operation
        for operation, at in zip(program.operations, program.sources, strict=True)
    )
    return replace(program, operations=tuple(multiplied))


def _less(product: Matmul, heads: int) -> Matmul:
    rows = -(-product.weight.rows // heads)
    return replace(product, weight=replace(product.weight, rows=rows))

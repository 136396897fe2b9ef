"""What a rectangle of PEs takes to compute some pieces of a model, and the memory that it needs.

In: graphs of pieces, a load, a rectangle. Out: cycles and bytes, both read from the mesh program of
one piece of each kind: pieces that come again cost what the first one costs, and a step of the
schedule that goes back to it. What a launch does once for all layers is counted once.

    cycles = once + Σ over segments of pieces · (cycles of a piece [+ one REPEAT])
    bytes  = code, activations, buffers, tables + Σ pieces · (weights + sequences · cache)
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.graph import Attention, Convolution, Linear
from onewafer.mesh import (
    Arena,
    Cutter,
    Estimator,
    Launch,
    Role,
    check_words,
    footprint,
    split_waits,
)
from onewafer.perf.breakdown import Limit
from onewafer.perf.wafer.grids import MOST_COMPARED, Grids, group_of
from onewafer.perf.wafer.head_products import with_head_products
from onewafer.perf.wafer.map_blocks import WHOLE, Exchange, cut
from onewafer.perf.wafer.messages import Groups
from onewafer.perf.wafer.stored_weights import stored_matrix, stored_weights
from onewafer.perf.wafer.workload import again, join, parts_of, pieces_of
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onewafer.arch import Timing
    from onewafer.graph import Graph, LayerPart
    from onewafer.mesh import Estimate, Footprint, MeshProgram, Waits
    from onewafer.perf.model import Model
    from onewafer.perf.wafer.map_blocks import Grid, Message
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.stand_ins import Piece
    from onewafer.perf.wafer.stored_weights import StoredWeight
    from onewafer.perf.wafer.system import Machine
    from onewafer.perf.wafer.workload import Load

Work = tuple[tuple[int, int], ...]
"""What a region computes, in order: indices of segments, and how many of their pieces."""
Rectangle = tuple[int, int]
"""Width and height in PEs."""
Split = dict["tuple[str | None, Limit, bool]", float]
"""Cycles by part of a layer, None for the launch itself, by what they wait for, and by whether they
are those of operations that stand for others."""

HALOS = "neighbours' places"
"""What blocks of maps tell each other."""
_ONCE = -1
"""In place of a segment: what a launch does once."""
_WAVELET_BYTES = 4


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes of every PE of a region."""

    weights: float
    cache: int
    other: int
    """Code, activations, buffers, tables, the schedule."""
    weights_at_once: float
    """What must be there of the weights at a time where they come from outside: of experts, which
    follow one another, as many as a row meets."""

    @property
    def total(self) -> float:
        """The sum."""
        return self.weights + self.cache + self.other


@dataclass(frozen=True, slots=True)
class RegionCost:
    """One launch of a region that has room for its work."""

    work: Work
    rectangle: Rectangle
    cycles: float
    bytes: Bytes
    grid: Grid = WHOLE
    """Groups of PEs among which the places of maps are dealt out."""
    leaving_cycles: int = 0
    """In which maps go on to the next region; not part of `cycles`."""

    @property
    def num_pes(self) -> int:
        """PEs of the rectangle."""
        return self.rectangle[0] * self.rectangle[1]


class Regions:
    """Costs of regions of one model for one load; each mesh program is built once."""

    def __init__(
        self, model: Model, load: Load, *, machine: Machine, options: WaferOptions
    ) -> None:
        self.load = load
        self.segments = model.segments
        self.architecture = machine.architecture
        self.pieces = pieces_of(model, load, options.precision)
        self.density = options.density
        self._measured: dict[tuple[tuple[int, ...], Rectangle, Grid], _Measured | str] = {}
        self._joined: dict[tuple[tuple[int, ...], Grid], _Joined] = {}
        self._costs: dict[tuple[Work, Rectangle], RegionCost | None] = {}
        self._grids: dict[tuple[int, ...], Grids] = {}

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graph of a piece of each segment."""
        return tuple(piece.graph for piece in self.pieces)

    @cached_property
    def has_maps(self) -> bool:
        """Whether the model works on maps."""
        return any(graph.has_maps for graph in self.graphs)

    @property
    def element_bytes(self) -> int:
        """Bytes of a weight, an activation, or a key."""
        return self.graphs[0].dtype.num_bytes

    @cached_property
    def parts(self) -> tuple[tuple[LayerPart, ...], ...]:
        """The part of each operation of each segment."""
        return parts_of(self.graphs)

    @cached_property
    def weight_bytes(self) -> tuple[float, ...]:
        """Bytes of the learned parameters of a piece of each segment, without padding."""
        return tuple(
            sum(
                tensor.num_bytes * times
                for tensor, times in zip(
                    piece.graph.parameters, self.times_stored(piece), strict=True
                )
            )
            for piece in self.pieces
        )

    @cached_property
    def bytes_at_once(self) -> tuple[float, ...]:
        """Bytes of `weight_bytes` that must be there at a time, if they come from outside."""
        return tuple(
            sum(
                tensor.num_bytes * (min(times, 1.0) if tensor.name in piece.stacked else times)
                for tensor, times in zip(
                    piece.graph.parameters, self.times_stored(piece), strict=True
                )
            )
            for piece in self.pieces
        )

    def times_stored(self, piece: Piece) -> tuple[float, ...]:
        """Return how many times the bytes of each parameter are stored; constants count as 0.

        Of sparse weights only what is not zero is, of experts all that a row does not meet, too.
        """
        products = _weights_of(piece.graph, Linear)
        return tuple(
            0.0
            if tensor.name in piece.constants
            else piece.stored.get(tensor.name, 1.0)
            * (self.density if tensor.name in products else 1.0)
            for tensor in piece.graph.parameters
        )

    @cached_property
    def _caches(self) -> tuple[tuple[tuple[int, int, float], ...], ...]:
        """Positions, features and bytes of an element of what each piece keeps, of all sequences.

        Each attention keeps keys, and values that are as many.
        """
        return tuple(
            tuple(
                (self.load.capacity, keys, 2.0 * self.element_bytes * self._times_kept(piece))
                for keys in _kept_keys(piece.graph)
            )
            for piece in self.pieces
        )

    def _times_kept(self, piece: Piece) -> float:
        """Return how often there are the keys and values of a sequence, as a piece has them."""
        return self.load.sequences * piece.kept_share + piece.passing_share

    @cached_property
    def _products(self) -> tuple[tuple[tuple[float, float, float], ...], ...]:
        """Rows, columns and bytes stored of an element, of the weights that each piece has alone.

        What pieces share is left out. An element of a convolution is that of all taps.
        """
        names = [{tensor.name for tensor in piece.graph.parameters} for piece in self.pieces]
        uses = Counter(name for of_piece in names for name in of_piece)
        return tuple(
            tuple(
                stored_matrix(tensor, times, piece.stacked.get(tensor.name))
                for tensor, times in zip(
                    piece.graph.parameters, self.times_stored(piece), strict=True
                )
                if tensor.name in _weights_of(piece.graph, Linear, Convolution)
                and uses[tensor.name] == 1
                and tensor.name not in piece.shared
            )
            for piece in self.pieces
        )

    def cost(self, work: Work, rectangle: Rectangle) -> RegionCost | None:
        """Return the cost of some work on a rectangle, None if there is no room for it.

        Maps lie on the grid of groups that is fastest among those that look best.
        """
        key = work, rectangle
        if key not in self._costs:
            found = (self._cost_on(work, rectangle, grid) for grid in self._tried(work, rectangle))
            fitting = islice((cost for cost in found if cost is not None), MOST_COMPARED)
            self._costs[key] = min(fitting, key=lambda cost: cost.cycles, default=None)
        return self._costs[key]

    def _cost_on(self, work: Work, rectangle: Rectangle, grid: Grid) -> RegionCost | None:
        needed = self.bytes(work, rectangle, grid)
        if needed is None or needed.total > self.architecture.memory_bytes:
            return None
        cycles = self._measure(work, rectangle, grid).cycles_of(work)
        leaving = self._leaving_cycles(work, rectangle) if self.has_maps else 0
        return RegionCost(work, rectangle, cycles, needed, grid, leaving)

    def _leaving_cycles(self, work: Work, rectangle: Rectangle) -> int:
        index = work[-1][0]
        graph = self.graphs[index]
        num_bytes = graph.tensor(graph.outputs[0]).num_bytes
        return stream_cycles(num_bytes, rectangle, self.architecture.timing)

    def _tried(self, work: Work, rectangle: Rectangle) -> Sequence[Grid]:
        """Return the grids that are tried for some work on a rectangle."""
        indices = tuple(index for index, _ in work)
        if indices not in self._grids:
            graph = join([self.graphs[index] for index in indices])
            self._grids[indices] = Grids(graph, has_maps=self.has_maps)
        return self._grids[indices].best(rectangle, partial(self._room, work))

    def _room(self, work: Work, group: Rectangle) -> float:
        """Return the bytes that PEs of a group have for maps at most; negative if for nothing."""
        room = self.architecture.memory_bytes
        least = sum(count * self.weight_bytes[index] for index, count in work)
        if least > group[0] * group[1] * room:
            return -1
        return room - self.least_bytes(work, group)

    def streamed_cost(self, index: int, rectangle: Rectangle) -> RegionCost | None:
        """Return the cost of a piece whose weights come from outside, None if nothing fits."""
        needed = self.bytes(((index, 1),), rectangle)
        room = self.architecture.memory_bytes
        if needed is None or needed.cache + needed.other + 2 * needed.weights_at_once > room:
            return None
        work = ((index, 1),)
        cycles = self._measure(work, rectangle).cycles_of(work)
        return RegionCost(work, rectangle, cycles, needed)

    def least_bytes(self, work: Work, rectangle: Rectangle) -> float:
        """Return what every PE needs at least, before there is a program.

        The rows of a weight are cut along one axis and its columns along the other; so are the
        features and the positions of a cache, which is shared out among pieces of several kinds.
        """
        width, height = rectangle
        least = float(self.architecture.runtime_bytes)
        for index, count in work:
            caches = self._caches[index] if len(work) == 1 else ()
            for rows, columns, num_bytes in (*self._products[index], *caches):
                along = math.ceil(rows / width) * math.ceil(columns / height)
                across = math.ceil(rows / height) * math.ceil(columns / width)
                least += count * num_bytes * min(along, across)
        return least

    def bytes(self, work: Work, rectangle: Rectangle, grid: Grid = WHOLE) -> Bytes | None:
        """Return the bytes of every PE, however many there is room for; None: no such program."""
        try:
            return self._measure(work, rectangle, grid).bytes_of(work)
        except (ConfigurationError, UnsupportedOperationError):
            return None

    def why_not(self, work: Work, rectangle: Rectangle) -> str | None:
        """Return why some work cannot be done on a rectangle, None if it can."""
        reasons: list[str] = []
        totals: list[float] = []
        for grid in self._tried(work, rectangle):
            try:
                totals.append(self._measure(work, rectangle, grid).bytes_of(work).total)
            except ConfigurationError as error:
                reasons.append(str(error))
        if not totals:
            return reasons[0] if reasons else None
        room = self.architecture.memory_bytes
        if min(totals) <= room:
            return None
        width, height = rectangle
        rows = "1 row" if self.load.rows == 1 else f"{self.load.rows:,} rows"
        return (
            f"a launch of {rows} needs {format_bytes(math.ceil(min(totals)))} of "
            f"each PE even on {width}×{height} PEs, which has {format_bytes(room)}"
        )

    def split(self, work: Work, rectangle: Rectangle, grid: Grid = WHOLE) -> Split:
        """Return the cycles of a cost by part and limit; they add up to it."""
        return self._measure(work, rectangle, grid).split(work)

    def _measure(self, work: Work, rectangle: Rectangle, grid: Grid = WHOLE) -> _Measured:
        indices, group = tuple(index for index, _ in work), group_of(rectangle, grid)
        key = indices, group, grid
        if key not in self._measured:
            try:
                self._measured[key] = self._build(indices, group, grid)
            except (ConfigurationError, UnsupportedOperationError) as error:
                self._measured[key] = str(error)
        found = self._measured[key]
        if isinstance(found, str):
            raise ConfigurationError(found)
        return found

    def _build(self, indices: tuple[int, ...], group: Rectangle, grid: Grid) -> _Measured:
        measured = self._measure_pieces(indices, group, grid)
        (first, *others) = indices
        if others or self.segments[first].repeats == 1 or not measured.is_turned:
            return measured
        # What comes out lies along the other axis than what goes in: so every other piece does.
        return self._measure_pieces((first, first), group, grid)

    def _measure_pieces(self, indices: tuple[int, ...], group: Rectangle, grid: Grid) -> _Measured:
        """Build the program of pieces; one that comes again is the next equal piece."""
        key = indices, grid
        if key not in self._joined:
            pieces = [(index, self.pieces[index]) for index in indices]
            if len(set(indices)) < len(indices):
                pieces[-1] = indices[-1], again(pieces[-1][1])
            blocks = cut(join([piece.graph for _, piece in pieces]), grid)
            self._joined[key] = _Joined(pieces, grid, blocks.messages, Cutter(blocks.graph))
        return _Measured(self, self._joined[key], group)


@dataclass(frozen=True, slots=True)
class _Joined:
    """What one program computes."""

    pieces: Sequence[tuple[int, Piece]]
    """In order, with their segments."""
    grid: Grid
    messages: Mapping[str, Message]
    """That groups of the grid tell each other, by results of the program's graph."""
    cutter: Cutter


class _Measured:
    """The mesh program of one piece of each kind, and what it says of more of them."""

    def __init__(self, regions: Regions, joined: _Joined, group: Rectangle) -> None:
        self._regions = regions
        self._joined = joined
        self._group = group
        self._pieces = pieces = joined.pieces
        load = regions.load
        has_cache = any(_cached_features(piece.graph) for _, piece in pieces)
        program = joined.cutter.cut(
            width=group[0],
            height=group[1],
            architecture=regions.architecture,
            context=load.capacity if has_cache else None,
            usual_rows=load.rows,
        )
        self._program: MeshProgram = with_head_products(
            program,
            {name: count for _, piece in pieces for name, count in piece.head_products.items()},
        )
        check_words(self._program)
        self._launch = Launch(load.position, load.rows)
        self._rounds = Counter(index for index, _ in pieces)
        """Pieces of each segment in the program."""

    @property
    def is_turned(self) -> bool:
        """Whether what comes out lies along the other axis than what goes in."""
        given = self._program.with_role(Role.INPUT)[0]
        return given.columns is not self._program.with_role(Role.OUTPUT)[0].columns

    def cycles_of(self, work: Work) -> float:
        """Return the cycles of a launch."""
        cycles = self._cycles
        return cycles[_ONCE] + sum(
            count * cycles[index] / self._rounds[index] + self._repeats(count)
            for index, count in work
        )

    def split(self, work: Work) -> Split:
        """Return the cycles of a launch by part and limit."""
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

    def bytes_of(self, work: Work) -> Bytes:
        """Return the bytes of every PE."""
        counts, caches = Counter(dict(work)), self._cache_bytes
        needed, pieces = self._footprint, dict(self._pieces)
        sequences = self._regions.load.sequences
        kept = (
            counts[index] * size * sequences * pieces[index].kept_share
            for index, size in caches.items()
        )
        passing = (
            counts[index] * size * pieces[index].passing_share for index, size in caches.items()
        )
        blocks = sum(one.block_bytes for one in self._weights)

        def share(one: StoredWeight) -> float:
            """Return the bytes of its block, for as many pieces as there are."""
            return one.block_bytes * counts[one.segment] / self._rounds[one.segment]

        return Bytes(
            weights=sum(share(one) * one.times for one in self._weights),
            cache=math.ceil(sum(kept)),
            other=needed.total - needed.state - blocks + math.ceil(sum(passing)),
            weights_at_once=sum(share(one) * one.times_at_once for one in self._weights),
        )

    def _repeats(self, count: int) -> int:
        """Return the cycles of the steps that go back to the first piece."""
        return count * self._estimator.repeat_cycles() if count > 1 else 0

    @cached_property
    def _estimator(self) -> Estimator:
        return Estimator(self._program, self._regions.architecture)

    @cached_property
    def _estimate(self) -> Estimate:
        return self._estimator.estimate(self._launch)

    @cached_property
    def _footprint(self) -> Footprint:
        return footprint(self._program, self._regions.architecture)

    @property
    def _control_cycles(self) -> int:
        return self._estimate.launch_cycles + self._estimate.control_cycles

    @cached_property
    def _cycles(self) -> Mapping[int, int]:
        """Cycles of all operations by segment."""
        cycles: Counter[int] = Counter({_ONCE: self._control_cycles})
        of_operations = (
            [cost.cycles for cost in self._estimate.operations]
            if self._regions.density == 1.0
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
        """The messages between groups: at which mesh operation, and what they wait for."""
        if not self._joined.messages:
            return ()
        groups = Groups(
            grid=self._joined.grid,
            width=self._group[0],
            height=self._group[1],
            element_bytes=self._regions.element_bytes,
            timing=self._regions.architecture.timing,
            issue_cycles=self._estimator.issue_cycles(),
        )
        return tuple(
            (at, groups.waits(message, self._columns(at))) for at, message in self._messages.items()
        )

    @cached_property
    def _told_instead(self) -> frozenset[int]:
        """Mesh operations that only stand for a message."""
        return frozenset(at for at, told in self._messages.items() if isinstance(told, Exchange))

    @cached_property
    def _messages(self) -> Mapping[int, Message]:
        """By mesh operation, which is the only one of its operation of the graph."""
        messages, operations = self._joined.messages, self._program.graph.operations
        if not messages:
            return {}
        names = [operations[source].result.name for source in self._program.sources]
        return {at: messages[name] for at, name in enumerate(names) if name in messages}

    def _columns(self, at: int) -> int:
        """Return the features on a PE of what a mesh operation writes."""
        sizes = self._program.operations[at].sizes(self._program, self._launch)
        return int(sizes["columns"])

    @cached_property
    def _waits(self) -> tuple[Waits, ...]:
        """What each operation waits for; of products, only what is not zero."""
        architecture, density = self._regions.architecture, self._regions.density
        waits = split_waits(self._program, self._launch, self._estimate, architecture)
        if density == 1.0:
            return waits
        products = self._program.operations
        return tuple(
            replace(wait, memory=-int(-wait.memory * density // 1))
            if operation.kind.name.startswith("MATMUL")
            else wait
            for operation, wait in zip(products, waits, strict=True)
        )

    @cached_property
    def _places(self) -> tuple[tuple[int, str, bool], ...]:
        """The segment, the part, and whether it stands for another one, of each mesh operation."""
        of_pieces = [
            (index, part.value, operation.result.name in piece.estimated)
            for index, piece in self._pieces
            for part, operation in zip(
                self._regions.parts[index], piece.graph.operations, strict=True
            )
        ]
        messages = self._joined.messages
        of_operations: list[tuple[int, str, bool]] = []
        count = 0
        """Operations of the pieces so far."""
        for operation in self._program.graph.operations:
            of_operations.append(of_pieces[count])  # an exchange is of the operation after it
            count += not isinstance(messages.get(operation.result.name), Exchange)
        prepared, places = self._program.num_prepared, self._program.sources
        return tuple(
            (_ONCE if at < prepared else of_operations[source][0], *of_operations[source][1:])
            for at, source in enumerate(places)
        )

    @cached_property
    def _weights(self) -> tuple[StoredWeight, ...]:
        return tuple(stored_weights(self._pieces, self._program, self._regions.times_stored))

    @cached_property
    def _cache_bytes(self) -> Mapping[int, int]:
        """Bytes of keys and values of one sequence, by segment, in one piece of it."""
        features = {index: _cached_features(piece.graph) for index, piece in self._pieces}
        total = sum(features[index] for index, _ in self._pieces)
        size = self._program.arena_bytes(Arena.STATE)
        return {index: size * share // total for index, share in features.items() if share}


def stream_cycles(num_bytes: int, source: Rectangle, timing: Timing) -> int:
    """Return how long activations stream out of a region: each row of its PEs has its share."""
    width, height = source
    shares = -(-width // height)  # columns of PEs that a row of PEs carries
    wavelets = shares * -(-num_bytes // (_WAVELET_BYTES * width))
    return 1 + math.ceil((wavelets - 1) * timing.link_window_cycles / timing.link_window_words)


def _weights_of(graph: Graph, *kinds: type[Linear | Convolution]) -> set[str]:
    return {operation.weight for operation in graph.operations if isinstance(operation, kinds)}


def _cached_features(graph: Graph) -> int:
    """Return the features of keys and values that a graph keeps of each position."""
    return sum(
        graph.tensor(name).shape[-1]
        for operation in _that_keep(graph)
        for name in (operation.key, operation.value)
    )


def _kept_keys(graph: Graph) -> tuple[int, ...]:
    return tuple(graph.tensor(operation.key).shape[-1] for operation in _that_keep(graph))


def _that_keep(graph: Graph) -> Iterator[Attention]:
    for operation in graph.operations:
        if isinstance(operation, Attention) and operation.is_causal:
            yield operation


def _by_limit(waits: Waits) -> Iterator[tuple[Limit, int]]:
    yield Limit.COMPUTE, waits.instructions
    yield Limit.SRAM_BANDWIDTH, waits.memory
    yield Limit.FABRIC_LATENCY, waits.travel
    yield Limit.FABRIC_BANDWIDTH, waits.wavelets

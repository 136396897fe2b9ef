"""The cycles and memory of a rectangle of PEs for some pieces of a model.

In: pieces, a load, a rectangle. Out: cycles and bytes, which `measured` reads from mesh programs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.perf.wafer.feature_map_blocks import WHOLE
from onewafer.perf.wafer.grids import CODE_BYTES, MOST_COMPARED
from onewafer.perf.wafer.measured import that_keep
from onewafer.perf.wafer.programs import Programs
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.arch import Timing
    from onewafer.perf.model import Model
    from onewafer.perf.wafer.feature_map_blocks import Grid
    from onewafer.perf.wafer.measured import Bytes, Rectangle, Split, Work
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.sketch import Sides
    from onewafer.perf.wafer.stand_ins import Piece
    from onewafer.perf.wafer.system import Machine
    from onewafer.perf.wafer.workload import Load

    Size = float | NDArray[np.float64]

_WAVELET_BYTES = 4
_MULTIPLY_ADD = "fmac"
"""Prefix of all DSD operations that multiply and add."""


@dataclass(frozen=True, slots=True)
class RegionCost:
    """The cost of a launch of a region that its work fits."""

    work: Work
    rectangle: Rectangle
    cycles: float
    bytes: Bytes
    grid: Grid = WHOLE
    """Grid of groups of PEs that divide the pixels of feature maps."""
    leaving_cycles: int = 0
    """Cycles of sending feature maps to the next region; not part of `cycles`."""

    @property
    def num_pes(self) -> int:
        """PEs of the rectangle."""
        return self.rectangle[0] * self.rectangle[1]


_OF_OTHER_CODE = 0.8
"""Least code bytes of a program ÷ those of the same work on another rectangle."""


def _pieces_of(work: Work) -> tuple[int, ...]:
    return tuple(index for index, _ in work)


class Regions:
    """Costs of regions of one model for one load."""

    def __init__(
        self,
        model: Model,
        load: Load,
        *,
        machine: Machine,
        options: WaferOptions,
        programs: Programs | None = None,
    ) -> None:
        self.model = model
        self.load = load
        self.segments = model.segments
        self.architecture = machine.architecture
        self.density = options.density
        self._options = options
        self._known = Programs() if programs is None else programs
        own = self._known.of(model, load, architecture=machine.architecture, options=options)
        self._programs = own
        self.pieces, self.graphs = own.pieces, own.graphs
        self.has_feature_maps = own.has_feature_maps
        self.element_bytes = own.element_bytes
        self.weight_bytes, self.bytes_at_once = own.weight_bytes, own.bytes_at_once
        self._costs: dict[tuple[Work, Rectangle], RegionCost | None] = {}
        self._code_bytes: dict[tuple[int, ...], float] = {}
        """Pieces → code bytes of their first program."""

    def with_load(self, load: Load, machine: Machine) -> Regions:
        """Return the costs of the same model for another load."""
        return Regions(
            self.model, load, machine=machine, options=self._options, programs=self._known
        )

    @cached_property
    def _caches(self) -> tuple[tuple[tuple[int, int, float], ...], ...]:
        """Caches of a piece for all sequences: positions, features, bytes per element.

        Each attention caches keys and as many values.
        """
        return tuple(
            tuple(
                (self.load.capacity, keys, 2.0 * self.element_bytes * self._times_kept(piece))
                for keys in (piece.graph.tensor(op.key).shape[-1] for op in that_keep(piece.graph))
            )
            for piece in self.pieces
        )

    def _times_kept(self, piece: Piece) -> float:
        """Return how many sequences' keys and values a piece holds at a time."""
        return self.load.sequences * piece.kept_share + piece.passing_share

    def cost(self, work: Work, rectangle: Rectangle) -> RegionCost | None:
        """Return the cost of some work on a rectangle, None if it does not fit.

        Feature maps lie on the fastest of the most promising grids.
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
        cycles = self.cycles(work, rectangle, grid)
        leaving = self._leaving_cycles(work, rectangle) if self.has_feature_maps else 0
        return RegionCost(work, rectangle, cycles, needed, grid, leaving)

    def _leaving_cycles(self, work: Work, rectangle: Rectangle) -> int:
        index = work[-1][0]
        graph = self.graphs[index]
        num_bytes = graph.tensor(graph.outputs[0]).num_bytes
        return stream_cycles(num_bytes, rectangle, self.architecture.timing)

    def _tried(self, work: Work, rectangle: Rectangle) -> Sequence[Grid]:
        """Return the grids to try for some work on a rectangle."""
        return self._programs.grids(work).best(rectangle, partial(self._room, work))

    def _room(self, work: Work, group: Rectangle) -> float:
        """Return an upper bound of the bytes per PE left for feature maps; negative: none."""
        room = self.architecture.memory_bytes
        least = sum(count * self.weight_bytes[index] for index, count in work)
        if least > group[0] * group[1] * room:
            return -1
        code = self._least_code_bytes(work)
        return room - self.least_bytes(work, group) - max(0.0, code - CODE_BYTES)

    def streamed_cost(self, index: int, rectangle: Rectangle) -> RegionCost | None:
        """Return the cost of a piece under weight streaming, None if it does not fit."""
        needed = self.bytes(((index, 1),), rectangle)
        room = self.architecture.memory_bytes
        if needed is None or needed.cache + needed.other + 2 * needed.weights_at_once > room:
            return None
        work = ((index, 1),)
        cycles = self.cycles(work, rectangle)
        return RegionCost(work, rectangle, cycles, needed)

    def least_cycles(self, index: int, rectangle: Rectangle) -> float:
        """Return a lower bound of a piece's cycles, before a program is built.

        No PE does more multiply-adds in a cycle than the fastest operations, however products are
        cut.
        """
        rates = self.architecture.timing.elements_per_cycle
        fastest = max(rate for name, rate in rates.items() if name.startswith(_MULTIPLY_ADD))
        return self._programs.multiply_adds[index] / (math.prod(rectangle) * float(fastest))

    def least_bytes(self, work: Work, rectangle: Rectangle) -> float:
        """Return a lower bound of the bytes per PE, before a program is built."""
        return float(self._least_bytes(work, *rectangle))

    def may_fit(self, work: Work, sides: Sides) -> NDArray[np.bool_]:
        """Tell for each rectangle whether the work may fit, before a program is built."""
        least = self._least_bytes(work, *np.asarray(sides, float).T)
        return np.broadcast_to(least <= self.architecture.memory_bytes, len(sides))

    def _least_bytes(self, work: Work, width: Size, height: Size) -> Size:
        """Return a lower bound of the bytes per PE.

        The rows of a weight are cut along one axis and its columns along the other; so are features
        and positions of a cache, which counts only where the work has one kind of piece.
        """
        least: Size = self.architecture.runtime_bytes
        for index, count in work:
            caches = self._caches[index] if len(work) == 1 else ()
            for rows, columns, num_bytes in (*self._programs.products[index], *caches):
                along = -(-rows // width) * -(-columns // height)
                across = -(-rows // height) * -(-columns // width)
                least = least + count * num_bytes * np.minimum(along, across)
        return least

    def bytes(self, work: Work, rectangle: Rectangle, grid: Grid = WHOLE) -> Bytes | None:
        """Return the bytes per PE, even if they do not fit; None: no program can be built."""
        try:
            return self._bytes(work, rectangle, grid)
        except (ConfigurationError, UnsupportedOperationError):
            return None

    def _bytes(self, work: Work, rectangle: Rectangle, grid: Grid) -> Bytes:
        measured = self._programs.measure(work, rectangle, grid)
        self._code_bytes.setdefault(_pieces_of(work), measured.code_bytes)
        return measured.bytes_of(work, sequences=self.load.sequences)

    def _least_code_bytes(self, work: Work) -> float:
        """Return a lower bound of the bytes of code and schedule, estimated from other programs.

        They are nearly the same for all rectangles and grids. Only programs of these regions count,
        so that earlier jobs do not change the search.
        """
        return _OF_OTHER_CODE * self._code_bytes.get(_pieces_of(work), 0.0)

    def why_not(self, work: Work, rectangle: Rectangle) -> str | None:
        """Return why some work does not fit a rectangle, None if it does."""
        reasons: list[str] = []
        totals: list[float] = []
        for grid in self._tried(work, rectangle):
            try:
                totals.append(self._bytes(work, rectangle, grid).total)
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

    def cycles(self, work: Work, rectangle: Rectangle, grid: Grid = WHOLE) -> float:
        """Return the cycles of a launch, even if it does not fit."""
        return self._programs.measure(work, rectangle, grid).cycles_of(work)

    def split(self, work: Work, rectangle: Rectangle, grid: Grid = WHOLE) -> Split:
        """Return the cycles of a launch by part of a layer and limiting resource."""
        return self._programs.measure(work, rectangle, grid).split(work)


def stream_cycles(num_bytes: int, source: Rectangle, timing: Timing) -> int:
    """Return the cycles to stream activations out of a region, shared by its rows of PEs."""
    width, height = source
    shares = -(-width // height)  # columns of PEs that a row of PEs carries
    wavelets = shares * -(-num_bytes // (_WAVELET_BYTES * width))
    return 1 + math.ceil((wavelets - 1) * timing.link_window_cycles / timing.link_window_words)

"""The mesh programs of a model, each built once for all regions, searches and jobs.

A program does not depend on the number of sequences, the number of wafers, the number and memory of
PEs, or the link to the outside: what fits is decided by the bytes of a program.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.graph import Convolution, Linear
from onewafer.mesh import Cutter
from onewafer.perf.wafer.feature_map_blocks import WHOLE, cut
from onewafer.perf.wafer.grids import Grids, group_of
from onewafer.perf.wafer.measured import Given, Joined, Measured
from onewafer.perf.wafer.stored_weights import stored_matrix
from onewafer.perf.wafer.workload import again, join, parts_of, pieces_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from onewafer.arch import Architecture
    from onewafer.graph import Graph, LayerPart, Tensor
    from onewafer.perf.model import Model
    from onewafer.perf.wafer.feature_map_blocks import Grid
    from onewafer.perf.wafer.measured import Rectangle, Work
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.stand_ins import Piece
    from onewafer.perf.wafer.workload import Load

_Kept = TypeVar("_Kept")


class Programs:
    """A cache of programs by model, load, architecture, number format and density."""

    def __init__(self) -> None:
        self._known: dict[Load, list[LoadPrograms]] = {}

    def of(
        self, model: Model, load: Load, *, architecture: Architecture, options: WaferOptions
    ) -> LoadPrograms:
        """Return the programs for launches of a load, for any number of sequences."""
        load = replace(load, sequences=1)
        known = self._known.setdefault(load, [])
        for one in known:
            if one.is_of(model, architecture, options):
                return one
        known.append(LoadPrograms(model, load, architecture=architecture, options=options))
        return known[-1]


class LoadPrograms:
    """Programs of one model for launches of one load."""

    def __init__(
        self, model: Model, load: Load, *, architecture: Architecture, options: WaferOptions
    ) -> None:
        self._model = model
        self._load = load
        self._architecture = _without_limits(architecture)
        self._options = options
        self.pieces = pieces_of(model, load, options.precision)
        self._segments = model.segments
        self._measured: dict[tuple[tuple[int, ...], Rectangle, Grid], Measured | str] = {}
        self._joined: dict[tuple[tuple[int, ...], Grid], Joined] = {}
        self._grids: dict[tuple[int, ...], Grids] = {}
        self._kept: dict[tuple[type, Hashable], object] = {}

    def is_of(self, model: Model, architecture: Architecture, options: WaferOptions) -> bool:
        """Tell whether these are the programs of a model on an architecture with some options."""
        return (
            self._model is model
            and self._architecture == _without_limits(architecture)
            and self._options.precision is options.precision
            and self._options.density == options.density
        )

    def keep(self, kind: type[_Kept], key: Hashable, make: Callable[[], _Kept]) -> _Kept:
        """Return a value derived from these programs, cached by key."""
        found = self._kept.get((kind, key))
        if not isinstance(found, kind):
            found = self._kept[kind, key] = make()
        return found

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graph of a piece of each segment."""
        return tuple(piece.graph for piece in self.pieces)

    @cached_property
    def has_feature_maps(self) -> bool:
        """True if the model works on feature maps."""
        return any(graph.has_feature_maps for graph in self.graphs)

    @property
    def element_bytes(self) -> int:
        """Bytes of an element of a weight, an activation, or a key."""
        return self.graphs[0].dtype.num_bytes

    @cached_property
    def parts(self) -> tuple[tuple[LayerPart, ...], ...]:
        """The part of each operation of each segment."""
        return parts_of(self.graphs)

    @cached_property
    def weight_bytes(self) -> tuple[float, ...]:
        """Bytes of the learned parameters of a piece, by segment, without padding."""
        return tuple(
            sum(tensor.num_bytes * times for tensor, times in self.stored(piece))
            for piece in self.pieces
        )

    @cached_property
    def bytes_at_once(self) -> tuple[float, ...]:
        """The part of `weight_bytes` that must be present at a time under weight streaming."""
        return tuple(
            sum(
                tensor.num_bytes * (min(times, 1.0) if tensor.name in piece.stacked else times)
                for tensor, times in self.stored(piece)
            )
            for piece in self.pieces
        )

    def stored(self, piece: Piece) -> Iterator[tuple[Tensor, float]]:
        """Yield each learned parameter of a piece with stored bytes ÷ bytes.

        Sparse weights are stored without their zeros; all experts are stored.
        """
        products = _weights_of(piece.graph, Linear)
        for tensor in piece.graph.parameters:
            if tensor.name not in piece.constants:
                density = self._options.density if tensor.name in products else 1.0
                yield tensor, piece.stored.get(tensor.name, 1.0) * density

    @cached_property
    def products(self) -> tuple[tuple[tuple[float, float, float], ...], ...]:
        """Rows, columns and stored bytes per element of each piece's own weights.

        Weights that pieces share are left out. An element of a convolution has all taps.
        """
        names = [{tensor.name for tensor in piece.graph.parameters} for piece in self.pieces]
        uses = Counter(name for of_piece in names for name in of_piece)
        return tuple(
            tuple(
                stored_matrix(tensor, times, piece.stacked.get(tensor.name))
                for tensor, times in self.stored(piece)
                if tensor.name in _weights_of(piece.graph, Linear, Convolution)
                and uses[tensor.name] == 1
                and tensor.name not in piece.shared
            )
            for piece in self.pieces
        )

    @cached_property
    def multiply_adds(self) -> tuple[float, ...]:
        """Multiply-adds of a launch with nonzero weights, by piece."""
        return tuple(
            sum(
                piece.graph.tensor(product.weight).num_elements
                * product.result.shape[0]
                / piece.head_products.get(product.weight, 1)
                for product in piece.graph.operations
                if isinstance(product, Linear)
            )
            * self._options.density
            for piece in self.pieces
        )

    def grids(self, work: Work) -> Grids:
        """Return the possible grids of groups for the feature maps of some work."""
        indices = tuple(index for index, _ in work)
        if indices not in self._grids:
            graph = join([self.graphs[index] for index in indices])
            self._grids[indices] = Grids(graph, has_feature_maps=self.has_feature_maps)
        return self._grids[indices]

    def measure(self, work: Work, rectangle: Rectangle, grid: Grid = WHOLE) -> Measured:
        """Return the measured program of some work on a rectangle.

        Raises ConfigurationError if no program can be built.
        """
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

    def _build(self, indices: tuple[int, ...], group: Rectangle, grid: Grid) -> Measured:
        measured = self._measure_pieces(indices, group, grid)
        (first, *others) = indices
        if others or self._segments[first].repeats == 1 or not measured.is_transposed:
            return measured
        # Output features lie along the other axis than input features, so pieces alternate.
        return self._measure_pieces((first, first), group, grid)

    def _measure_pieces(self, indices: tuple[int, ...], group: Rectangle, grid: Grid) -> Measured:
        """Build the program of pieces; a repeated index is the next equal piece."""
        key = indices, grid
        if key not in self._joined:
            pieces = [(index, self.pieces[index]) for index in indices]
            if len(set(indices)) < len(indices):
                pieces[-1] = indices[-1], again(pieces[-1][1])
            blocks = cut(join([piece.graph for _, piece in pieces]), grid)
            self._joined[key] = Joined(pieces, grid, blocks.messages, Cutter(blocks.graph))
        return Measured(self._load, self._given, self._joined[key], group)

    @cached_property
    def _given(self) -> Given:
        return Given(
            self._architecture,
            self._options.density,
            self.element_bytes,
            self.parts,
            self.stored,
        )


_WIDEST = 1 << 15
"""PEs along an axis: more than any search tries."""


def _without_limits(architecture: Architecture) -> Architecture:
    """Return the machine with neutral values for all that programs do not depend on."""
    return replace(
        architecture,
        name=architecture.generation,
        title="",
        fabric_width=_WIDEST,
        fabric_height=_WIDEST,
        memory_bytes=0,
        io_bytes_per_second=0.0,
        clock_hertz=0.0,
    )


def _weights_of(graph: Graph, *kinds: type[Linear | Convolution]) -> set[str]:
    return {operation.weight for operation in graph.operations if isinstance(operation, kinds)}

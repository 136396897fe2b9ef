"""Segments of a graph: runs of equal pieces, so that a hundred layers are a few small graphs.

In: a well-formed graph. Out: segments whose pieces, one after the other, are its operations. A
graph is cut where later operations read exactly one tensor (the residual stream, between its
additions); a run of consecutive cuts that repeats, up to names, becomes one segment. So a layer is
usually two cuts, attention and MLP, and models that alternate kinds of layers have longer runs.
What does not repeat stays together: the embedding before the layers, the head after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator, Sequence

    from onewafer.graph.operations import Operation
    from onewafer.graph.tensor import Tensor

    _Piece = tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive equal pieces of a model, as the graph of one of them.

    Only one tensor passes between pieces (the residual stream); it is the input and the output of
    the graph. Token ids enter the first piece, logits leave the last one. The graph has the names
    of the first piece.
    """

    graph: Graph
    repeats: int
    shared: frozenset[str] = frozenset()
    """Parameters that all pieces share; each piece has its own other parameters."""
    constants: frozenset[str] = frozenset()
    """Parameters that are not learned: tables of rotations, masks, ones in place of weights."""

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The learned parameters of one piece."""
        return tuple(t for t in self.graph.parameters if t.name not in self.constants)


def fold(graph: Graph, *, constants: Collection[str] = ()) -> tuple[Segment, ...]:
    """Return a well-formed graph as segments; `constants` are parameters that are not learned.

    Of the runs that begin with one operation, the one with the most operations is taken; among
    equals, the one with the shortest piece.
    """
    atoms = _cut(graph)
    kinds = _number([_signature(graph, atom) for atom in atoms])
    segments: list[Segment] = []
    alone: list[Operation] = []
    """Operations before the next run."""
    cutter = _Cutter(graph, frozenset(constants))
    index = 0
    while index < len(atoms):
        period, repeats = _longest_run(atoms, kinds, index)
        if repeats == 1:
            alone += atoms[index]
            index += 1
            continue
        segments += [cutter.segment([(*alone,)])] if alone else []
        alone = []
        pieces = [_join(atoms[index + i * period :][:period]) for i in range(repeats)]
        segments.append(cutter.segment(pieces))
        index += period * repeats
    return (*segments, *([cutter.segment([(*alone,)])] if alone else []))


def split(segment: Segment, begins: Callable[[Operation], bool]) -> tuple[Segment, ...]:
    """Return the parts of a segment of one piece, cut before operations for which `begins` is true.

    Only one tensor passes between parts, so such an operation may stay with those before it.
    """
    pieces: list[list[Operation]] = [[]]
    has_begun = False
    for atom in _cut(segment.graph):
        if any(map(begins, atom)):
            if has_begun:
                pieces.append([])
            has_begun = True
        pieces[-1] += atom
    cutter = _Cutter(segment.graph, segment.constants)
    return tuple(cutter.segment([tuple(piece)]) for piece in pieces)


def _cut(graph: Graph) -> list[_Piece]:
    """Return the operations between cuts."""
    last = {name: len(graph.operations) for name in graph.outputs}
    for index, operation in reversed([*enumerate(graph.operations)]):
        for name in operation.activation_operands:
            last.setdefault(name, index)
    live = {tensor.name for tensor in graph.inputs if tensor.name in last}
    atoms: list[_Piece] = []
    start = 0
    for index, operation in enumerate(graph.operations):
        live -= {name for name in operation.activation_operands if last[name] == index}
        live |= {operation.result.name} & {*last}
        if len(live) == 1:
            atoms.append(graph.operations[start : index + 1])
            start = index + 1
    return [*atoms, *([graph.operations[start:]] if start < len(graph.operations) else [])]


def _signature(graph: Graph, piece: _Piece) -> Hashable:
    """Return a key that is equal for pieces that are equal up to names."""
    numbers: dict[str, str] = {}
    for operation in piece:
        for name in (*_names(operation), operation.result.name):
            numbers.setdefault(name, str(len(numbers)))
    shapes = tuple(graph.tensor(name).shape for name in numbers)
    return shapes, tuple(operation.renamed(numbers).unnumbered() for operation in piece)


def _names(operation: Operation) -> tuple[str, ...]:
    return (*operation.activation_operands, *operation.parameter_operands)


def _number(signatures: Sequence[Hashable]) -> list[int]:
    """Return small numbers that are equal for equal signatures."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(signature, len(numbers)) for signature in signatures]


def _longest_run(atoms: Sequence[_Piece], kinds: Sequence[int], start: int) -> tuple[int, int]:
    """Return period (in atoms) and repetitions of the longest run that begins at `start`."""
    best, covered = (1, 1), 0
    for period in range(1, (len(kinds) - start) // 2 + 1):
        repeats = 1
        piece = kinds[start : start + period]
        while kinds[start + repeats * period :][:period] == piece:
            repeats += 1
        while repeats > 1 and not _is_regular(atoms, start, period, repeats):
            repeats -= 1
        count = sum(len(atom) for atom in atoms[start : start + period * repeats])
        if repeats > 1 and count > covered:
            best, covered = (period, repeats), count
    return best


def _is_regular(atoms: Sequence[_Piece], start: int, period: int, repeats: int) -> bool:
    """Tell whether each parameter is either shared by all pieces or different in each."""
    pieces = [_parameters(_join(atoms[start + i * period :][:period])) for i in range(repeats)]
    return all(len({*names}) in (1, repeats) for names in zip(*pieces, strict=True))


def _join(atoms: Sequence[_Piece]) -> _Piece:
    return tuple(operation for atom in atoms for operation in atom)


def _parameters(piece: _Piece) -> list[str]:
    return [*dict.fromkeys(name for op in piece for name in op.parameter_operands)]


class _Cutter:
    """Makes graphs of pieces of a graph."""

    def __init__(self, graph: Graph, constants: frozenset[str]) -> None:
        self._graph = graph
        self._constants = constants
        self._tensors = graph.by_name
        self._read: dict[str, int] = {name: len(graph.operations) for name in graph.outputs}
        """Name → the index of the last operation that reads it."""
        self._index: dict[str, int] = {}
        for index, operation in enumerate(graph.operations):
            self._index[operation.result.name] = index
            for name in operation.activation_operands:
                self._read[name] = max(index, self._read.get(name, 0))

    def segment(self, pieces: Sequence[_Piece]) -> Segment:
        """Return equal pieces as one segment."""
        parameters = [_parameters(piece) for piece in pieces]
        shared = {
            names[0] for names in zip(*parameters, strict=True) if len({*names}) < len(pieces)
        }
        constants = self._constants.intersection(parameters[0])
        return Segment(self._part(pieces[0]), len(pieces), frozenset(shared), frozenset(constants))

    def _part(self, piece: _Piece) -> Graph:
        results = {operation.result.name for operation in piece}
        end = self._index[piece[-1].result.name]
        return Graph(
            self._graph.name,
            tuple(self._tensors[name] for name in self._sources(piece) if name not in results),
            tuple(self._tensors[name] for name in _parameters(piece)),
            piece,
            tuple(op.result.name for op in piece if self._read.get(op.result.name, -1) > end),
        )

    @staticmethod
    def _sources(piece: _Piece) -> Iterator[str]:
        yield from dict.fromkeys(name for op in piece for name in op.activation_operands)

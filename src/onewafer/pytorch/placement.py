"""Choose the bucket and the rectangle for a graph.

In: a graph with the rows of a call. Out: a mesh program that fits, for a bucket of samples: rows,
or maps where rows are their places. A bucket is a power of two, so that few programs serve many
batch sizes; more than the largest bucket take several launches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.graph import num_samples, with_samples
from onewafer.mesh import estimate, largest_rectangle, shard, smallest_rectangle, verify
from onewafer.pytorch.options import Fidelity
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.arch import Architecture
    from onewafer.graph import Graph
    from onewafer.mesh import MeshProgram
    from onewafer.pytorch.options import WaferOptions

_USUAL_SIDES = (1, 2, 4, 8)
"""Sides of the rectangles that are tried first: small enough to simulate quickly."""
_LARGEST_SIMULATED_SIDE = 128
"""Of the squares that are simulated unasked: minutes a launch."""


def choose_bucket(rows: int, max_batch: int) -> int:
    """Return the smallest power of two that holds `rows`, at most `max_batch`.

    >>> choose_bucket(40, 64), choose_bucket(100, 64), choose_bucket(1, 64), choose_bucket(9, 12)
    (64, 64, 1, 8)
    """
    largest = 1 << (max_batch.bit_length() - 1)
    return min(1 << (rows - 1).bit_length(), largest)


def choose_samples(graph: Graph, max_rows: int) -> int:
    """Return the bucket for a graph's samples: at most so many that no tensor has more rows."""
    samples = num_samples(graph)
    tensors = (*graph.inputs, *(operation.result for operation in graph.operations))
    rows = max(tensor.shape[0] for tensor in tensors) // samples
    return choose_bucket(samples, max(1, max_rows // max(1, rows)))


def place(graph: Graph, architecture: Architecture, options: WaferOptions) -> MeshProgram:
    """Return the mesh program of the largest bucket that fits, in the fastest rectangle.

    Raises ConfigurationError if not even one sample fits, or only on more PEs than anybody wants to
    simulate without having asked for it.
    """
    bucket = choose_samples(graph, options.max_batch)
    while bucket > 1:
        try:
            return _place_bucket(with_samples(graph, bucket), architecture, options)
        except ConfigurationError:
            bucket //= 2
    return _place_bucket(with_samples(graph, 1), architecture, options)


def place_sequence(
    graph: Graph, architecture: Architecture, options: WaferOptions, *, context: int | None = None
) -> MeshProgram:
    """Return the mesh program of a graph whose rows are one sequence, in the fastest rectangle.

    `context` is how many positions its keys and values have room for. Raises ConfigurationError as
    `place` does.
    """
    return _place_bucket(graph, architecture, options, context)


def _place_bucket(
    graph: Graph, architecture: Architecture, options: WaferOptions, context: int | None = None
) -> MeshProgram:
    if options.rectangle is not None:
        return _build(graph, options.rectangle, architecture, context)
    for rectangles in _candidates(architecture):
        side = rectangles[-1][0]
        if side > _LARGEST_SIMULATED_SIDE and options.fidelity is Fidelity.FABRIC:
            break
        programs = [
            program
            for rectangle in rectangles
            if (program := _build_if_it_fits(graph, rectangle, architecture, context)) is not None
        ]
        if programs:
            return min(
                programs, key=lambda p: (estimate(p, architecture).cycles, p.width * p.height)
            )
    program = _build(graph, largest_rectangle(architecture), architecture, context)
    width, height = smallest_rectangle(program, architecture) or (program.width, program.height)
    raise ConfigurationError(
        f"{graph.name!r} needs at least {width}×{height} PEs: to simulate every wavelet of so many "
        f"takes hours and {format_bytes(width * height * architecture.memory_bytes)} of memory; "
        f"choose fidelity 'model', or the rectangle {width}×{height} to do it nevertheless"
    )


def _build(
    graph: Graph, rectangle: tuple[int, int], architecture: Architecture, context: int | None
) -> MeshProgram:
    width, height = rectangle
    program = shard(graph, width=width, height=height, architecture=architecture, context=context)
    try:
        verify(program, architecture)
    except UnsupportedOperationError as error:
        # Too large for the wafer is a choice of the user to change, no reason for the host.
        raise ConfigurationError(str(error)) from error
    return program


def _build_if_it_fits(
    graph: Graph, rectangle: tuple[int, int], architecture: Architecture, context: int | None
) -> MeshProgram | None:
    try:
        return _build(graph, rectangle, architecture, context)
    except ConfigurationError:
        return None


def _candidates(architecture: Architecture) -> Iterator[list[tuple[int, int]]]:
    """Yield groups of rectangles, the usual ones first, then ever larger squares."""
    shorter_side = min(largest_rectangle(architecture))
    sides = [side for side in _USUAL_SIDES if side <= shorter_side]
    yield [(width, height) for height in sides for width in sides]
    side = 2 * _USUAL_SIDES[-1]
    while side <= shorter_side:
        yield [(side, side)]
        side *= 2

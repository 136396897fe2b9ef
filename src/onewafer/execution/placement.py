"""Choose the bucket and the rectangle for a graph.

In: a graph with the rows of a call. Out: a mesh program that fits, for a bucket of samples, and the
rectangles that were considered. A sample is a row, or the map whose places are rows. A bucket is a
power of two, so that few programs serve many batch sizes; more than the largest bucket take several
launches.

The rectangle decides how everything lies: the first tensor lies along x, and what the operations
ask of the others follows from that (`mesh.orientation`). To exchange the axes, exchange the sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn, Protocol

from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.execution.options import Fidelity
from onewafer.graph import DataType, num_samples, recompute, with_samples
from onewafer.mesh import (
    CLIPPING,
    Estimator,
    check_words,
    footprint,
    largest_rectangle,
    shard,
    shard_training,
    smallest_rectangle,
    verify,
)
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onewafer.arch import Architecture
    from onewafer.execution.options import WaferOptions
    from onewafer.graph import Gradients, Graph
    from onewafer.mesh import MeshProgram, Update

_USUAL_SIDES = (1, 2, 4, 8)
"""Sides of the rectangles that are tried first: small enough to simulate quickly."""
_LARGEST_SIMULATED_SIDE = 128
"""Side of the largest square that is simulated by default: a launch takes minutes."""


def choose_bucket(rows: int, max_batch: int) -> int:
    """Return the smallest power of two that holds `rows`, at most `max_batch`.

    >>> choose_bucket(40, 64), choose_bucket(100, 64), choose_bucket(1, 64), choose_bucket(9, 12)
    (64, 64, 1, 8)
    """
    largest = 1 << (max_batch.bit_length() - 1)
    return min(1 << (rows - 1).bit_length(), largest)


def choose_samples(graph: Graph, max_rows: int) -> int:
    """Return the bucket for a graph's samples: at most so many that no tensor has more rows.

    Where all samples count in a result, the bucket has exactly these.
    """
    samples = num_samples(graph)
    if graph.joins_rows:
        return samples
    tensors = (*graph.inputs, *(operation.result for operation in graph.operations))
    rows = max(tensor.shape[0] for tensor in tensors) // samples
    return choose_bucket(samples, max(1, max_rows // max(1, rows)))


def check_room(num_bytes: int, architecture: Architecture) -> None:
    """Raise TooLargeError if parameters of so many bytes do not fit on the wafer; cheap."""
    width, height = largest_rectangle(architecture)
    room = width * height * architecture.memory_bytes
    if num_bytes > room:
        raise TooLargeError(
            f"its parameters need {format_bytes(num_bytes)}, and all {width}×{height} PEs of "
            f"{architecture.title} have {format_bytes(room)}",
            remedy="use f16 or a smaller model",
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rectangle that was considered."""

    width: int
    height: int
    num_bytes: int | None
    """Bytes of SRAM that each PE would need; None: the graph cannot be cut over it."""
    cycles: int | None
    """Cycles of a launch of all rows, in closed form, of each entry if there are several; None:
    refused."""
    refusal: str | None
    """Why it will not do; None: it will."""
    sample_groups: int = 1
    """Groups of rows of PEs, each with its part of the samples."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A mesh program that fits, and how its rectangle was chosen."""

    program: MeshProgram
    candidates: tuple[Candidate, ...]
    """In the order in which they were considered, the chosen one among them."""
    is_pinned: bool
    """Whether the user chose."""
    refused_rows: tuple[int, ...] = ()
    """Larger buckets that did not fit."""


def place(graph: Graph, architecture: Architecture, options: WaferOptions) -> Placed:
    """Return the mesh program of the largest bucket that fits, in the fastest rectangle.

    Raises TooLargeError if not even one sample fits, or only on so many PEs that they are simulated
    only where the user names the rectangle; ConfigurationError for a rectangle that is larger than
    the wafer.
    """
    bucket = choose_samples(graph, options.max_batch)
    refused: list[int] = []
    while bucket > 1:
        candidate = with_samples(graph, bucket)
        try:
            placed = _place_bucket(candidate, architecture, options)
            return replace(placed, refused_rows=tuple(refused))
        except TooLargeError:
            refused.append(candidate.inputs[0].shape[0])
            bucket //= 2
    placed = _place_bucket(with_samples(graph, 1), architecture, options)
    return replace(placed, refused_rows=tuple(refused))


def place_sequence(
    graph: Graph,
    architecture: Architecture,
    options: WaferOptions,
    *,
    context: int | None = None,
    sequences: int = 1,
) -> Placed:
    """Return the mesh program of a graph whose rows are tokens, in the fastest rectangle.

    They are those of one sequence, or of some of several `sequences`. `context` is how many
    positions the keys and values of each have room for. Raises what `place` does.
    """
    return _place_bucket(graph, architecture, options, context=context, sequences=sequences)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a program is trained for, besides the gradients of its graph."""

    num_model: int
    """Operations of the graph that are the model; those after it, up to the gradients, its loss."""
    updates: tuple[Update, ...] = ()
    """The steps of optimizers."""
    context: int | None = None
    """Tokens of a sequence, of which a launch has some; None: it has all."""


def place_training(
    gradients: Gradients, trained: Trained, architecture: Architecture, options: WaferOptions
) -> Placed:
    """Return the program that trains with all rows of a graph at once, in the fastest rectangle.

    Where no program fits that keeps all that the backward pass reads, layers of a sequence are
    computed again for it. The samples of a model that joins them, as a norm over a batch does, are
    on several groups of PEs then. Raises what `place` does, and UnsupportedOperationError for an
    operation that cannot be trained.
    """

    def cut(
        gradients: Gradients, num_model: int, rectangle: tuple[int, int], sample_groups: int = 1
    ) -> MeshProgram:
        width, height = rectangle
        return shard_training(
            gradients,
            width=width,
            height=height,
            architecture=architecture,
            num_model=num_model,
            updates=trained.updates,
            context=trained.context,
            sample_groups=sample_groups,
        )

    cuts = [partial(cut, gradients, trained.num_model)]
    if gradients.graph.is_sequence:
        again = (recompute(gradients, trained.num_model, cuts=number) for number in (1, 2))
        cuts += [partial(cut, *found) for found in again if found[0].originals]
    for one in cuts[:-1]:
        placed = _find(one, architecture, options)
        if placed is not None:
            return placed
    placed = _find(cuts[-1], architecture, options)
    operations = gradients.graph.operations[: trained.num_model]
    if placed is None and any(operation.joins_rows for operation in operations):
        in_groups = partial(cut, gradients, trained.num_model)
        placed = _find_groups(in_groups, num_samples(gradients.graph), architecture, options)
    return placed or _refuse(cuts[-1], gradients.graph.name, architecture, options)


_Cut = Callable[[tuple[int, int]], "MeshProgram"]
"""A rectangle → a program on it."""


class _CutInGroups(Protocol):
    """A rectangle of several groups of samples → a program on it."""

    def __call__(self, rectangle: tuple[int, int], sample_groups: int) -> MeshProgram:
        """Return the program."""
        ...


def _place_bucket(
    graph: Graph,
    architecture: Architecture,
    options: WaferOptions,
    *,
    context: int | None = None,
    sequences: int = 1,
) -> Placed:
    def cut(rectangle: tuple[int, int]) -> MeshProgram:
        width, height = rectangle
        return shard(
            graph,
            width=width,
            height=height,
            architecture=architecture,
            context=context,
            sequences=sequences,
        )

    return _choose(cut, graph.name, architecture, options)


def _choose(cut: _Cut, name: str, architecture: Architecture, options: WaferOptions) -> Placed:
    """Return the program on the rectangle that the user chose, or else on the fastest one."""
    return _find(cut, architecture, options) or _refuse(cut, name, architecture, options)


def _refuse(cut: _Cut, name: str, architecture: Architecture, options: WaferOptions) -> NoReturn:
    """Raise the error of a program that fits nowhere, or only where it is not simulated."""
    program = _build(cut, options.rectangle or largest_rectangle(architecture), architecture)
    width, height = smallest_rectangle(program, architecture) or (program.width, program.height)
    smaller = "dtype 'f16', " if program.dtype is DataType.F32 else ""
    raise TooLargeError(
        f"{name} needs at least {width}×{height} PEs: to simulate every wavelet of so many "
        f"takes hours and {format_bytes(width * height * architecture.memory_bytes)} of memory",
        remedy=f"choose fidelity 'auto' or 'model', {smaller}or the rectangle {width}×{height} "
        "to do it nevertheless",
    )


def _find(cut: _Cut, architecture: Architecture, options: WaferOptions) -> Placed | None:
    """Return the program where it fits; None: nowhere, or only where it is not simulated."""
    if options.rectangle is not None:
        candidate, program = _consider(cut, options.rectangle, architecture)
        return None if program is None else Placed(program, (candidate,), is_pinned=True)
    considered: list[Candidate] = []
    for rectangles in _candidates(architecture):
        side = rectangles[-1][0]
        if side > _LARGEST_SIMULATED_SIDE and options.fidelity is Fidelity.FABRIC:
            return None
        best: tuple[tuple[int, int], MeshProgram] | None = None
        for rectangle in rectangles:
            candidate, program = _consider(cut, rectangle, architecture)
            considered.append(candidate)
            if program is not None and candidate.cycles is not None:
                rank = candidate.cycles, program.width * program.height
                best = (rank, program) if best is None or rank < best[0] else best
        if best is not None:
            return Placed(best[1], tuple(considered), is_pinned=False)
    return _find_beyond(cut, architecture, considered)


def _find_beyond(
    cut: _Cut, architecture: Architecture, considered: list[Candidate]
) -> Placed | None:
    """Return the program on the smallest rectangle that fits, beyond those that were considered."""
    candidate, program = _consider(cut, largest_rectangle(architecture), architecture)
    if program is not None:
        smallest = smallest_rectangle(program, architecture)
        candidate, program = _consider(
            cut, smallest or (program.width, program.height), architecture
        )
    return None if program is None else Placed(program, (*considered, candidate), is_pinned=False)


def _find_groups(
    cut: _CutInGroups, samples: int, architecture: Architecture, options: WaferOptions
) -> Placed | None:
    """Return the program on as few groups of samples as it fits on; None: it does on none.

    On the rectangle that the user chose, on as many groups as are fastest.
    """
    counts = [1 << power for power in range(1, samples.bit_length())]
    counts = [count for count in counts if samples % count == 0]
    considered: list[Candidate] = []

    def fastest(choices: Iterable[tuple[tuple[int, int], int]]) -> Placed | None:
        """Return the fastest of some rectangles; if the first one has no room, none has."""
        best: tuple[tuple[int, int], MeshProgram] | None = None
        for rectangle, count in choices:
            in_groups = partial(cut, sample_groups=count)
            candidate, program = _consider(in_groups, rectangle, architecture)
            considered.append(replace(candidate, sample_groups=count))
            if program is not None and candidate.cycles is not None:
                rank = candidate.cycles, program.width * program.height
                best = (rank, program) if best is None or rank < best[0] else best
            elif best is None and options.rectangle is None:
                break
        is_pinned = options.rectangle is not None
        return best and Placed(best[1], tuple(considered), is_pinned=is_pinned)

    if options.rectangle is not None:
        height = options.rectangle[1]
        fitting = (n for n in counts if height % n == 0 and (height // n).bit_count() == 1)
        return fastest((options.rectangle, count) for count in fitting)
    for of_group in _candidates(architecture):
        width, height = of_group[-1]
        possible = [n for n in counts if _is_possible((width, height * n), architecture, options)]
        if not possible:
            return None
        most = possible[-1]  # where the smallest parts have no room, no larger ones have
        smallest = partial(cut, sample_groups=most)
        if _consider(smallest, (width, height * most), architecture)[1] is None:
            continue
        for count in possible:
            rectangles = [(width, height * count) for width, height in reversed(of_group)]
            placed = fastest((rectangle, count) for rectangle in rectangles)
            if placed is not None:
                return placed
    return None


def _is_possible(
    rectangle: tuple[int, int], architecture: Architecture, options: WaferOptions
) -> bool:
    """Tell whether the wafer has a rectangle, and it is small enough to be simulated if it is."""
    most = largest_rectangle(architecture)
    is_there = all(side <= limit for side, limit in zip(rectangle, most, strict=True))
    is_simulated = options.fidelity is Fidelity.FABRIC
    return is_there and not (is_simulated and max(rectangle) > _LARGEST_SIMULATED_SIDE)


def _build(cut: _Cut, rectangle: tuple[int, int], architecture: Architecture) -> MeshProgram:
    program = cut(rectangle)
    verify(program, architecture)
    return program


def _consider(
    cut: _Cut, rectangle: tuple[int, int], architecture: Architecture
) -> tuple[Candidate, MeshProgram | None]:
    """Return what a rectangle would cost, with its program if it will do."""
    width, height = rectangle
    try:
        program = cut(rectangle)
    except TooLargeError as error:
        return Candidate(width, height, None, None, str(error)), None
    candidate = _measure(program, architecture)
    return candidate, program if candidate.refusal is None else None


def _measure(program: MeshProgram, architecture: Architecture) -> Candidate:
    width, height = program.width, program.height
    needed, room = footprint(program, architecture).total, architecture.memory_bytes
    if needed > room:
        return Candidate(width, height, needed, None, f"{format_bytes(needed - room)} too many")
    try:
        check_words(program)
    except UnsupportedOperationError as error:
        return Candidate(width, height, needed, None, str(error))
    return Candidate(width, height, needed, _cycles(program, architecture), None)


def _cycles(program: MeshProgram, architecture: Architecture) -> int:
    """Return the cycles of a launch of each entry that every step has, all together."""
    estimator, whole = Estimator(program, architecture), program.whole_launch()
    entries = (entry for entry in program.entries if entry not in CLIPPING)
    launches = (replace(whole, entry=entry) for entry in entries)
    return sum(estimator.estimate(launch).cycles for launch in launches)


def _candidates(architecture: Architecture) -> Iterator[list[tuple[int, int]]]:
    """Yield groups of rectangles, the usual ones first, then ever larger squares."""
    shorter_side = min(largest_rectangle(architecture))
    sides = [side for side in _USUAL_SIDES if side <= shorter_side]
    yield [(width, height) for height in sides for width in sides]
    side = 2 * _USUAL_SIDES[-1]
    while side <= shorter_side:
        yield [(side, side)]
        side *= 2

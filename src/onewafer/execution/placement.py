"""Choose the bucket and the rectangle for a graph.

In: a graph with the rows of a call. Out: a mesh program that fits, for a bucket of samples, and the
rectangles that were considered. A sample is a row, or the map whose places are rows. A bucket is a
power of two, so that few programs serve many batch sizes; more than the largest bucket take several
launches.

The rectangle decides the layout of tensors: the first tensor lies along x, and the axes of all
others follow from the operations (`mesh.orientation`). To exchange the axes, exchange the sides.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NoReturn, Protocol

from onewafer.errors import TooLargeError, UnsupportedOperationError
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
from onewafer.options import Fidelity
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onewafer.arch import Architecture
    from onewafer.graph import Gradients, Graph
    from onewafer.mesh import MeshProgram, Update
    from onewafer.options import WaferOptions

_USUAL_SIDES = (1, 2, 4, 8)
"""Sides of the rectangles that are tried first: small enough to simulate quickly."""
MOST_USUAL_PES = _USUAL_SIDES[-1] ** 2
"""PEs of the largest of them, which is exceeded only if the model does not fit."""
_MOST_SIMULATED_PES = 128 * 128
"""PEs of the largest rectangle simulated by default: a launch takes minutes."""


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
    """The reason why it cannot be used; None: it can."""
    sample_groups: int = 1
    """Groups of rows of PEs, each with its part of the samples."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A mesh program that fits, and how its rectangle was chosen."""

    program: MeshProgram
    candidates: tuple[Candidate, ...]
    """In the order in which they were considered, the chosen one among them."""
    is_pinned: bool
    """True if the user chose the rectangle."""
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

    They are tokens of one sequence, or of any of several `sequences`. `context` is the number of
    positions reserved for keys and values of each. Raises the errors of `place`.
    """
    return _place_bucket(graph, architecture, options, context=context, sequences=sequences)


@dataclass(frozen=True, slots=True)
class Trained:
    """The purpose of a training program, besides the gradients of its graph."""

    num_model: int
    """Number of the graph's operations that are the model; the loss follows, then the gradients."""
    updates: tuple[Update, ...] = ()
    """The steps of optimizers."""
    context: int | None = None
    """Tokens of a sequence, of which a launch has some; None: it has all."""


def place_training(
    gradients: Gradients, trained: Trained, architecture: Architecture, options: WaferOptions
) -> Placed:
    """Return the program that trains with all rows of a graph at once, in the fastest rectangle.

    If no program fits that keeps all that the backward pass reads, it recomputes layers of a
    sequence. The samples of pictures, and of a model that joins samples, as a norm over a batch
    does, are on one group of PEs or on several, whichever takes fewest cycles. Raises the errors of
    `place`, and UnsupportedOperationError for an operation that cannot be trained.
    """
    own = gradients, trained.num_model
    cuts = [partial(_cut_training, trained, architecture, own)]
    if gradients.graph.is_sequence:
        again = (recompute(gradients, trained.num_model, cuts=number) for number in (1, 2))
        found = [each for each in again if each[0].originals]
        cuts += [partial(_cut_training, trained, architecture, each) for each in found]
    samples = samples_of_groups(gradients.graph, trained.num_model)
    for one in cuts:
        placed = _find(one, architecture, options, samples=samples)
        if placed is not None:
            return placed
    _refuse(cuts[-1], gradients.graph.name, architecture, options)


def refuse_outside_of_groups(
    gradients: Gradients, trained: Trained, architecture: Architecture, options: WaferOptions
) -> TooLargeError | None:
    """Return an error that tells which groups of samples would fit a program that options refuse.

    None: no groups fit, or one group takes fewest PEs. The search takes as long as that for a
    program; the error of `place_training`, which is quick, considers one group only.
    """
    graph, pinned = gradients.graph, options.rectangle
    samples = samples_of_groups(graph, trained.num_model)
    is_free = pinned is None and options.fidelity is not Fidelity.FABRIC
    if samples == 1 or is_free:
        return None
    cut = partial(_cut_training, trained, architecture, (gradients, trained.num_model))
    anywhere = replace(options, rectangle=None, fidelity=Fidelity.MODEL)
    placed = _find(cut, architecture, anywhere, samples=samples)
    if placed is None or placed.program.sample_groups == 1:
        return None
    program = placed.program
    width, height, groups = program.width, program.height, program.sample_groups
    of_each = f"{groups} groups of samples on {width}×{height // groups} PEs each"
    if pinned is not None:
        return TooLargeError(
            f"{graph.name} does not fit on {pinned[0]}×{pinned[1]} PEs, in whatever groups of "
            "samples",
            remedy=f"use the rectangle {width}×{height}, which has room for {of_each}",
        )
    return TooLargeError(
        f"{graph.name} needs {width}×{height} PEs, {of_each}: no rectangle of more than "
        f"{_MOST_SIMULATED_PES:,} PEs is simulated unasked",
        remedy=f"choose fidelity 'auto' or 'model', or the rectangle {width}×{height} to do it "
        "nevertheless",
    )


def _cut_training(
    trained: Trained,
    architecture: Architecture,
    of: tuple[Gradients, int],
    rectangle: tuple[int, int],
    sample_groups: int,
) -> MeshProgram:
    """Return the training program of `of`: gradients, and the number of the model's operations."""
    (gradients, num_model), (width, height) = of, rectangle
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


def samples_of_groups(graph: Graph, num_model: int) -> int:
    """Return the number of samples that groups of PEs may share; 1: one group has all.

    Groups pay where activations are larger than parameters, of which each group has a copy: for
    pictures and models that join samples. Rows of features that do not fit take several launches.
    """
    joins = any(operation.joins_rows for operation in graph.operations[:num_model])
    has_groups = not graph.is_sequence and (graph.has_feature_maps or joins)
    return num_samples(graph) if has_groups else 1


class _Cut(Protocol):
    """A function from a rectangle and its number of sample groups to a program on it."""

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
    def cut(rectangle: tuple[int, int], sample_groups: int) -> MeshProgram:
        del sample_groups  # always 1
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
    program = cut(options.rectangle or largest_rectangle(architecture), 1)
    verify(program, architecture)
    width, height = smallest_rectangle(program, architecture) or (program.width, program.height)
    smaller = "dtype 'f16', " if program.dtype is DataType.F32 else ""
    raise TooLargeError(
        f"{name} needs at least {width}×{height} PEs: to simulate every wavelet of so many "
        f"takes hours and {format_bytes(width * height * architecture.memory_bytes)} of memory",
        remedy=f"choose fidelity 'auto' or 'model', {smaller}or the rectangle {width}×{height} "
        "to do it nevertheless",
    )


def _find(
    cut: _Cut, architecture: Architecture, options: WaferOptions, *, samples: int = 1
) -> Placed | None:
    """Return the program where it fits; None: nowhere, or only where it is not simulated.

    It is the fastest of the choices with the smallest number of PEs of which any fits. `samples`
    may be shared by groups of PEs.
    """
    counts = [1 << power for power in range(1, samples.bit_length())]
    counts = [count for count in counts if samples % count == 0]
    if options.rectangle is not None:
        height = options.rectangle[1]
        fitting = (n for n in counts if height % n == 0 and (height // n).bit_count() == 1)
        placed = _fastest(cut, [_Choice(options.rectangle, n) for n in (1, *fitting)], architecture)
        return placed and replace(placed, is_pinned=True)
    groups = _Groups(cut, counts, architecture, options)
    considered: list[Candidate] = []
    for rectangles in _candidates(architecture):
        width, height = rectangles[-1]
        if options.fidelity is Fidelity.FABRIC and width * height > _MOST_SIMULATED_PES:
            return None
        choices = [*map(_Choice, rectangles), *groups.over(width * height)]
        placed = _fastest(cut, choices, architecture, considered)
        if placed is None:  # there is no square of twice as many
            placed = _fastest(cut, groups.over(2 * width * height), architecture, considered)
        if placed is not None:
            return placed
    return _find_beyond(cut, architecture, considered)


@dataclass(frozen=True, slots=True)
class _Choice:
    """A rectangle, and its number of sample groups."""

    rectangle: tuple[int, int]
    sample_groups: int = 1


def _fastest(
    cut: _Cut,
    choices: Iterable[_Choice],
    architecture: Architecture,
    considered: list[Candidate] | None = None,
) -> Placed | None:
    """Return the fastest of some choices, among equals that on the fewest PEs; None: none fits.

    The choices are appended to `considered`, which becomes the result's candidates.
    """
    considered = [] if considered is None else considered
    best: tuple[tuple[int, int], MeshProgram] | None = None
    for choice in choices:
        candidate, program = _consider(cut, choice, architecture)
        considered.append(candidate)
        if program is not None and candidate.cycles is not None:
            rank = candidate.cycles, program.width * program.height
            best = (rank, program) if best is None or rank < best[0] else best
    return best and Placed(best[1], tuple(considered), is_pinned=False)


def _find_beyond(
    cut: _Cut, architecture: Architecture, considered: list[Candidate]
) -> Placed | None:
    """Return the program on the smallest rectangle that fits, when none of `considered` does."""
    _, program = _consider(cut, _Choice(largest_rectangle(architecture)), architecture)
    if program is None:
        return None
    smallest = smallest_rectangle(program, architecture) or (program.width, program.height)
    return _fastest(cut, [_Choice(smallest)], architecture, considered)


class _Groups:
    """The rectangles of sample groups that may fit; the sides of a group are powers of two."""

    def __init__(
        self, cut: _Cut, counts: list[int], architecture: Architecture, options: WaferOptions
    ) -> None:
        """Take the function that cuts a program, and the possible numbers of groups."""
        self._cut, self._counts, self._architecture = cut, counts, architecture
        self._sides = largest_rectangle(architecture)
        is_simulated = options.fidelity is Fidelity.FABRIC
        self._most_pes = _MOST_SIMULATED_PES if is_simulated else math.prod(self._sides)

    def over(self, num_pes: int) -> Iterator[_Choice]:
        """Yield the choices with `num_pes` PEs."""
        if num_pes > self._most_pes:
            return
        for count in self._counts:
            least = (1, 1) if num_pes <= MOST_USUAL_PES else self._least.get(count)
            if least is None:
                continue
            of_group = num_pes // count
            for power in range(of_group.bit_length()):
                width, rows = of_group >> power, 1 << power
                fits = width <= self._sides[0] and rows * count <= self._sides[1]
                if fits and width >= least[0] and rows >= least[1]:
                    yield _Choice((width, rows * count), count)

    @cached_property
    def _least(self) -> dict[int, tuple[int, int]]:
        """Number of groups that fit → the least width and rows of one.

        Narrower groups need more memory of a PE, but those of fewer rows not always: where sums go
        from group to group, each row of PEs takes some. Hence all rows are tried on the widest.
        """
        found: dict[int, tuple[int, int]] = {}
        for count in self._counts:
            rows = [1 << power for power in range((self._sides[1] // count).bit_length())]
            widths = [1 << power for power in range(self._sides[0].bit_length())]
            needed = {n: self._bytes(widths[-1], n, count) for n in rows}
            fitting = [n for n in rows if needed[n] <= self._architecture.memory_bytes]
            if fitting:
                best = min(fitting, key=needed.__getitem__)
                fits = partial(self._fits, rows=best, count=count)
                found[count] = widths[bisect_left(widths, x=True, key=fits)], fitting[0]
        return found

    def _fits(self, width: int, rows: int, count: int) -> bool:
        return self._bytes(width, rows, count) <= self._architecture.memory_bytes

    def _bytes(self, width: int, rows: int, count: int) -> float:
        """Return the bytes per PE of groups of a size; infinite: the program cannot be cut so."""
        try:
            program = self._cut((width, rows * count), count)
        except TooLargeError:
            return math.inf
        return footprint(program, self._architecture).total


def _consider(
    cut: _Cut, choice: _Choice, architecture: Architecture
) -> tuple[Candidate, MeshProgram | None]:
    """Return the memory and cycles of a choice, and its program if it fits."""
    width, height = choice.rectangle
    groups = choice.sample_groups
    try:
        program = cut(choice.rectangle, groups)
    except TooLargeError as error:
        return Candidate(width, height, None, None, str(error), groups), None
    candidate = _measure(program, architecture)
    return candidate, program if candidate.refusal is None else None


def _measure(program: MeshProgram, architecture: Architecture) -> Candidate:
    needed, room = footprint(program, architecture).total, architecture.memory_bytes
    cycles = refusal = None
    if needed > room:
        refusal = f"{format_bytes(needed - room)} too many"
    else:
        try:
            check_words(program)
        except UnsupportedOperationError as error:
            refusal = str(error)
        else:
            cycles = _cycles(program, architecture)
    return Candidate(program.width, program.height, needed, cycles, refusal, program.sample_groups)


def _cycles(program: MeshProgram, architecture: Architecture) -> int:
    """Return the cycles of the entries that every training step launches, added up."""
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

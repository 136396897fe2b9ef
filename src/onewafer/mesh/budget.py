"""Check a mesh program against the machine's memory and colors, before CSL is emitted.

The communication plan of the kernels is fixed (`collectives/routes.csl`, `pe.csl`): its colors,
queues and roles are checked against the architecture, and the bytes of a PE against its memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import InternalError, TooLargeError, UnsupportedOperationError
from onewafer.graph import DataType, with_dtype, with_positions
from onewafer.mesh.blocks import Arena, Axis
from onewafer.mesh.entry import MAX_WORD
from onewafer.mesh.kernel_costs import kernel_costs
from onewafer.mesh.optimizers import MOMENTS, SQUARES
from onewafer.mesh.recomputation import Keep
from onewafer.mesh.schedule import build_schedule, kinds_of
from onewafer.mesh.shard import MAX_POSITIONS, Cutter, largest_rectangle, most_positions
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from onewafer.arch import Architecture
    from onewafer.mesh.program import MeshProgram

COLORS = (0, 1, 2, 3, 4, 5, 6)
"""Fabric colors: two chains and a multicast for each axis, and a multicast within heads."""
CHAIN_COLORS = (0, 1, 3, 4)
"""Colors of the chains, whose switches PEs advance so that leaders send past them."""
INPUT_QUEUES = (2, 3, 4, 5, 6)
OUTPUT_QUEUES = (2, 3, 4)
LOCAL_TASK_IDS = (10, 11, 12, 13)

MAX_TILE_PROGRAMS = 9
MAX_COLORS = 12
MAX_QUEUES = 5
"""The most input queues, and the most output queues, of the kernels."""
_OF_TRAINING = (Arena.GRADIENTS, MOMENTS, SQUARES)
_RARE = ("KV cache", "inputs of layers", "gradients and moments")
"""Parts that most programs lack; a footprint names them only if they are used."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of PE memory that a mesh program takes; the same on every PE."""

    runtime: int
    """memcpy and start-up."""
    kernels: int
    """Code, frames and constants of kernels; an upper bound."""
    weights: int
    activations: int
    state: int
    """State from launch to launch: the KV cache."""
    buffers: int
    """Partial sums of an f16 program, shares of attention."""
    schedule: int
    training: int = 0
    """Gradients of parameters, and the optimizer's state."""
    kept: int = 0
    """Rows saved for the recomputation of layers in a backward pass."""

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return (
            self.runtime
            + self.kernels
            + self.weights
            + self.activations
            + self.state
            + self.buffers
            + self.training
            + self.kept
            + self.schedule
        )

    def __str__(self) -> str:
        """Return one line with every part."""
        parts = (
            ("runtime", self.runtime),
            ("kernels", self.kernels),
            ("weights", self.weights),
            ("activations", self.activations),
            ("KV cache", self.state),
            ("inputs of layers", self.kept),
            ("gradients and moments", self.training),
            ("buffers", self.buffers),
            ("schedule", self.schedule),
        )
        listed = ", ".join(
            f"{name} {format_bytes(size)}" for name, size in parts if size or name not in _RARE
        )
        return f"{format_bytes(self.total)} ({listed})"


def footprint(program: MeshProgram, architecture: Architecture) -> Footprint:
    """Return the bytes that each PE needs."""
    schedule = build_schedule(program)
    kernels = kernel_costs(program.dtype, rows=program.row_kind)
    named = (Arena.PARAMETERS, Arena.ACTIVATIONS, Arena.INDICES, Arena.STATE, *_OF_TRAINING)
    others = (arena for arena in program.arena_elements if arena not in named)
    kept = kept_bytes(program)
    return Footprint(
        runtime=architecture.runtime_bytes,
        kernels=kernels.num_bytes(kinds_of(schedule)),
        weights=program.arena_bytes(Arena.PARAMETERS),
        activations=program.arena_bytes(Arena.ACTIVATIONS) + program.arena_bytes(Arena.INDICES),
        state=program.arena_bytes(Arena.STATE) - kept,
        buffers=sum(map(program.arena_bytes, others)),
        schedule=sum(entry.num_bytes for entry in schedule),
        training=training_bytes(program),
        kept=kept,
    )


def training_bytes(program: MeshProgram) -> int:
    """Return the bytes of each PE for gradients and the optimizer's state."""
    return sum(map(program.arena_bytes, _OF_TRAINING))


def kept_bytes(program: MeshProgram) -> int:
    """Return the bytes of each PE for rows that recomputation starts from."""
    blocks = (each.kept for each in program.operations if isinstance(each, Keep))
    return sum(block.num_elements for block in blocks) * program.dtype.num_bytes


def num_tile_programs(program: MeshProgram) -> int:
    """Return the number of distinct roles: at most the middle and two others along an axis."""
    counts = [min(program.extent(axis), 3) for axis in Axis]
    return counts[0] * counts[1]


def verify(program: MeshProgram, architecture: Architecture) -> None:
    """Return if a program keeps all budgets.

    Raises TooLargeError if its rectangle is too small and says what would do: a larger one, f16, a
    shorter context; or that the model fits no rectangle of the wafer. UnsupportedOperationError if
    it has a dimension that the kernels cannot count.
    """
    _check_plan(program, architecture)
    needed = footprint(program, architecture)
    if needed.total <= architecture.memory_bytes:
        check_words(program)
        return
    of = "" if program.sequences == 1 else f" of {program.sequences} sequences each"
    positions = f" for a context of {program.context:,} positions{of}" if needed.state else ""
    text = (
        f"{program.graph.name} does not fit on {program.width}×{program.height} PEs{positions}: it "
        f"needs {needed} of each PE, which has {format_bytes(architecture.memory_bytes)}"
    )
    longest = longest_context(program, architecture) if needed.state else None
    shorter = f", or a context of at most {longest:,} positions" if longest else ""
    shorter += ", or fewer sequences at a time" if program.sequences > 1 else ""
    narrower = ", or f16" if _fits_in_f16(program, architecture) else ""
    fitting = smallest_rectangle(program, architecture)
    if fitting is None:
        width, height = largest_rectangle(architecture)
        raise TooLargeError(
            f"{text}; it does not fit the whole {architecture.title} either, {width}×{height} PEs: "
            f"use {_smaller(program, architecture)}{shorter}"
        )
    width, height = fitting
    raise TooLargeError(
        f"{text}; use a rectangle of at least {width}×{height} PEs{narrower}{shorter}"
    )


def _smaller(program: MeshProgram, architecture: Architecture) -> str:
    """Return advice that makes the program smaller on the whole wafer; batches are split anyway.

    The rows of a program are places of pictures, tokens of a sequence, or independent.
    """
    choices = ["a smaller model"]
    width, height = largest_rectangle(architecture)
    if _fits_in_f16(program, architecture, width=width, height=height):
        choices.insert(0, "f16")
    if program.training is None and program.graph.has_feature_maps:
        choices.insert(0, "smaller pictures")
    elif program.training is None and program.sequence_rows is not None:
        choices.insert(0, "a shorter sequence")
    return " or ".join(choices)


def _fits_in_f16(
    program: MeshProgram,
    architecture: Architecture,
    *,
    width: int | None = None,
    height: int | None = None,
) -> bool:
    """Tell whether a program in f32 would fit its rectangle, or another one, in f16.

    Programs that train are in f32.
    """
    if program.dtype is not DataType.F32 or program.training is not None:
        return False
    cutter = Cutter(with_dtype(program.graph, DataType.F16), sequences=program.sequences)
    try:
        candidate = cutter.cut(
            width=width or program.width,
            height=height or program.height,
            architecture=architecture,
            context=program.context,
        )
    except UnsupportedOperationError:
        return False
    return footprint(candidate, architecture).total <= architecture.memory_bytes


def longest_context(
    program: MeshProgram, architecture: Architecture, *, has_tables: bool = True
) -> int | None:
    """Return the longest context that fits the program's rectangle.

    None: there is no limit, or not even one position fits. Tables of positions of the model are a
    limit, too, unless `has_tables` is false: then they are as long as the context.
    """
    graph = program.graph if has_tables else with_positions(program.graph, MAX_POSITIONS)
    arenas = program.arena_elements
    # Code and schedule do not depend on the context, and folding the schedule is slow.
    other_bytes = footprint(program, architecture).total - sum(map(program.arena_bytes, arenas))

    cutter = Cutter(graph, sequences=program.sequences, training=program.training)

    def fits(context: int) -> bool:
        candidate = cutter.cut(
            width=program.width,
            height=program.height,
            architecture=architecture,
            context=context,
        )
        arena_bytes = sum(map(candidate.arena_bytes, candidate.arena_elements))
        return other_bytes + arena_bytes <= architecture.memory_bytes

    most = most_positions(graph)
    if program.context is None or not fits(1):
        return None
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def check_words(program: MeshProgram) -> None:
    """Raise UnsupportedOperationError if a schedule does not fit into words of 16 bits."""
    largest = max(max(entry.words) for entry in build_schedule(program))
    if largest > MAX_WORD:
        raise UnsupportedOperationError(
            f"{program.graph.name} on {program.width}×{program.height} PEs has a dimension of "
            f"{largest:,}, and the kernels count to {MAX_WORD:,}; use a more nearly square "
            "rectangle"
        )


def smallest_rectangle(program: MeshProgram, architecture: Architecture) -> tuple[int, int] | None:
    """Return the (width, height) of the smallest nearly square rectangle that fits, or None."""
    largest = largest_rectangle(architecture)
    cutter = Cutter(program.graph, sequences=program.sequences, training=program.training)

    def fits(width: int, height: int) -> bool:
        try:
            candidate = cutter.cut(
                width=width,
                height=height,
                architecture=architecture,
                context=program.context,
            )
        except TooLargeError:  # its blocks are too wide for a kernel
            return False
        return footprint(candidate, architecture).total <= architecture.memory_bytes

    def sides(length: int) -> tuple[int, int]:
        return min(length, largest[0]), min(length, largest[1])

    low, high = 1, max(largest)
    if not fits(*sides(high)):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(*sides(middle)) else (middle + 1, high)
    width, height = sides(low)
    return (width, height - 1) if height > 1 and fits(width, height - 1) else (width, height)


def _check_plan(program: MeshProgram, architecture: Architecture) -> None:
    """Check the constants of the kernels against the machine; a failure is a bug of onewafer."""
    broken = [
        rule
        for rule, holds in (
            ("tile programs", num_tile_programs(program) <= MAX_TILE_PROGRAMS),
            ("colors", len(COLORS) <= MAX_COLORS),
            ("reserved colors", not set(COLORS) & set(architecture.reserved_colors)),
            ("switchable colors", set(CHAIN_COLORS) <= set(architecture.switchable_colors)),
            ("number of input queues", len(INPUT_QUEUES) <= MAX_QUEUES),
            ("number of output queues", len(OUTPUT_QUEUES) <= MAX_QUEUES),
            ("input queues", max(INPUT_QUEUES) < len(architecture.input_queue_words)),
            ("output queues", max(OUTPUT_QUEUES) < len(architecture.output_queue_words)),
            (
                "memcpy input queues",
                not set(INPUT_QUEUES) & set(architecture.reserved_input_queues),
            ),
            (
                "memcpy output queues",
                not set(OUTPUT_QUEUES) & set(architecture.reserved_output_queues),
            ),
            ("task ids", min(LOCAL_TASK_IDS) >= architecture.first_local_task_id),
            ("task ids and colors", not set(LOCAL_TASK_IDS) & set(COLORS)),
        )
        if not holds
    ]
    if broken:
        raise InternalError(
            f"the communication plan of the mesh kernels breaks budgets of {architecture.title}: "
            f"{', '.join(broken)}"
        )

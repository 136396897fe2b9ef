"""Colors, queues and task ids that memcpy keeps for itself, or that the machine lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema.faults import fail

if TYPE_CHECKING:
    from onewafer.csl.sema.session.session import AnalysisOptions
    from onewafer.diagnostics import Span


def check_color(options: AnalysisOptions, color: int, span: Span | None) -> None:
    """Fail if a color is the number that stands for no color."""
    count = options.architecture.num_colors
    if color not in range(count):
        message = f"there is no color {color}: routers have colors 0 to {count - 1}"
        fail("id-out-of-range", message, span)


def check_reserved_color(options: AnalysisOptions, color: int, span: Span | None) -> None:
    """Fail if a color does not exist, or is reserved by memcpy in a program that uses memcpy."""
    machine = options.architecture
    check_color(options, color, span)
    if color in machine.reserved_colors:
        _fail(options, f"color {color}", range(machine.num_colors), machine.reserved_colors, span)


def check_switchable_color(options: AnalysisOptions, color: int, span: Span) -> None:
    """Fail if a color has switch positions that the routers cannot give it."""
    machine = options.architecture
    if color not in machine.switchable_colors:
        fail(
            "unsupported-on-architecture",
            f"color {color} cannot have switch positions on {machine.name}",
            span,
            help=f"use one of the colors {_ranges(list(machine.switchable_colors))}",
        )


def check_color_swap(options: AnalysisOptions, span: Span) -> None:
    """Fail if a route swaps colors on a machine that cannot swap them."""
    machine = options.architecture
    if not machine.has_color_swap:
        fail(
            "unsupported-on-architecture",
            f"`color_swap_x` and `color_swap_y` do not exist on {machine.name}",
            span,
            help="use switches, or let the PE send on by another color",
        )


def check_reserved_queue(
    options: AnalysisOptions, queue: int, *, is_input: bool, span: Span | None
) -> None:
    """Fail if a program with memcpy uses one of memcpy's own queues."""
    machine = options.architecture
    what, words, reserved = (
        ("input", machine.input_queue_words, machine.reserved_input_queues)
        if is_input
        else ("output", machine.output_queue_words, machine.reserved_output_queues)
    )
    if queue in reserved:
        _fail(options, f"{what} queue {queue}", range(len(words)), reserved, span)


def check_reserved_local_task(options: AnalysisOptions, task_id: int, span: Span) -> None:
    """Fail if a program with memcpy binds one of memcpy's own local task ids."""
    machine = options.architecture
    if task_id in machine.reserved_local_task_ids:
        ids = range(machine.first_local_task_id, machine.last_local_task_id + 1)
        _fail(options, f"local task id {task_id}", ids, machine.reserved_local_task_ids, span)


def check_reserved_control_task(options: AnalysisOptions, task_id: int, span: Span) -> None:
    """Fail if a program with memcpy binds one of memcpy's own control task ids."""
    machine = options.architecture
    if task_id in machine.reserved_control_task_ids:
        ids, reserved = range(machine.num_control_task_ids), machine.reserved_control_task_ids
        _fail(options, f"control task id {task_id}", ids, reserved, span)


def _fail(
    options: AnalysisOptions,
    what: str,
    numbers: range,
    reserved: tuple[int, ...],
    span: Span | None,
) -> None:
    if options.uses_memcpy:
        free = _ranges([number for number in numbers if number not in reserved])
        fail(
            "id-out-of-range",
            f"{what} belongs to memcpy on {options.architecture.name}",
            span,
            help=f"with memcpy, the program may use {free}",
        )


def _ranges(numbers: list[int]) -> str:
    """Return ascending numbers as text: `0 … 5, 7`."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ", ".join(str(a) if a == b else f"{a} … {b}" for a, b in runs)

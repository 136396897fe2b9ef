"""The choice of a rectangle and the layout of tensors on it, as values and in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.execution.report.values import PlacementReport, TensorReport
from onewafer.mesh import PLAIN_ORDER, Axis, InTurns, Redistribute, choose_layouts
from onewafer.units import count_of, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from onewafer.execution.placement import Candidate, Placed
    from onewafer.execution.report.values import ProgramReport
    from onewafer.mesh import Layout, MeshProgram


def explain_placement(placed: Placed) -> PlacementReport:
    """Return how a program's rectangle was chosen, and how its tensors lie."""
    program = placed.program
    return PlacementReport(
        rows=program.graph.inputs[0].shape[0],
        refused_rows=placed.refused_rows,
        is_pinned=placed.is_pinned,
        candidates=placed.candidates,
        tensors=tuple(_report_tensors(program)),
        redistributions=sum(isinstance(one, Redistribute) for one in program.operations),
        sample_groups=program.sample_groups,
    )


def _report_tensors(program: MeshProgram) -> Iterator[TensorReport]:
    graph = program.graph
    layouts = choose_layouts(graph, program.size(Axis.X), program.size(Axis.Y))
    defined = [("input", tensor) for tensor in graph.inputs]
    defined += [(type(operation).__name__, operation.result) for operation in graph.operations]
    alike: Counter[tuple[str, int, Layout]] = Counter()
    first: dict[tuple[str, int, Layout], str] = {}
    for operation, tensor in defined:
        key = operation, tensor.shape[-1], layouts[tensor.name]
        alike[key] += 1
        first.setdefault(key, tensor.name)
    for (operation, features, layout), number in alike.items():
        yield TensorReport(
            first=first[operation, features, layout],
            operation=operation,
            count=number,
            features=features,
            axis=layout.axis,
            features_per_pe=layout.columns,
            order=_describe_order(layout),
        )


def _describe_order(layout: Layout) -> str:
    order = layout.order
    if order == PLAIN_ORDER:
        return "as numbered"
    if isinstance(order, InTurns):
        return "positions in turns"
    words = [f"{order.members} heads interleaved"] if order.members > 1 else []
    if order.swapped is not None:
        words.append("rotating pairs adjacent")
    return ", ".join(words) or f"heads of {order.head_dim}"


def render_placement(programs: Iterable[ProgramReport]) -> RenderableType:
    """Return the reasons for the rectangles of all programs, for a terminal."""
    parts: list[RenderableType] = []
    for program in programs:
        parts += _render_program(program)
    return Group(*parts) if parts else Text("no program was placed on the wafer")


def _render_program(program: ProgramReport) -> Iterator[RenderableType]:
    placement = program.placement
    yield Text(f"placement of {program.module}", style="bold")
    yield Text(_how_chosen(program))
    yield _render_candidates(program)
    if placement.sample_groups > 1:
        yield Text(_how_samples_lie(program))
    yield Text(_how_it_lies(program))
    yield _render_tensors(placement)


def _how_chosen(program: ProgramReport) -> str:
    placement = program.placement
    rectangle = f"{program.width}×{program.height}"
    refused = [f"{rows:,}" for rows in placement.refused_rows]
    sentences = [f"{', '.join(refused)} rows a launch fit nowhere."] if refused else []
    rows = count_of(placement.rows, "row")
    if placement.is_pinned:
        sentences.append(f"{rectangle} was asked for, and fits with {rows} a launch.")
    else:
        sentences.append(
            f"{rectangle} was chosen: of the rectangles whose PEs have room, the one that takes "
            f"fewest cycles (closed form) for a launch of {rows}. A PE has "
            f"{format_bytes(program.memory_bytes)}. `--rectangle` pins another."
        )
    return " ".join(sentences)


def _render_candidates(program: ProgramReport) -> Table:
    candidates = program.placement.candidates
    of_chosen = program.width, program.height, program.placement.sample_groups
    chosen = next(c for c in candidates if (c.width, c.height, c.sample_groups) == of_chosen)
    table = Table("rectangle", "bytes a PE", "cycles", "verdict")
    for column in table.columns[1:3]:
        column.justify = "right"
    for candidate in candidates:
        is_chosen = candidate is chosen
        table.add_row(
            _name(candidate),
            "–" if candidate.num_bytes is None else format_bytes(candidate.num_bytes),
            "–" if candidate.cycles is None else f"{candidate.cycles:,}",
            "chosen" if is_chosen else _verdict(candidate, chosen),
            style="bold" if is_chosen else None,
        )
    return table


def _name(candidate: Candidate) -> str:
    rectangle, groups = f"{candidate.width}×{candidate.height}", candidate.sample_groups
    return rectangle if groups == 1 else f"{rectangle}, {groups:,} groups"


def _verdict(candidate: Candidate, chosen: Candidate) -> str:
    if candidate.refusal is not None:
        return candidate.refusal
    if candidate.cycles is None or chosen.cycles is None or candidate.cycles == chosen.cycles:
        return "as fast, on more PEs"
    return f"{candidate.cycles / chosen.cycles:.2f} times the cycles"


def _how_samples_lie(program: ProgramReport) -> str:
    groups = program.placement.sample_groups
    return (
        f"Each of {groups:,} groups of {program.width}×{program.height // groups} PEs, one below "
        "the other, has its part of the samples, and all parameters."
    )


def _how_it_lies(program: ProgramReport) -> str:
    moved = program.placement.redistributions
    anew = f"{count_of(moved, 'tensor') if moved else 'none'} had to be redistributed"
    return (
        "The first tensor lies along x; every linear operation changes the axis, others keep it, "
        f"and what is added must lie alike: {anew}. To exchange x and y, exchange the sides."
    )


def _render_tensors(placement: PlacementReport) -> Table:
    table = Table("defined by", "alike", "features", "along", "a PE", "order")
    for index in (1, 2, 4):
        table.columns[index].justify = "right"
    for tensor in placement.tensors:
        table.add_row(
            tensor.operation,
            f"{tensor.count:,}",
            f"{tensor.features:,}",
            tensor.axis,
            f"{tensor.features_per_pe:,}",
            tensor.order,
        )
    return table

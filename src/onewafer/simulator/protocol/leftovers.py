"""Wavelets that a quiescent program has not received: their color, cause and correction.

In: the tables of waiting wavelets, from any engine. Out: one `Leftover` for each color that a tile
program leaves in its input queues, and for each color that routers hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.image import DsdKind, TaskKind
from onewafer.simulator.arithmetic.control import CONTROL_MARK
from onewafer.simulator.state.loading import (
    data_task_color,
    fabric_color,
    host_streams,
    input_attachments,
)
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import TileProgram, WaferImage
    from onewafer.simulator.state.schema import MachineState
    from onewafer.simulator.state.snapshot import Table

_NUM_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Waiting:
    """The waiting wavelets of a machine: tables as of a `Snapshot`."""

    arrivals: Table
    sources: Table
    wavelets: Table


@dataclass(frozen=True, slots=True)
class Leftover:
    """Wavelets of one color that a program has not taken, or that routers hold."""

    color: int
    num_wavelets: int
    num_pes: int
    has_arrived: bool
    """True: in a queue of the PE; False: in a router."""
    is_for_host: bool
    """True if they are sent to the host, or wait behind such wavelets."""
    text: str
    """A sentence for people: how many, where, why, and what to write."""


def find_leftovers(
    image: WaferImage, architecture: Architecture, waiting: Waiting, state: MachineState
) -> list[Leftover]:
    """Return the wavelets that were not received, by color; first those that reached a PE."""
    found = [*_arrived(image, architecture, waiting.arrivals, state)]
    return [*found, *_held(image, waiting, found)]


def _arrived(
    image: WaferImage, architecture: Architecture, arrivals: Table, state: MachineState
) -> Iterator[Leftover]:
    pe, color, words = arrivals["pe"], arrivals["color"], arrivals["word"]
    if not len(pe):  # as mostly: the masks of the host are as large as the wafer
        return
    to_host = host_streams(image)[1].reshape(len(state.memory), -1)[pe, color]
    program_of_pe = image.program_of_pe.reshape(-1)[pe]
    keys = np.stack((color, program_of_pe), axis=1)
    for key in np.unique(keys[~to_host], axis=0):
        rows = np.flatnonzero((keys == key).all(axis=1) & ~to_host)
        number, program = int(key[0]), image.programs[int(key[1])]
        is_control = bool((words[rows] & CONTROL_MARK != 0).all())
        pes = np.unique(pe[rows])
        queue, home = _served_by(program, architecture, state.queue_colors[pes[0]], number)
        is_blocked = bool((state.blocked_colors[pes] >> np.uint32(home) & 1).any())
        reason = _why(program, architecture, home, is_control=is_control, is_blocked=is_blocked)
        where = f" in input queue {queue}" if queue >= 0 else ""
        text = (
            f"{_count(words[rows], image, number)} that arrived at "
            f"{_places(pes, image)} {'was' if len(rows) == 1 else 'were'} never received{where}: "
            f"{reason}"
        )
        yield Leftover(number, len(rows), len(pes), has_arrived=True, is_for_host=False, text=text)
    for number in np.unique(color[to_host]).tolist():
        rows = np.flatnonzero((color == number) & to_host)
        pes = np.unique(pe[rows])
        text = (
            f"{_count(words[rows], image, number)} that {_places(pes, image)} sent to the host "
            f"{'was' if len(rows) == 1 else 'were'} never asked for: let the host receive as many "
            "as the program sends, or send fewer"
        )
        yield Leftover(number, len(rows), len(pes), has_arrived=True, is_for_host=True, text=text)


def _served_by(
    program: TileProgram, architecture: Architecture, colors: NDArray[np.uint8], color: int
) -> tuple[int, int]:
    """Return the input queue that serves a color, and the queue's color at load (M135)."""
    attachments = input_attachments(program, architecture)
    if program.reaches_queues:
        for attachment in attachments.values():
            if attachment.queue >= 0 and colors[attachment.queue] == color:
                return attachment.queue, attachment.color
    return attachments[color].queue, color


def _why(
    program: TileProgram,
    architecture: Architecture,
    color: int,
    *,
    is_control: bool,
    is_blocked: bool,
) -> str:
    """Return why the wavelets of a color are not received, and what to write."""
    has_control_task = any(task.kind is TaskKind.CONTROL for task in program.tasks)
    if is_control and not has_control_task:
        return (
            "the program has no control task; let an operation take it, let the command ignore the "
            "compute element, or bind one with @bind_control_task(task, id)"
        )
    tasks = [
        task.name
        for task in program.tasks
        if task.kind is TaskKind.DATA
        and data_task_color(task.task_id, program, architecture) == color
    ]
    if tasks and is_blocked:
        return f"its data task '{tasks[0]}' is blocked; unblock it where it may take them"
    if is_control and is_blocked:
        return "the channel is blocked; @unblock it where the control task may take them"
    is_read = any(
        dsd.kind is DsdKind.FABIN and fabric_color(dsd, program, architecture) == color
        for dsd in program.dsds
    )
    if is_read:
        return (
            "the program has read fewer than were sent; let its fabin DSD have as many elements, "
            "or send fewer"
        )
    return (
        "no data task and no fabin DSD of the program has the color; bind a data task or read it, "
        "or leave RAMP out of its route there (.tx)"
    )


def _held(image: WaferImage, waiting: Waiting, found: list[Leftover]) -> Iterator[Leftover]:
    arrived = {leftover.color for leftover in found}
    for_program = {leftover.color for leftover in found if not leftover.is_for_host}
    color = waiting.wavelets["color"]
    pe = waiting.sources["pe"][waiting.wavelets["source"]]
    for number in np.unique(color).tolist():
        rows = np.flatnonzero(color == number)
        pes = np.unique(pe[rows])
        reason = (
            "behind wavelets that were never received"
            if number in arrived
            else "for a route or a switch position that lets them pass, for the end of a "
            "teardown, for a queue that serves the color, or for a free slot in the next buffer"
        )
        count = _count(waiting.wavelets["word"][rows], image, number)
        text = f"{count} still wait at {_places(pes, image)}: {reason}"
        is_for_host = number in arrived - for_program
        yield Leftover(
            number, len(rows), len(pes), has_arrived=False, is_for_host=is_for_host, text=text
        )


def _count(words: NDArray[np.uint64], image: WaferImage, color: int) -> str:
    """Return the number of wavelets and their color, and how many are control wavelets."""
    num_controls = int(np.count_nonzero(words & CONTROL_MARK))
    what = count_of(len(words), "control wavelet" if num_controls == len(words) else "wavelet")
    if 0 < num_controls < len(words):
        what += f", {count_of(num_controls, 'control wavelet')} among them,"
    names = "/".join(image.names_of_color(color))
    return f"{what} of color {color}{f' ({names})' if names else ''}"


def _places(pes: NDArray[np.int64], image: WaferImage) -> str:
    shown = ", ".join(f"({pe % image.width}, {pe // image.width})" for pe in pes[:_NUM_SHOWN])
    more = len(pes) - _NUM_SHOWN
    rest = f" and {more:,} more" if more > 0 else ""
    return f"{'PE' if len(pes) == 1 else 'PEs'} {shown}{rest}"

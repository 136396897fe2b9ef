"""Copies between host arrays and PE memory: checks of shape and room, and the bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError
from onewafer.host.program.scalars import to_csl_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from onewafer.geometry import Rectangle
    from onewafer.host.program.exports import Placement
    from onewafer.image import Export
    from onewafer.simulator import Machine


def part_of(whole: Rectangle, rectangle: Rectangle | None) -> Rectangle:
    """Return the rectangle; None: the whole program. Refuse one that leaves the program."""
    if rectangle is None:
        return whole
    if rectangle.width <= 0 or rectangle.height <= 0:
        raise HostError(f"the rectangle {rectangle} is empty")
    last_x = rectangle.x + rectangle.width - 1
    last_y = rectangle.y + rectangle.height - 1
    if whole.contains(rectangle.x, rectangle.y) and whole.contains(last_x, last_y):
        return rectangle
    raise HostError(f"the rectangle {rectangle} leaves the program, which is {whole}")


def fits(shape: tuple[int, ...], target: Rectangle) -> bool:
    """Tell whether `[height, width, num_elements]` matches a rectangle; a size of 1 always does."""
    match shape:
        case (height, width, _):
            return height in (1, target.height) and width in (1, target.width)
        case _:
            return False


def check_width(export: Export, dtype: np.dtype[Any]) -> None:
    """Refuse a dtype whose element size is not that of the variable."""
    element = export.element
    if element is not None and element.num_bytes != dtype.itemsize:
        raise HostError(
            f"{export.name!r} holds {to_csl_name(element)} ({8 * element.num_bytes} bits an "
            f"element), the transfer moves {8 * dtype.itemsize} bits an element"
        )


def check_room(symbol: str, placement: Placement, num_bytes: int, width: int) -> None:
    """Refuse more bytes than the variable has on some PE; `width` is the program's."""
    index = int(np.argmin(placement.room))
    room = int(placement.room[index])
    if num_bytes > room:
        pe = int(placement.pes[index])
        raise HostError(
            f"{symbol!r} has room for {room} bytes on PE ({pe % width}, {pe // width}), "
            f"the transfer has {num_bytes} bytes a PE"
        )


def with_room_to(memory_bytes: int, placement: Placement) -> Placement:
    """Return the placement with its room extended to the end of PE memory."""
    return replace(placement, room=memory_bytes - placement.addresses)


def to_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return `[height, width, num_elements]` as bytes, one row a PE."""
    little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    num_pes = array.shape[0] * array.shape[1]
    return little_endian.reshape(num_pes, -1).view(np.uint8)


def write_bytes(machine: Machine, placement: Placement, payload: NDArray[np.uint8]) -> None:
    """Write bytes, one row a PE, to a placement."""
    for rows, columns in _stretches(placement, payload.shape[1]):
        machine.memory[placement.pes[rows], columns] = payload[rows]
        machine.note_written(placement.pes[rows], columns)


def read_bytes(machine: Machine, placement: Placement, num_bytes: int) -> NDArray[np.uint8]:
    """Return the bytes from the start of a placement, one row a PE."""
    payload = np.empty((len(placement.pes), num_bytes), np.uint8)
    for rows, columns in _stretches(placement, num_bytes):
        payload[rows] = machine.memory[placement.pes[rows], columns]
    return payload


def _stretches(
    placement: Placement, num_bytes: int
) -> Iterator[tuple[NDArray[np.intp], slice[int, int]]]:
    """Yield (rows of the placement, bytes of PE memory) for each distinct address."""
    for address in np.unique(placement.addresses):
        rows = np.flatnonzero(placement.addresses == address)
        yield rows, slice(int(address), int(address) + num_bytes)

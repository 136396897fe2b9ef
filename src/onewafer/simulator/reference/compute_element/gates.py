"""The objects of BLOCK and UNBLOCK: local tasks, data channels and microthreads (M61, M146)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from onewafer.image import ChannelKind
from onewafer.simulator.state.loading import channel_color

if TYPE_CHECKING:
    from onewafer.image import TileProgram
    from onewafer.simulator.reference.fabric.queue_registers import QueueRegisters
    from onewafer.simulator.state.schema import MachineState

_WORD = 0xFFFF_FFFF


class Gated(Protocol):
    """The interface of a compute element for blocking."""

    index: int
    program: TileProgram
    queue_registers: QueueRegisters | None


def set_blocked(element: Gated, state: MachineState, encoded: int, *, is_blocked: bool) -> None:
    """Block or unblock a `channel()` of an element."""
    color = channel_color(encoded, element.program)
    if element.queue_registers is not None and encoded >> 8 == ChannelKind.COLOR:
        color = element.queue_registers.home_of(encoded & 0xFF)
        if color is None:
            return  # no queue serves the color now
    flags, bit = (
        (state.blocked_tasks, encoded & 0xFF) if color is None else (state.blocked_colors, color)
    )
    if is_blocked:
        flags[element.index] |= 1 << bit
    else:
        flags[element.index] &= _WORD ^ 1 << bit

"""The row of the switch of a color at a PE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.arithmetic.registers import KIND_SHIFT
from onewafer.simulator.fast.machine_code.compilation import shared
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays

_NUM_COLORS = 1 << KIND_SHIFT


@shared
def row_of(s: Arrays, pe: int, color: int) -> int:
    """Return the switch of a color at a PE, or NONE; rows are sorted by PE and color."""
    wanted = pe * _NUM_COLORS + color
    low, high = 0, s.switches.shape[0] - 1
    while low < high:
        middle = (low + high) // 2
        if (
            s.switches[middle, f.SWITCH_PE] * _NUM_COLORS + s.switches[middle, f.SWITCH_COLOR]
            < wanted
        ):
            low = middle + 1
        else:
            high = middle
    is_found = low < s.switches.shape[0] - 1 and s.switches[low, f.SWITCH_PE] == pe
    return low if is_found and s.switches[low, f.SWITCH_COLOR] == color else f.NONE

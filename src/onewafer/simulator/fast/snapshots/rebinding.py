"""Queues of a restored machine that serve other colors than at load (M135)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.image import NUM_COLORS
from onewafer.simulator.arithmetic.queue_words import NO_COLOR, NUM_QUEUES, asked_of
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.simulator.fast.state.arrays import Arrays

    Integers = NDArray[np.int64]


def attach_all(s: Arrays) -> None:
    """Point the switches of a newly built machine to channels by the colors of its queues."""
    pe, queue = _rebound(s)
    programs = s.programs[s.pes[pe, f.PE_PROGRAM]]
    rows = np.arange(len(pe))
    home = programs[rows, f.PROGRAM_INPUTS + queue]
    color = s.queue_colors[pe, queue].astype(np.int64)
    channel = s.pes[pe, f.PE_CHANNELS] + programs[rows, f.PROGRAM_COLORS + home]
    s.fifos[s.arena[channel + f.FIFO_ROW], f.FIFOS_COLOR] = color
    _lead(s, pe, home, np.zeros(len(pe), np.int64))
    _lead(s, pe, color, channel)
    asked = np.flatnonzero(asked_of(s.queue_flushes.astype(np.int64)))
    s.arena[s.blocks[asked] + f.BLOCK_IS_CONTENDED] |= f.IS_ASKED


def home_colors(s: Arrays, pe: Integers, color: Integers) -> Integers:
    """Return the colors under which the channels now serving `color` are stored."""
    homes = color.copy()
    rebound_pe, queue = _rebound(s)
    served = s.queue_colors[rebound_pe, queue].astype(np.int64)
    home = s.programs[s.pes[rebound_pe, f.PE_PROGRAM], f.PROGRAM_INPUTS + queue]
    keys = rebound_pe * NUM_COLORS + served
    order = np.argsort(keys)
    wanted = pe * NUM_COLORS + color
    if len(keys):
        place = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
        homes = np.where(keys[place] == wanted, home[place], homes)
    return homes


def _rebound(s: Arrays) -> tuple[Integers, Integers]:
    """Return the PEs and input queues that serve another color than at load."""
    program: Integers = s.pes[:, f.PE_PROGRAM]
    reaches = s.programs[np.maximum(program, 0), f.PROGRAM_HAS_QUEUES] * (program >= 0)
    pes = np.flatnonzero(reaches)
    home = s.programs[program[pes], f.PROGRAM_INPUTS : f.PROGRAM_INPUTS + NUM_QUEUES]
    now = s.queue_colors[pes, :NUM_QUEUES].astype(np.int64)
    index, queue = np.nonzero((now != home) & (now != NO_COLOR))
    return pes[index], queue


def _lead(s: Arrays, pe: Integers, color: Integers, channel: Integers) -> None:
    """Point the switches of colors at PEs to channels, where there is a switch."""
    keys = s.switches[:-1, f.SWITCH_PE] * NUM_COLORS + s.switches[:-1, f.SWITCH_COLOR]
    if not len(keys):
        return
    wanted = pe * NUM_COLORS + color
    row = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    is_there = keys[row] == wanted
    s.switches[row[is_there], f.SWITCH_CHANNEL] = channel[is_there]

# ruff: noqa: ANN401
"""Abilities of kernels that Python has no word for, and how they get the `Arrays`.

Here is what Python does with it, where kernels run as Python functions; `lowering` says what
compiled kernels do.

`bind` writes the addresses and shapes of the arrays into a small array of numbers, its *frames*:
compiled kernels get the address of that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onewafer.simulator.fast.machine_code.execution import Execution, execution
from onewafer.simulator.fast.state.arrays import DTYPES, Arrays

FRAME_WORDS = 6
"""Words of an array's frame: address and up to five dimensions."""

Bound = Any
"""The result of `bind`."""


def bind(shares: tuple[Arrays, ...]) -> Bound:
    """Return what kernels take: the arrays of each share, which have to outlive it."""
    if execution() is Execution.PYTHON:
        return shares
    frames = np.zeros((len(shares), len(Arrays._fields), FRAME_WORDS), np.int64)
    for frame, arrays in zip(frames, shares, strict=True):
        for row, (name, array) in zip(frame, arrays._asdict().items(), strict=True):
            assert array.dtype == DTYPES[name][0], name
            assert array.ndim == DTYPES[name][1], name
            assert array.flags.c_contiguous, name
            row[0] = array.ctypes.data
            row[1 : 1 + array.ndim] = array.shape
    return frames.reshape(-1)


def opened(bound: Bound, share: int) -> Arrays:
    """Return the arrays of a share behind what `bind` returned."""
    return bound[share]


def trailing_zeros(mask: int) -> int:
    """Return the number of the lowest bit that is set; `mask` is not zero."""
    return (int(mask) & -int(mask)).bit_length() - 1


def prefetch(table: Any, index: Any) -> None:
    """Ask for the cache line of an element that will be needed soon."""
    del table, index


# --- words that threads use to talk --------------------------------------------------------------


def load_signal(table: Any, index: Any) -> int:
    """Return a word; all that its writer wrote before can be seen."""
    return table[index]


def store_signal(table: Any, index: Any, value: Any) -> None:
    """Set a word; whoever sees it sees all that was written before."""
    table[index] = value


def relax() -> None:
    """Let a core that only waits do so without haste."""


def give_way() -> None:
    """Let the system run another thread on this core."""

# ruff: noqa: ANN401
"""Primitives of kernels that Python lacks, and the binding of `Arrays`.

These are the Python versions, for kernels that run as Python functions; `lowering` has the
versions of compiled kernels.

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
    """Return the argument of kernels for the arrays of each share, which have to outlive it."""
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
    """Return the arrays of a share from the result of `bind`."""
    return bound[share]


def trailing_zeros(mask: int) -> int:
    """Return the number of the lowest bit that is set; `mask` is not zero."""
    return (int(mask) & -int(mask)).bit_length() - 1


def prefetch(table: Any, index: Any) -> None:
    """Prefetch the cache line of an element."""
    del table, index


# --- words that threads use to talk --------------------------------------------------------------


def load_signal(table: Any, index: Any) -> int:
    """Load a word with acquire semantics."""
    return table[index]


def store_signal(table: Any, index: Any, value: Any) -> None:
    """Store a word with release semantics."""
    table[index] = value


def relax() -> None:
    """Execute the processor's spin-wait hint."""


def give_way() -> None:
    """Yield the core to another thread."""

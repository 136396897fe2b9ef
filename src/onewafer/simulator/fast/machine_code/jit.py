# pyright: basic
# Numba's type hints are partial; this file, `kept` and `lowering` are the only ones that touch it.
"""The Numba options of kernels.

Without `_nrt=False` Numba counts references to every array at every call, which costs eight times
the work itself; the arrays outlive the kernel, so nothing is lost.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import numba

import onewafer.simulator.fast.machine_code.lowering  # noqa: F401  # tells Numba what kernels are made of
from onewafer.simulator.arithmetic.compiled import teach_numba
from onewafer.simulator.fast.machine_code.kept import keep_on_disk, kernel_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = TypeVar("Function", bound=Callable[..., object])

_njit: Any = numba.njit
_OPTIONS = {"_nrt": False, "error_model": "numpy"}


def compile_part(function: Function, **options: object) -> Function:
    """Compile a function of the engine together with the entries that call it."""
    return _njit(**options, **_OPTIONS)(function)


def compile_entry(function: Function) -> Function:
    """Compile an entry at its first call; cache the machine code on disk."""
    teach_numba()
    dispatcher = _njit(nogil=True, **_OPTIONS)(function)
    with suppress(OSError):  # it costs time that nothing can be kept, and nothing else
        keep_on_disk(dispatcher, kernel_folder())
    return dispatcher

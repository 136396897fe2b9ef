"""The way kernels run in this process: prebuilt, compiled, or as Python functions."""

from __future__ import annotations

import functools
from enum import Enum
from typing import TYPE_CHECKING

from onewafer.settings import wants_compiled_kernels, wants_python_kernels
from onewafer.simulator.fast.machine_code.prebuilt import (
    FOLDER,
    NotUsableError,
    PrebuiltEntry,
    load_entries,
    platform_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class Execution(Enum):
    """The kind of code that the call of an entry executes."""

    PREBUILT = "prebuilt"
    """Machine code that came with the package, made of exactly these sources."""
    COMPILED = "compiled"
    """Machine code that Numba compiled on this computer, now or before (cached on disk)."""
    PYTHON = "Python"
    """The Python functions of the kernels, not compiled."""


def execution() -> Execution:
    """Return the kind of code that runs in this process."""
    if wants_python_kernels():
        return Execution.PYTHON
    return Execution.COMPILED if why_compiled() else Execution.PREBUILT


def prebuilt_entry(name: str) -> PrebuiltEntry:
    """Return an entry of the prebuilt machine code, which has to be in use."""
    entries = _prebuilt_entries()
    assert not isinstance(entries, str)
    return entries[name]


def why_compiled() -> str:
    """Return why the prebuilt machine code is not used; empty if it is."""
    entries = _prebuilt_entries()
    return entries if isinstance(entries, str) else ""


@functools.cache
def _prebuilt_entries() -> Mapping[str, PrebuiltEntry] | str:
    """Return the entries by name, or why they cannot be used."""
    if wants_compiled_kernels():
        return "ONEWAFER_PREBUILT=off or NUMBA_BOUNDSCHECK asks for it"
    try:
        return load_entries(FOLDER, platform_name())
    except NotUsableError as error:
        return str(error)

"""All builtins: importing this module registers them."""

from __future__ import annotations

from typing import Final

from onewafer.csl.sema.builtins import (
    configuration,
    derived_dsds,
    descriptors,
    fifos,
    ids,
    imports,
    layout,
    machine,
    printing,
    program,
    queues,
    random,
    registers,
    rotations,
    symbols,
    values,
    vectors,
)
from onewafer.csl.sema.instance.registry import public_names

MODULES: Final = (
    configuration,
    derived_dsds,
    descriptors,
    fifos,
    ids,
    imports,
    layout,
    machine,
    printing,
    program,
    queues,
    random,
    registers,
    rotations,
    symbols,
    values,
    vectors,
)
"""The modules that register builtins."""


def builtin_names() -> tuple[str, ...]:
    """Return the names of all builtins that a program may use, sorted."""
    return public_names()

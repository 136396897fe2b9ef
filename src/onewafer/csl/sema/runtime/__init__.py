"""Run-time analysis: function bodies, partially evaluated, to the typed IR."""

from typing import Final

from onewafer.csl.sema.runtime import (
    addresses,
    assignments,
    blocks,
    calls,
    declarations,
    expressions,
    statements,
    type_expressions,
)
from onewafer.csl.sema.runtime.calls import CONTROL_TASK, start_root

MODULES: Final = (
    addresses,
    assignments,
    blocks,
    calls,
    declarations,
    expressions,
    statements,
    type_expressions,
)
"""The modules that register rules for kinds of nodes, see `dispatch`."""

__all__ = ["CONTROL_TASK", "MODULES", "start_root"]

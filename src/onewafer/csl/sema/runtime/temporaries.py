"""Values that are computed once, into a local."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.sema import types as t

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.diagnostics import Span


def once(a: Analyzer, name: str, value: ir.Expression, type_: t.Type, span: Span) -> ir.Expression:
    """Emit the computation of a value into a new local and return the read of the local."""
    local = a.new_local(name, type_, is_const=True).local
    a.emit(ir.SetLocal(local, value, span))
    return ir.ReadLocal(local)


def steady(a: Analyzer, address: ir.Expression, span: Span) -> ir.Expression:
    """Return an address that may be evaluated repeatedly: in a local if it has a call."""
    return once(a, "address", address, t.U16, span) if walk.has_effect(address) else address

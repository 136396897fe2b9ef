"""Faults about the contents of a DSR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.values import type_of
from onewafer.diagnostics import Annotation, Diagnostic

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.state import DsrState
    from onewafer.csl.sema.values import Dsr, Value
    from onewafer.diagnostics import Span


def refuse_circular(value: Value, span: Span, *, settings: str = "") -> None:
    """Fail if an operand is a circular buffer; the advice shows a load with `settings`."""
    if type_of(value) is t.CIRCBUF_DSD:
        fail(
            "type-mismatch",
            "a circbuf_dsd cannot be an operand itself, but a DSR that holds it",
            span,
            help=f"load it before: `@load_to_dsr_xdsr(dsr, @get_xdsr(n), circular{settings})`",
        )


def varied_load(
    dsr: Dsr,
    span: Span,
    state: DsrState | None,
    *,
    what: str = "`.async` and without it, and which of them holds here",
    label: str = "one of them",
    user: str = "the operation, or write `.{ .async = true }` as its last argument",
) -> Fault:
    """Return the fault of using a DSR whose loads differ in what `user` needs to know.

    `what` names the difference between the loads (by default `.async`), `label` the property of
    the load in `state`.
    """
    return Fault(
        Diagnostic(
            "unsupported-feature",
            f"{dsr.type} {dsr.index} is loaded with {what} is not known while compiling",
            Annotation(span),
            secondary=(Annotation(state.span, label),) if state is not None else (),
            help=f"load the DSR in the same block, before {user}",
        )
    )


def complaint(a: Analyzer, fault: Fault) -> Callable[[], None]:
    """Return a function that reports a fault later, with the calls that led here."""
    chain = a.chain

    def complain() -> None:
        a.instance.report(fault, chain)

    return complain

"""`@map` and `@dfilt` over DSRs: the DSD that a register stands for.

The machine's loop takes DSDs, not registers, and only a DSD can say that it drops data; so the DSD
in a register has to be known: from a load before the builtin, in its block or around it, or because
all loads of the program are of one DSD. Each use begins at the start of the DSD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.runtime.maps.dsr_faults import complaint, varied_load
from onewafer.csl.sema.values import Dsd, Dsr, Runtime, key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.state import DsrState, HeldDsd
    from onewafer.diagnostics import Span


def kept(a: Analyzer, dsd: Dsd | Runtime, span: Span) -> Dsd | Runtime:
    """Return a DSD, kept in a local if it is a run-time value."""
    if isinstance(dsd, Dsd):
        return dsd
    local = a.new_local("loaded", dsd.type, is_const=True).local
    a.emit(ir.SetLocal(local, dsd.expression, span))
    return Runtime(dsd.type, ir.ReadLocal(local), dsd.descriptor)


def note(known: HeldDsd, dsd: Dsd | Runtime | None) -> None:
    """Update what is known of all loads of a DSR with one more load."""
    if dsd is None:
        return
    if isinstance(dsd, Dsd) and (known.dsd is None or key_of(known.dsd) == key_of(dsd)):
        known.dsd = dsd
        return
    known.dsd = known.dsd or dsd
    known.is_one.give_up()


def stepped_by(a: Analyzer, dsr: Dsr, span: Span, *, is_output: bool) -> Dsd | Runtime:
    """Return the DSD that a DSR of `@map` holds, or fail."""
    wanted, role = (t.DSR_DEST, "output") if is_output else (t.DSR_SRC1, "input")
    if dsr.type is not wanted:
        fail(
            "type-mismatch",
            f"an {role} of `@map` is a {wanted}, this is a {dsr.type}",
            span,
            help=f"get one with `@get_dsr({wanted}, number)`",
        )
    return _held(
        a,
        dsr,
        span,
        lambda state: state.stepped,
        user="`@map`",
        example="`@load_to_dsr(dsr, dsd, .{ .single_step = true })`",
    )


def dropped_by(a: Analyzer, dsr: Dsr, span: Span) -> Dsd | Runtime:
    """Return the DSD that the DSR of `@dfilt` holds, or fail."""
    if dsr.type is not t.DSR_SRC1:
        fail(
            "type-mismatch",
            f"`@dfilt` takes a dsr_src1, this is a {dsr.type}",
            span,
            help="get one with `@get_dsr(dsr_src1, number)`",
        )
    return _held(
        a,
        dsr,
        span,
        lambda state: state.dropped,
        user="`@dfilt`",
        example="`@load_to_dsr(dsr, dsd, .{ .async = true })` with a fabin_dsd",
    )


def _held(
    a: Analyzer,
    dsr: Dsr,
    span: Span,
    use: Callable[[DsrState], HeldDsd],
    *,
    user: str,
    example: str,
) -> Dsd | Runtime:
    key = (dsr.type, dsr.index)
    here = a.dsrs.last_load(key)
    if here is not None and (found := use(here).dsd) is not None:
        return found
    state = a.instance.dsrs.states.get(key)
    known = use(state) if state is not None else None
    if here is not None or state is None or known is None or known.dsd is None:
        fail(
            "missing-field",
            f"{dsr.type} {dsr.index} is not loaded for {user} before this",
            span,
            help=f"load it in the same block or in a `comptime` block: {example}",
        )
    fault = varied_load(
        dsr,
        span,
        state,
        what=f"different DSDs, and which of them {user} means",
        label="one of them",
        user=user,
    )
    known.is_one.rely(fault, complaint(a, fault))
    return known.dsd

"""`@map` over DSRs: which DSD is meant by a register that was loaded with `.single_step`.

The machine's loop walks through DSDs, not registers, so the DSD that a register holds has to be
known: by a load before in the block of `@map` (or around it), or because all loads of the program
are of one DSD. Each `@map` begins where the DSD does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.runtime.dsr_faults import complaint, varied_load
from onewafer.csl.sema.values import Dsd, Dsr, Runtime, key_of

if TYPE_CHECKING:
    from onewafer.csl.sema.instance import DsrState
    from onewafer.csl.sema.runtime.analyzer import Analyzer
    from onewafer.diagnostics import Span


def kept(a: Analyzer, dsd: Dsd | Runtime, span: Span) -> Dsd | Runtime:
    """Return a DSD in a form that stays what it is here."""
    if isinstance(dsd, Dsd):
        return dsd
    local = a.new_local("loaded", dsd.type, is_const=True).local
    a.emit(ir.SetLocal(local, dsd.expression, span))
    return Runtime(dsd.type, ir.ReadLocal(local), dsd.descriptor)


def note(known: DsrState, stepped: Dsd | Runtime | None) -> None:
    """Remember, with what is known of all loads of a DSR, that one is for `@map`."""
    if stepped is None:
        return
    if isinstance(stepped, Dsd) and (
        known.stepped is None or key_of(known.stepped) == key_of(stepped)
    ):
        known.stepped = stepped
        return
    known.stepped, known.steps_vary = known.stepped or stepped, True
    for complain in known.mappers:
        complain()
    known.mappers.clear()


def loaded(a: Analyzer, dsr: Dsr, span: Span, *, is_output: bool) -> Dsd | Runtime:
    """Return the DSD that a DSR of `@map` holds, or fail."""
    wanted, role = (t.DSR_DEST, "output") if is_output else (t.DSR_SRC1, "input")
    if dsr.type is not wanted:
        fail(
            "type-mismatch",
            f"an {role} of `@map` is a {wanted}, this is a {dsr.type}",
            span,
            help=f"get one with `@get_dsr({wanted}, number)`",
        )
    key = (dsr.type, dsr.index)
    here = a.last_load(key)
    if here is not None and here.stepped is not None:
        return here.stepped
    known = a.instance.dsrs.get(key)
    if here is not None or known is None or known.stepped is None:
        fail(
            "missing-field",
            f"{dsr.type} {dsr.index} is not loaded for `@map` before this",
            span,
            help="load it in the same block or in a `comptime` block: "
            "`@load_to_dsr(dsr, dsd, .{ .single_step = true })`",
        )
    fault = varied_load(
        dsr,
        span,
        known,
        what="DSDs, and which of them `@map` walks through",
        label="one of them",
        user="`@map`",
    )
    if known.steps_vary:
        raise fault
    known.mappers.append(complaint(a, fault))
    return known.stepped

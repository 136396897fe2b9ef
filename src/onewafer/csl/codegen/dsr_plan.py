"""The data structure registers of the DSD operands that the compiler makes.

In: an instance. Out: a register number for every operand that is a `Vector`.
Registers that the program names itself, and those of memcpy, are left alone. All synchronous
operations share one register of each kind, since one runs at a time. Every asynchronous operation
has registers of its own as long as there are enough; when there are not, the operations of one
microthread share, since they run one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.diagnostics import Annotation, Diagnostic
from onewafer.image import OperandMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.diagnostics import DiagnosticSink

DSR_MODES: Final = (OperandMode.DSR_DEST, OperandMode.DSR_SRC0, OperandMode.DSR_SRC1)
REFUSED: Final = 0
"""Register of an operand in a program that is refused for want of registers."""
MEMCPY_DSRS: Final = {
    OperandMode.DSR_DEST: {0},
    OperandMode.DSR_SRC0: set[int](),
    OperandMode.DSR_SRC1: {0},
}


def operands_by_mode(
    statement: ir.DsdStatement,
) -> tuple[tuple[OperandMode, ir.DsdOperand | None], ...]:
    """Return dest, src0 and src1 with the kind of register each takes."""
    operands = (statement.dest, statement.src0, statement.src1)
    return tuple(zip(DSR_MODES, operands, strict=True))


def vector_operands(
    statement: ir.DsdStatement,
) -> Iterator[tuple[OperandMode, ir.Vector]]:
    """Yield the operands that need a register, with its kind."""
    for mode, operand in operands_by_mode(statement):
        if isinstance(operand, ir.Vector):
            yield mode, operand


@dataclass(slots=True)
class DsrPlan:
    """The choice, for one instance."""

    synchronous: dict[OperandMode, int] = field(default_factory=dict[OperandMode, int])
    spare: dict[OperandMode, tuple[int, ...]] = field(
        default_factory=dict[OperandMode, tuple[int, ...]]
    )
    """Registers that nothing else uses, lowest first."""
    _asynchronous: dict[tuple[ir.DsdStatement, OperandMode], int] = field(
        default_factory=dict[tuple[ir.DsdStatement, OperandMode], int]
    )

    def register(self, statement: ir.DsdStatement, mode: OperandMode) -> int:
        """Return the register of the operand of kind `mode`."""
        if statement.config is None:
            return self.synchronous[mode]
        return self._asynchronous[statement, mode]

    def assign(self, mode: OperandMode, free: list[int], sites: list[ir.DsdStatement]) -> bool:
        """Hand out the registers of one kind; return whether there were enough.

        Where there were not, `REFUSED` stands in, so that code can be generated all the same.
        """
        self.synchronous[mode], *others = free or [REFUSED]
        keys: list[object] = list(sites)
        if len(sites) > len(others):
            keys = [site.config.microthread for site in sites if site.config is not None]
        register_of = dict(zip(dict.fromkeys(keys), others, strict=False))
        self.spare[mode] = tuple(others[len(register_of) :])
        for site, key in zip(sites, keys, strict=True):
            self._asynchronous[site, mode] = register_of.get(key, REFUSED)
        return bool(free) and len(register_of) == len(set(keys))


def plan_dsrs(
    instance: ir.InstanceIr, *, num_dsrs: int, uses_memcpy: bool, sink: DiagnosticSink
) -> DsrPlan:
    """Choose the registers of an instance; report `too-many-dsrs` when there are too few."""
    body = [s for function in instance.functions for s in walk.statements(function.body)]
    operations = [s for s in body if isinstance(s, ir.DsdStatement)]
    named = {
        (r.file, r.index) for s in operations for r in walk.dsd_operands(s) if isinstance(r, ir.Dsr)
    }
    loads = [*instance.loads, *(s for s in body if isinstance(s, ir.LoadDsr))]
    named |= {(load.dsr.file, load.dsr.index) for load in loads}
    plan = DsrPlan()
    for mode in DSR_MODES:
        taken = {index for file, index in named if file is mode}
        taken |= MEMCPY_DSRS[mode] if uses_memcpy else set()
        users = [s for s in operations if any(m is mode for m, _ in vector_operands(s))]
        sites = [s for s in users if s.config is not None]
        free = [index for index in range(num_dsrs) if index not in taken]
        if not plan.assign(mode, free, sites) and users:
            span = users[0].span
            sink.report(
                Diagnostic(
                    "too-many-dsrs",
                    f"the DSD operations need more {mode.name.lower()} registers than the "
                    f"{num_dsrs} of a PE",
                    Annotation(span) if span else None,
                    notes=(f"{len(taken)} are named by the program or used by memcpy",),
                    help="name fewer registers with `@get_dsr`, or use fewer microthreads",
                )
            )
    return plan

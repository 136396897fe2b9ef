"""Why cycles of the main thread are spent: the reasons that a listing shows."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from onewafer.image import CostClass

if TYPE_CHECKING:
    from onewafer.arch import Timing


class Reason(StrEnum):
    """What a cycle is spent for, in the words of a listing."""

    ISSUE = "issue"
    """Instructions take their issue slots (M20)."""
    OPERAND_WAIT = "operand wait"
    """A float instruction needs what the one before gives (M20)."""
    FLAG_WAIT = "flag wait"
    """A branch needs what the instruction before gives (M20)."""
    JUMP = "jump"
    """Jumps, branches, calls and returns (M21, M23)."""
    TASK_SWITCH = "task switch"
    """The end of a task (M63)."""
    DSR_WAIT = "DSR wait"
    """A DSD operation needs a DSR that was loaded just before (M30)."""
    SETUP = "set-up"
    """What a DSD operation takes before its first element and after its last one (M30, M31)."""
    ELEMENTS = "elements"
    """Elements of a synchronous DSD operation; from the fabric, if they are there (M32, M33)."""
    BANK_CONFLICT = "bank conflict"
    """Sources take turns at the banks (M13)."""
    ROW_ENDS = "row ends"
    """The innermost loop of a block begins again (M151)."""


Why = tuple[tuple[Reason, int], ...]
"""Cycles by reason, in the order in which `Reason` names them; no reason without cycles."""

_REASONS = {
    CostClass.BRANCH: Reason.JUMP,
    CostClass.JUMP: Reason.JUMP,
    CostClass.CALL: Reason.JUMP,
    CostClass.MAP_STEP: Reason.JUMP,
    CostClass.END_TASK: Reason.TASK_SWITCH,
    CostClass.FLOAT_WAIT: Reason.OPERAND_WAIT,
    CostClass.FLAG_WAIT: Reason.FLAG_WAIT,
    CostClass.DSR_WAIT_0: Reason.DSR_WAIT,
    CostClass.DSR_WAIT_1: Reason.DSR_WAIT,
    CostClass.DSR_WAIT_2: Reason.DSR_WAIT,
}


def reasons(spent: dict[Reason, int]) -> Why:
    """Return the reasons that have cycles, in their order."""
    return tuple((reason, spent[reason]) for reason in Reason if spent.get(reason))


def reasons_of(classes: tuple[CostClass, ...], cycles: int, timing: Timing) -> Why:
    """Return why an instruction takes that many cycles, from its cost class and its waits."""
    own, *waits = classes
    spent: dict[Reason, int] = {}
    for wait in waits:
        reason = _REASONS[wait]
        spent[reason] = spent.get(reason, 0) + timing.instruction_cycles[wait.name.lower()]
    reason = _REASONS.get(own, Reason.ISSUE)
    spent[reason] = cycles - sum(spent.values())
    return reasons(spent)

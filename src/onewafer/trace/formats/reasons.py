"""The reasons for which the main thread spends cycles, as listings and traces show them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Reason(StrEnum):
    """The reason for which a cycle is spent; only a run knows those from `RESULT` on."""

    ISSUE = "issue"
    """Instructions take their issue slots (M20)."""
    OPERAND_WAIT = "operand wait"
    """A float instruction needs the result of the one before (M20)."""
    FLAG_WAIT = "flag wait"
    """A branch needs the result of the instruction before (M20)."""
    JUMP = "jump"
    """Jumps, branches, calls and returns (M21, M23)."""
    TASK_SWITCH = "task switch"
    """The end of a task, and the start of the next one (M63)."""
    DSR_WAIT = "DSR wait"
    """A DSD operation needs a DSR that was loaded just before (M30)."""
    SETUP = "set-up"
    """Cycles of a DSD operation before its first element and after its last one (M30, M31)."""
    ELEMENTS = "elements"
    """Elements of a synchronous DSD operation; from the fabric, if they are there (M32, M33)."""
    BANK_CONFLICT = "bank conflict"
    """Sources take turns at the banks (M13)."""
    ROW_ENDS = "row ends"
    """The innermost loop of a block begins again (M151)."""
    RESULT = "write to read"
    """A result is on its way that an operation, or a read of the counter, needs (M22, M152)."""
    FABRIC = "fabric"
    """A wavelet is not there yet, or an output queue has no place for one (M33)."""
    DATA_PATH = "data path"
    """Another thread has the data path (M34)."""
    FIFO = "FIFO"
    """A FIFO has no element, or no place for one (M111)."""
    MICROTHREAD = "busy microthread"
    """An operation was issued on one that still runs another (M38)."""


Why = tuple[tuple[Reason, int], ...]
"""Cycles by reason, in the order in which `Reason` names them; no reason without cycles."""

_REASONS = {
    "branch": Reason.JUMP,
    "jump": Reason.JUMP,
    "call": Reason.JUMP,
    "map_step": Reason.JUMP,
    "end_task": Reason.TASK_SWITCH,
    "float_wait": Reason.OPERAND_WAIT,
    "flag_wait": Reason.FLAG_WAIT,
    "dsr_wait_0": Reason.DSR_WAIT,
    "dsr_wait_1": Reason.DSR_WAIT,
    "dsr_wait_2": Reason.DSR_WAIT,
}


def reasons(spent: Mapping[Reason, int]) -> Why:
    """Return the reasons that have cycles, in their order."""
    return tuple((reason, spent[reason]) for reason in Reason if spent.get(reason))


def costs_of(
    classes: Sequence[str], cycles: int, instruction_cycles: Mapping[str, int]
) -> dict[str, int]:
    """Divide the `cycles` of an instruction by cost class.

    Its own class comes first in `classes`, then those of the waits behind it.
    """
    own, *waits = classes
    waited = {name: instruction_cycles[name] for name in waits}
    return {own: cycles - sum(waited.values()), **waited}


def reasons_of(costs: Mapping[str, int]) -> Why:
    """Return the reasons of an instruction's cycles, which are given by cost class."""
    spent: dict[Reason, int] = {}
    for name, cycles in costs.items():
        reason = _REASONS.get(name, Reason.ISSUE)
        spent[reason] = spent.get(reason, 0) + cycles
    return reasons(spent)

"""If-conversion: short branches become instructions with a condition (M153).

In and out: the items of one function, without unused labels.

    branch_zero r → .0           r ? store a             branch_zero r → .0       r ? move x, a
    store a                 →                            move x, a            →   !r ? move x, b
    .0:                                                  jump .1
                                                         .0: move x, b
                                                         .1:
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from onewafer.csl.codegen.object_code import Condition, Instruction, Label, Register
from onewafer.image import CONDITIONAL_OPCODES, CostClass, Opcode, cost_class

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SLOTS: Final = 6
"""The longest branch body to convert: it takes as long as the jump around it."""
_WIDE: Final = frozenset((CostClass.LOAD_WORD, CostClass.STORE_WORD, CostClass.FLOAT))
"""Opcodes that take two issue slots, or one and a wait."""
_LONG: Final = frozenset((CostClass.DIVIDE, CostClass.FLOAT_DIVIDE))
_PAIRS: Final = range(Opcode.DSD_SET_BASE, Opcode.DSD_ADVANCE + 1)
"""Opcodes that write two registers."""
_BRANCHES: Final = (Opcode.BRANCH_ZERO, Opcode.BRANCH_NONZERO)

Items = list[Instruction | Label]


def with_conditions(items: Sequence[Instruction | Label]) -> Items:
    """Return the items without branches around short ways; the labels stay.

    Only innermost branches are converted, for an instruction has one condition.
    """
    changed: Items = list(items)
    uses: Counter[object] = Counter(i.imm for i in items if isinstance(i, Instruction))
    for place in range(len(changed) - 1, -1, -1):
        ways = _ways(changed, place, uses)
        if ways is not None:
            changed[place : ways.end] = [*ways.then, *ways.otherwise]
    return changed


class _Ways(NamedTuple):
    """The code of both ways of a branch, with its condition."""

    then: list[Instruction]
    otherwise: list[Instruction]
    end: int
    """Index of the label after both ways."""


def _ways(items: Items, place: int, uses: Counter[object]) -> _Ways | None:
    """Return the ways of a branch if both can do without a jump."""
    branch = items[place]
    if isinstance(branch, Label) or branch.opcode not in _BRANCHES:
        return None
    then = _straight(items, place + 1)
    behind = place + 1 + len(then)
    condition = _condition(branch)
    if branch.imm in _labels_at(items, behind):
        return _checked(_Ways(_under(then, condition), [], behind))
    if _labels_at(items, behind + 1) != [branch.imm] or uses[branch.imm] > 1:
        return None
    otherwise = _straight(items, behind + 2)
    end = behind + 2 + len(otherwise)
    if not _leads_to(items[behind], items, end):
        return None
    inverse = Condition(condition.register, is_set=not condition.is_set)
    return _checked(_Ways(_under(then, condition), _under(otherwise, inverse), end))


def _leads_to(jump: Instruction | Label, items: Items, place: int) -> bool:
    """Tell whether a jump leads to an index, or is an exit that also stands there."""
    if isinstance(jump, Label):
        return False
    labels = _labels_at(items, place)
    if jump.opcode is Opcode.JUMP:
        return jump.imm in labels
    following = items[place + len(labels) : place + len(labels) + 1]
    return jump.ends_flow and [replace(jump, span=None)] == [
        replace(item, span=None) for item in following if isinstance(item, Instruction)
    ]


def _condition(branch: Instruction) -> Condition:
    """Return the condition under which a branch falls through."""
    assert isinstance(branch.ra, Register)
    return Condition(branch.ra, is_set=branch.opcode is Opcode.BRANCH_ZERO)


def _under(way: Sequence[Instruction], condition: Condition) -> list[Instruction]:
    return [replace(instruction, rc=condition) for instruction in way]


def _checked(ways: _Ways) -> _Ways | None:
    """Return the ways if they are short and do not write the register of the condition."""
    if any(_slots(way) > MOST_SLOTS for way in (ways.then, ways.otherwise)):
        return None
    under = [*ways.then, *ways.otherwise]
    return ways if under and not any(map(_may_change, under[:-1])) else None


def _slots(way: Sequence[Instruction]) -> int:
    """Return the issue slots of instructions; long-latency instructions count as too many."""
    costs = [cost_class(instruction.opcode, instruction.type) for instruction in way]
    return sum(MOST_SLOTS + 1 if c in _LONG else 1 + (c in _WIDE) for c in costs)


def _may_change(instruction: Instruction) -> bool:
    """Tell whether an instruction may write the register of its condition.

    The frame of another function may overlap this one where no slot is live.
    """
    assert isinstance(instruction.rc, Condition)
    register, dest = instruction.rc.register, instruction.rd
    if not isinstance(dest, Register):
        return False
    written = (dest, dest.second) if instruction.opcode in _PAIRS else (dest,)
    return register in written or dest.function is not register.function


def _straight(items: Items, place: int) -> list[Instruction]:
    """Return the instructions from an index on that can take a condition."""
    found: list[Instruction] = []
    for item in items[place:]:
        if isinstance(item, Label) or item.opcode not in CONDITIONAL_OPCODES or item.rc is not None:
            break
        found.append(item)
    return found


def _labels_at(items: Items, place: int) -> list[Label]:
    """Return the adjacent labels from an index on."""
    labels: list[Label] = []
    for item in items[place:]:
        if not isinstance(item, Label):
            break
        labels.append(item)
    return labels

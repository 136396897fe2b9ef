"""The peephole pass: jump threading, tail calls, unreachable code.

In and out: the items of one function. Nothing else moves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onewafer.csl.codegen.object_code import Instruction, Label
from onewafer.image import Opcode

if TYPE_CHECKING:
    from collections.abc import Sequence

Items = list[Instruction | Label]

_INVERSE: Final = {
    Opcode.BRANCH_ZERO: Opcode.BRANCH_NONZERO,
    Opcode.BRANCH_NONZERO: Opcode.BRANCH_ZERO,
}
_EXITS: Final = frozenset({Opcode.RETURN, Opcode.END_TASK})


def tidy(
    items: Sequence[Instruction | Label], *, jumps_to_last: bool = True
) -> tuple[Instruction | Label, ...]:
    """Return the items with the control flow straightened.

    With `jumps_to_last`, a call before a return becomes a jump.
    """
    current = list(items)
    while True:
        current = _jump_to_last(current) if jumps_to_last else current
        tidied = _drop_needless_jumps(_drop_unreachable(_invert_branches(_thread(current))))
        if tidied == current:
            return tuple(tidied)
        current = tidied


def _thread(items: Items) -> Items:
    """Send every jump straight to its final target; a jump to an exit becomes the exit."""
    first = _first_instructions(items)
    threaded: Items = []
    for item in items:
        if isinstance(item, Label) or not isinstance(item.imm, Label):
            threaded.append(item)
            continue
        target = _final_target(item.imm, first)
        landing = first.get(target)
        if item.opcode is Opcode.JUMP and landing is not None and landing.opcode in _EXITS:
            threaded.append(replace(landing, span=item.span))
        else:
            threaded.append(replace(item, imm=target))
    return threaded


def _first_instructions(items: Items) -> dict[Label, Instruction]:
    """Return label → the instruction that it leads to."""
    first: dict[Label, Instruction] = {}
    following: Instruction | None = None
    for item in reversed(items):
        if isinstance(item, Instruction):
            following = item
        elif following is not None:
            first[item] = following
    return first


def _final_target(label: Label, first: dict[Label, Instruction]) -> Label:
    seen = {label}
    while (landing := first.get(label)) is not None and landing.opcode is Opcode.JUMP:
        if not isinstance(landing.imm, Label) or landing.imm in seen:
            break
        label = landing.imm
        seen.add(label)
    return label


def _jump_to_last(items: Items) -> Items:
    """Turn `call f; return` into `jump f`, whose return is then that of this function too."""
    changed: Items = []
    following: Instruction | None = None
    for item in reversed(items):
        if isinstance(item, Label):
            changed.append(item)
            continue
        is_last = following is not None and following.opcode in _EXITS
        jumps = is_last and item.opcode is Opcode.CALL
        changed.append(replace(item, opcode=Opcode.JUMP) if jumps else item)
        following = item
    return changed[::-1]


def _invert_branches(items: Items) -> Items:
    """Turn `branch A; jump B; A:` into `branch-if-not B; A:`."""
    inverted: Items = []
    skip = False
    for i, item in enumerate(items):
        if skip:
            skip = False
            continue
        following = items[i + 1] if i + 1 < len(items) else None
        if (
            isinstance(item, Instruction)
            and item.opcode in _INVERSE
            and isinstance(following, Instruction)
            and following.opcode is Opcode.JUMP
            and item.imm in _labels_at(items, i + 2)
        ):
            inverted.append(replace(item, opcode=_INVERSE[item.opcode], imm=following.imm))
            skip = True
        else:
            inverted.append(item)
    return inverted


def _drop_unreachable(items: Items) -> Items:
    used = {item.imm for item in items if isinstance(item, Instruction)}
    kept: Items = []
    is_reachable = True
    for item in items:
        if isinstance(item, Label):
            if item not in used:
                continue
            is_reachable = True
        if is_reachable:
            kept.append(item)
        if isinstance(item, Instruction) and item.ends_flow:
            is_reachable = False
    return kept


def _drop_needless_jumps(items: Items) -> Items:
    return [
        item
        for i, item in enumerate(items)
        if isinstance(item, Label)
        or item.opcode is not Opcode.JUMP
        or item.imm not in _labels_at(items, i + 1)
    ]


def _labels_at(items: Items, index: int) -> list[Label]:
    """Return the adjacent labels from `index` on."""
    labels: list[Label] = []
    for item in items[index:]:
        if not isinstance(item, Label):
            break
        labels.append(item)
    return labels

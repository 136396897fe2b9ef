"""Kinds of steps: what an entry of the schedule asks for, and the CSL that does it.

Every operation class has a kind, or several. The state machine of a PE has an arm for each kind
that its program needs, and for no other (`state_machine`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from string import Template
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ELEMENT = ".element = element"
"""The argument of a kernel that is compiled for the element type of the program."""
NUM_PRESENT = """
// How many of the columns of this PE are no padding, of which there is some at the end of an axis.
inline fn num_present(columns: u16, padding: u16, after: u16) u16 {
  const missing = @as(i32, padding) - @as(i32, after) * @as(i32, columns);
  if (missing <= 0) return columns;
  if (missing >= @as(i32, columns)) return 0;
  return columns - @as(u16, missing);
}
"""
"""A function of `pe.csl` for kinds that leave padding out."""


class Task(StrEnum):
    """A task of the state machine that dispatches on the kind of an entry."""

    STEP = "steps"
    AFTER_CHAIN_X = "after_chain_x"
    AFTER_CHAIN_Y = "after_chain_y"
    AFTER_HEAD_CHAIN = "after_head_chain"


@dataclass(frozen=True, slots=True)
class Module:
    """A kernel as the state machine imports it: the file `NAME.csl`, under that name."""

    name: str
    arguments: str = ""
    """Its params, as fields of a CSL struct."""
    after: tuple[Module, ...] = ()
    """Modules that its arguments name. Each is imported once, so that kernels share what it has."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The common beginning of the arms of several kinds: the words that all of them read."""

    title: str
    """The description of the kinds, for a comment."""
    code: str


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """A kind of step."""

    number: int
    """The first word of its entries. The state machine asks for kinds in ascending order."""
    name: str = field(compare=False)
    code: str = field(compare=False, repr=False)
    """The statements of its arm in `work` (`pe.csl`). What ends by itself returns."""
    modules: tuple[Module, ...] = field(default=(), compare=False, repr=False)
    """Kernels that it calls."""
    functions: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Functions of `pe.csl` that it calls, and that other kinds may call as well."""
    beginning: Beginning | None = field(default=None, compare=False, repr=False)
    flags: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Constants of `pe.csl` that are true for a program with this kind."""
    task: Task = field(default=Task.STEP, compare=False, repr=False)
    """The task that asks for it: what follows a chain has one of its own."""
    is_collective: bool = field(default=False, compare=False, repr=False)
    """True if it moves values along an axis, in which PEs wait for one another."""


REPEAT = Kind(
    68,
    "repeat",
    """\
if (round < fixed) {
  round += 1;
  round_offset += right;
  if (model.has_state) state_offset += result;
  entry -= left;
} else {
  round = 0;
  round_offset = 0;
  if (model.has_state) state_offset = 0;
}
""",
)
STOP = Kind(
    69,
    "stop",
    """\
entry = 0;
sys_mod.unblock_cmd_stream();
return;
""",
)
CONTROL_KINDS = frozenset({REPEAT, STOP})
"""Kinds that every state machine has, so that depth alone never changes the code."""


def along_axes(kind: Kind, number: int) -> tuple[Kind, Kind]:
    """Return a kind along x, and its like along y, which has a number of its own.

    In its code and flags `$axis` stands for the axis, `$across` for the other one.
    """
    like = replace(kind, number=number, task=_ALONG_Y.get(kind.task, kind.task))
    return _along(kind, "x", "y"), _along(like, "y", "x")


_ALONG_Y = {Task.AFTER_CHAIN_X: Task.AFTER_CHAIN_Y}


def _along(kind: Kind, axis: str, across: str) -> Kind:
    def spell(text: str) -> str:
        return Template(text).substitute(axis=axis, across=across)

    flags = tuple(map(spell, kind.flags))
    return replace(kind, name=f"{kind.name}_{axis}", code=spell(kind.code), flags=flags)


def asked_by(task: Task, kinds: Iterable[Kind]) -> list[Kind]:
    """Return those of some kinds that a task asks for, in ascending order."""
    return sorted(kind for kind in kinds if kind.task is task)


def num_questions(kinds: Collection[Kind]) -> int:
    """Return how many questions a state machine has: of each task one less than it has kinds."""
    return len(kinds) - len({kind.task for kind in kinds})


class Answers(NamedTuple):
    """How often the state machine learns on which side of another one a kind is."""

    below: int
    above: int


@cache
def answers(kind: Kind, kinds: frozenset[Kind]) -> Answers:
    """Return the comparisons that a state machine with these kinds makes to reach this kind.

    It halves the kinds that it may be, as `choose` in `pe.csl` does.
    """
    left, found = asked_by(kind.task, kinds), Answers(0, 0)
    while len(left) > 1:
        middle = len(left) // 2
        is_below = kind < left[middle]
        left = left[:middle] if is_below else left[middle:]
        found = Answers(found.below + is_below, found.above + (not is_below))
    return found

"""Kinds of steps: the first word of a schedule entry, and the CSL that executes it.

Every operation class has one kind or several. The state machine of a PE has an arm for each kind
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
"""The argument of a kernel that is compiled for the program's element type."""
NUM_PRESENT = """
// How many of the columns of this PE are no padding, of which there is some at the end of an axis.
inline fn num_present(columns: u16, padding: u16, after: u16) u16 {
  const missing = @as(i32, padding) - @as(i32, after) * @as(i32, columns);
  if (missing <= 0) return columns;
  if (missing >= @as(i32, columns)) return 0;
  return columns - @as(u16, missing);
}
"""
"""A function of `pe.csl` that returns a PE's columns without padding."""


class Task(StrEnum):
    """A task of the state machine, which dispatches on the kind of an entry."""

    STEP = "steps"
    AFTER_CHAIN_X = "after_chain_x"
    AFTER_CHAIN_Y = "after_chain_y"
    AFTER_HEAD_CHAIN = "after_head_chain"


@dataclass(frozen=True, slots=True)
class Module:
    """A kernel that the state machine imports: the file `NAME.csl`, under that name."""

    name: str
    arguments: str = ""
    """The kernel's params, as fields of a CSL struct."""
    after: tuple[Module, ...] = ()
    """Modules that `arguments` name. Each is imported once, so that kernels share its memory."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Code that the arms of several kinds begin with, to read the words that all of them have."""

    title: str
    """The description of the kinds, for a comment."""
    code: str


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """A kind of step, with its arm of the state machine."""

    number: int
    """The first word of the kind's entries; the state machine searches by it."""
    name: str = field(compare=False)
    code: str = field(compare=False, repr=False)
    """The statements of the kind's arm in `work` (`pe.csl`); an arm that ends the task itself
    returns."""
    modules: tuple[Module, ...] = field(default=(), compare=False, repr=False)
    """Kernels that the arm calls."""
    functions: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Functions of `pe.csl` that the arm calls; kinds may share them."""
    beginning: Beginning | None = field(default=None, compare=False, repr=False)
    flags: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Constants of `pe.csl` that are true in a program with this kind."""
    task: Task = field(default=Task.STEP, compare=False, repr=False)
    """The task that dispatches the kind; operations that follow a chain have their own task."""
    is_collective: bool = field(default=False, compare=False, repr=False)
    """True if it moves values along an axis, where PEs wait for one another."""


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
"""Kinds of every state machine, so that the code is the same with and without repetitions."""


def along_axes(kind: Kind, number: int) -> tuple[Kind, Kind]:
    """Return a kind along x, and the same kind along y with its own number.

    In code and flags `$axis` is replaced by the axis, `$across` by the other one.
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
    """Return the kinds that a task dispatches, in ascending order."""
    return sorted(kind for kind in kinds if kind.task is task)


def num_questions(kinds: Collection[Kind]) -> int:
    """Return the comparisons in a state machine: for each task, one less than its kinds."""
    return len(kinds) - len({kind.task for kind in kinds})


class Answers(NamedTuple):
    """The results of a binary search for a kind: how often it was below, and how often not."""

    below: int
    above: int


@cache
def answers(kind: Kind, kinds: frozenset[Kind]) -> Answers:
    """Return the comparisons that find a kind in a state machine with these kinds.

    They are those of the binary search of `choose` in `pe.csl`.
    """
    left, found = asked_by(kind.task, kinds), Answers(0, 0)
    while len(left) > 1:
        middle = len(left) // 2
        is_below = kind < left[middle]
        left = left[:middle] if is_below else left[middle:]
        found = Answers(found.below + is_below, found.above + (not is_below))
    return found

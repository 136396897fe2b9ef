"""The activation record of comptime code, and how names become slots of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NoReturn

from onewafer.csl.sema.faults import Fault, fail

if TYPE_CHECKING:
    from onewafer.csl.sema.values import Module, Value
    from onewafer.diagnostics import Span


class Frame:
    """Locals of one running comptime function or block."""

    __slots__ = ("broken", "label", "module", "result", "slots")

    def __init__(self, module: Module, size: int) -> None:
        self.module = module
        self.slots: list[Value | None] = [None] * size
        self.result: Value | None = None
        self.label: str | None = None
        """Target of a `Signal` that has a label."""
        self.broken: Value | None = None
        """The value of a `break` with a label."""

    def arrives(self, label: str | None) -> bool:
        """Tell whether the current jump targets the block or loop of this label; end the jump."""
        if label is None or self.label != label:
            return False
        self.label = None
        return True


class Signal(Enum):
    """The kind of jump after a statement."""

    BREAK = 1
    CONTINUE = 2
    RETURN = 3
    BREAK_LABEL = 4
    CONTINUE_LABEL = 5


Evaluate = Callable[[Frame], "Value"]
Execute = Callable[[Frame], Signal | None]


@dataclass(frozen=True, slots=True)
class Slot:
    """A local of the compiled code."""

    index: int
    is_const: bool


@dataclass(slots=True)
class Scope:
    """Names visible while a function or block is compiled, innermost block last."""

    blocks: list[dict[str, Slot]] = field(default_factory=lambda: [{}])
    size: int = 0
    labels: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    """Labels of the blocks and loops around, outermost first, and whether they are loops."""
    assigned: list[int] = field(default_factory=list[int])
    """Slots that the code compiled so far changes, in the order of the assignments."""

    def declare(self, name: str, *, is_const: bool, span: Span | None = None) -> Slot:
        """Add a local to the innermost block, or fail if it is there already."""
        if name in self.blocks[-1] and span is not None:
            fail("duplicate-declaration", f"`{name}` is declared twice in one block", span)
        slot = Slot(self.size, is_const)
        self.size += 1
        self.blocks[-1][name] = slot
        return slot

    def find(self, name: str) -> Slot | None:
        """Return the innermost local of that name."""
        for block in reversed(self.blocks):
            slot = block.get(name)
            if slot is not None:
                return slot
        return None


def read_poison() -> NoReturn:
    """Stop without a report: the error in the local's initialiser has been reported."""
    raise Fault(None)


def undeclared(name: str, span: Span) -> NoReturn:
    """Fail because an assignment target is no comptime local."""
    fail(
        "not-assignable",
        f"`{name}` cannot be changed here",
        span,
        help="comptime code changes its own `var` locals only",
    )

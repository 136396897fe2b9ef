"""The blocks and loops that `break` and `continue` may name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.csl.sema.values import Value

if TYPE_CHECKING:
    from onewafer.csl import ir
    from onewafer.csl.sema import types as t
    from onewafer.csl.sema.values import Variable
    from onewafer.diagnostics import Span


@dataclass(slots=True, eq=False)
class JumpTarget:
    """A block or loop around the statement at hand that `break` or `continue` may name."""

    label: str | None
    is_loop: bool
    is_value: bool = False
    """`break` carries a value to it."""
    is_discarded: bool = False
    """The value is not used."""
    num_blocks: int = 1
    """In the code. Of a loop over a tuple: none, or two, of all rounds and of the round at hand."""
    type: t.Type | None = None
    """Type of the value; None: not known yet."""
    is_inferred: bool = False
    """The type is the widest of those that are carried; else it was wanted."""
    local: ir.Local | None = None
    """Holds the value; None: it has no value yet, is a struct, or is known at compile time."""
    variable: Variable | None = None
    """Holds a value of a struct type."""
    values: list[tuple[Value, Span]] = field(default_factory=list[tuple[Value, "Span"]])
    waiting: dict[int, tuple[ir.Statement, Value, Span]] = field(
        default_factory=dict[int, "tuple[ir.Statement, Value, Span]"]
    )
    """Values of `break` before the type was known: the statements in their place, by id."""

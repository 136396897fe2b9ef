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
    """An enclosing block or loop that `break` or `continue` may name."""

    label: str | None
    is_loop: bool
    is_value: bool = False
    """`break` carries a value to it."""
    is_discarded: bool = False
    """The value is not used."""
    num_blocks: int = 1
    """Number of IR blocks; of an unrolled loop none, or two: for all rounds, and for this one."""
    type: t.Type | None = None
    """Type of the value; None: not known yet."""
    is_inferred: bool = False
    """The type is the widest of those of the `break` values; else the context gives it."""
    local: ir.Local | None = None
    """Holds the value; None: it has no value yet, is a struct, or is known at compile time."""
    variable: Variable | None = None
    """Holds a value of a struct type."""
    values: list[tuple[Value, Span]] = field(default_factory=list[tuple[Value, "Span"]])
    waiting: dict[int, tuple[ir.Statement, Value, Span]] = field(
        default_factory=dict[int, "tuple[ir.Statement, Value, Span]"]
    )
    """`break` values from before the type was known, by the id of the statement in their place."""

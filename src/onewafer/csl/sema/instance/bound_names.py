"""The meanings of the names of a function, scope by scope."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.values import Scalar, Value, Variable

if TYPE_CHECKING:
    from onewafer.csl import ir
    from onewafer.csl.sema import types as t
    from onewafer.diagnostics import Span
    from onewafer.image import DsdDescriptor


@dataclass(frozen=True, slots=True, eq=False)
class RuntimeLocal:
    """A local that lives in registers."""

    name: str
    type: t.Type
    local: ir.Local
    is_const: bool
    descriptor: DsdDescriptor | None = None


@dataclass(slots=True, eq=False)
class ComptimeLocal:
    """A `comptime var` with its value at the statement that is being analysed."""

    value: Value
    depth: int
    """Number of blocks around its declaration."""
    variable: Variable | None = None
    """The variable in memory that holds the value; None: nothing takes its address."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedNumber:
    """A known scalar constant that also lies in memory, because its address is taken."""

    value: Scalar
    variable: Variable


Bound = Value | RuntimeLocal | ComptimeLocal | PlacedNumber
"""The meaning of a local name; None in a scope marks a name whose declaration failed."""


@dataclass(slots=True, eq=False)
class BoundNames:
    """The names visible at the statement of a function that is being analysed."""

    scopes: list[dict[str, Bound | None]] = field(default_factory=lambda: [{}])
    """Innermost last."""

    def open(self) -> None:
        """Begin a scope."""
        self.scopes.append({})

    def close(self) -> None:
        """End the innermost scope."""
        self.scopes.pop()

    def declare(self, name: str, bound: Bound | None, span: Span | None = None) -> None:
        """Add a name to the innermost scope, or fail if it is there already."""
        if name in self.scopes[-1] and span is not None:
            fail("duplicate-declaration", f"`{name}` is declared twice in one block", span)
        self.scopes[-1][name] = bound

    def find(self, name: str) -> Value | RuntimeLocal | None:
        """Return what a local name stands for; None: it is no local."""
        scope = self.scope_of(name)
        if scope is None:
            return None
        bound = scope[name]
        if bound is None:
            raise Fault(None)
        return bound.value if isinstance(bound, ComptimeLocal | PlacedNumber) else bound

    def comptime_variable(self, name: str) -> ComptimeLocal | None:
        """Return the `comptime var` of a name; None: it is something else."""
        bound = (self.scope_of(name) or {}).get(name)
        return bound if isinstance(bound, ComptimeLocal) else None

    def scope_of(self, name: str) -> dict[str, Bound | None] | None:
        """Return the innermost scope that has a name; None: there is none."""
        return next((scope for scope in reversed(self.scopes) if name in scope), None)

"""The registry of builtins.

A builtin is a function in this package under `@comptime_builtin` (evaluated while compiling) or
`@runtime_builtin` (emits run-time code); one name may have both, and then the comptime one is used
wherever all arguments are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NoReturn

from onewafer.csl.sema.faults import Fault, fail, retired
from onewafer.csl.sema.faults.names import suggest
from onewafer.csl.sema.session.contracts import Where
from onewafer.diagnostics import Annotation, Diagnostic

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.values import Module, Value
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span


MANY: Final = 1 << 16
"""The most arguments of a builtin that takes any number."""


class Site:
    """One call of a builtin in the source."""

    __slots__ = ("argument_spans", "name", "node", "span")

    def __init__(self, node: ast.BuiltinCall) -> None:
        self.node = node
        self.name = node.name
        self.span = node.span
        self.argument_spans: tuple[Span, ...] = tuple(a.span for a in node.arguments)


ComptimeHandler = Callable[[Site, "Module", Sequence["Value"]], "Value"]
RuntimeHandler = Callable[[Site, "Analyzer", Sequence["Value"]], "Value"]


@dataclass(frozen=True, slots=True)
class Builtin:
    """A builtin: its argument counts, where it may be used, and its handlers."""

    name: str
    min_arguments: int
    max_arguments: int
    comptime: ComptimeHandler | None = None
    runtime: RuntimeHandler | None = None
    context: Where = Where.VALUE
    operands: frozenset[int] = frozenset()
    """Positions of arguments that take a run-time variable itself, not its value."""
    has_effect: bool = False
    is_recordable: bool = False
    """True if a layout loop can record its effect and replay it, see `grouping`."""
    is_internal: bool = False
    """Only our own library modules may use it."""

    def check_context(self, site: Site, module: Module) -> None:
        """Fail unless comptime code of `module` may use the builtin."""
        if self.is_internal and not module.code.is_library:
            raise Fault(_unknown(site))
        if self.context in (Where.VALUE, module.context.kind):
            if self.has_effect and module.session.is_called_at_run_time:
                self.refuse_in_function(site)
            return
        fail(
            "wrong-context",
            f"`@{self.name}` cannot be used here",
            site.span,
            help=f"it belongs {self.context.value}",
        )

    def refuse_in_function(self, site: Site) -> NoReturn:
        """Fail because code of a function would change the program while it is compiled."""
        use = "use a `comptime` block at the top level of the file"
        fail(
            "wrong-context",
            f"`@{self.name}` cannot be used while compiling a function",
            site.span,
            help=use if self.runtime is None else f"leave `comptime` out, or {use}",
        )

    def only_at_run_time(self, site: Site) -> Fault:
        """Return the fault of a run-time builtin in comptime code."""
        message = f"`@{self.name}` cannot be used while compiling"
        primary = Annotation(site.span)
        advice = f"it belongs {Where.RUNTIME.value}"
        return Fault(Diagnostic("wrong-context", message, primary, help=advice))


_BUILTINS: dict[str, Builtin] = {}


def comptime_builtin(
    name: str,
    min_arguments: int,
    max_arguments: int | None = None,
    *,
    context: Where = Where.VALUE,
    operands: Sequence[int] = (),
    is_internal: bool = False,
    is_recordable: bool = False,
) -> Callable[[ComptimeHandler], ComptimeHandler]:
    """Make the decorated function evaluate a builtin at compile time."""

    def register(handler: ComptimeHandler) -> ComptimeHandler:
        most = min_arguments if max_arguments is None else max_arguments
        known = _BUILTINS.get(name, Builtin(name, min_arguments, most))
        _BUILTINS[name] = replace(
            known,
            comptime=handler,
            context=context,
            operands=frozenset(operands),
            has_effect=context is not Where.VALUE,
            is_internal=is_internal,
            is_recordable=is_recordable,
        )
        return handler

    return register


def runtime_builtin(
    name: str,
    min_arguments: int,
    max_arguments: int | None = None,
    *,
    operands: Sequence[int] = (),
    is_internal: bool = False,
) -> Callable[[RuntimeHandler], RuntimeHandler]:
    """Make the decorated function emit the run-time code of a builtin."""

    def register(handler: RuntimeHandler) -> RuntimeHandler:
        most = min_arguments if max_arguments is None else max_arguments
        known = _BUILTINS.get(name, Builtin(name, min_arguments, most))
        merged = known.operands | frozenset(operands)
        _BUILTINS[name] = replace(
            known,
            runtime=handler,
            operands=merged,
            is_internal=is_internal or known.is_internal,
        )
        return handler

    return register


def find_builtin(site: Site) -> Builtin:
    """Return the builtin that a call means, its argument count checked, or fail."""
    builtin = _BUILTINS.get(site.name)
    if builtin is None:
        raise Fault(_unknown(site))
    count = len(site.argument_spans)
    if not builtin.min_arguments <= count <= builtin.max_arguments:
        least, most = builtin.min_arguments, builtin.max_arguments
        upper = "or more" if most == MANY else f"to {most}"
        takes = str(least) if least == most else f"{least} {upper}"
        fail(
            "wrong-argument-count",
            f"`@{site.name}` takes {takes} argument(s), {count} are given",
            site.span,
        )
    return builtin


def public_names() -> tuple[str, ...]:
    """Return the names of all registered builtins that a program may use, sorted."""
    return tuple(sorted(name for name, b in _BUILTINS.items() if not b.is_internal))


def _unknown(site: Site) -> Diagnostic:
    old = retired.BUILTINS.get(site.name)
    if old is not None:
        message, advice = old.message(f"`@{site.name}`"), old.instead
    else:
        message = f"no SDK up to {retired.NEWEST_SDK} documents a builtin `@{site.name}`"
        advice = suggest(site.name, public_names(), prefix="@")
    return Diagnostic("unknown-builtin", message, Annotation(site.span), help=advice)

"""The warning about builtins that public texts name but do not define."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema.builtins.values import text
from onewafer.csl.sema.faults import Fault
from onewafer.csl.sema.instance.registry import comptime_builtin, runtime_builtin
from onewafer.csl.sema.modules.instance_context import instance_of
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.values import VOID_VALUE, Value
from onewafer.diagnostics import Annotation, Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span


@runtime_builtin("undefined_result", 3, is_internal=True)
def undefined_result(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Warn, for a library function, about behaviour that this project chose."""
    _warn(site, a.instance, args)
    return VOID_VALUE


@comptime_builtin("undefined_result", 3, context=Where.PROGRAM, is_internal=True)
def undefined_from_start(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Warn, for a library function in a `comptime` block, about behaviour chosen here."""
    _warn(site, instance_of(module), args)
    return VOID_VALUE


def _warn(site: Site, instance: Instance, args: Sequence[Value]) -> None:
    what, unknown, instead = (text(arg, site.span, "the text") for arg in args)
    warn_of_undefined(instance, what, site.span, unknown, instead)


def warn_of_undefined(
    instance: Instance, what: str, span: Span, unknown: str, instead: str
) -> None:
    """Warn that the real machine may treat `what` differently; `unknown` begins with "where"."""
    instance.report(
        Fault(
            Diagnostic(
                "undefined-result",
                f"what {what} does here is onewafer's choice, and may differ on the real machine",
                Annotation(span),
                severity=Severity.WARNING,
                notes=(f"no public text says {unknown}",),
                help=instead,
            )
        )
    )

"""The random generators of a PE: calls of a library module that exists once in a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import comptime_builtin, runtime_builtin
from onewafer.csl.sema.runtime.calls import call_value
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.values import Scalar, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module


@runtime_builtin("random16", 0)
def random16(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return the next number of the active generator."""
    return _call("next_of_active", site, a, args)


@runtime_builtin("set_active_prng", 1)
def set_active_prng(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Choose the active generator, modulo the number of generators."""
    return _call("set_active", site, a, args)


@comptime_builtin("num_prngs", 0, is_internal=True)
def num_prngs(_site: Site, module: Module, _args: Sequence[Value]) -> Value:
    """Return how many generators a PE has."""
    return Scalar(t.U16, module.session.architecture.num_prngs)


@runtime_builtin("random_of", 1, is_internal=True)
def random_of(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return the next number of a generator."""
    return _call("next", site, a, args)


@runtime_builtin("seed_random", 2, is_internal=True)
def seed_random(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Restart the sequence of a generator."""
    return _call("set_seed", site, a, args)


def _call(name: str, site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    if a.comptime_depth:
        fail(
            "wrong-context",
            f"`@{site.name}` cannot be used while compiling",
            site.span,
            help=f"it belongs {Where.RUNTIME.value}",
        )
    function = a.module.context.library_function(a.module, "<random/generators>", name, site.span)
    return call_value(a, function, args, site.argument_spans, site.span)

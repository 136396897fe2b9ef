"""Builtins that make one DSD of another, as `@set_dsd_length`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.descriptors import (
    element_of,
    field_expression,
    program_of,
    warn_of_stride,
)
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import comptime_builtin, runtime_builtin
from onewafer.csl.sema.values import (
    Dsd,
    Runtime,
    Scalar,
    Value,
    Variable,
    conversions,
    is_comptime,
    not_comptime,
    type_of,
)
from onewafer.csl.sema.values.in_memory import address_of_variable, pointer_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module


def _expect_dsd(value: Value, site: Site, kinds: Sequence[t.Type]) -> Dsd | Runtime:
    if isinstance(value, Dsd | Runtime) and value.type in kinds:
        return value
    names = ", ".join(map(str, kinds))
    fail(
        "type-mismatch",
        f"`@{site.name}` takes a {names}, this is of type `{type_of(value)}`",
        site.argument_spans[0],
    )


_MEMORY = (t.MEM1D_DSD, t.MEM4D_DSD)
_WITH_LENGTH = (t.MEM1D_DSD, t.CIRCBUF_DSD, t.FABIN_DSD, t.FABOUT_DSD)
_ELEMENT_BYTES: Final = (2, 4)


def _update(
    a: Analyzer,
    update: ir.DsdUpdate,
    dsd: Dsd | Runtime,
    value: ir.Expression,
    site: Site,
    *,
    size: int = 0,
) -> Runtime:
    whole = a.expression(dsd, site.span)
    return Runtime(dsd.type, ir.UpdateDsd(update, whole, value, size), dsd.descriptor)


def _known(site: Site, args: Sequence[Value]) -> None:
    """Fail unless all arguments of a deriving builtin are known."""
    for value, span in zip(args, site.argument_spans, strict=True):
        if not is_comptime(value):
            not_comptime(value, span)


@comptime_builtin("set_dsd_base_addr", 2, operands=(1,))
def known_base_addr(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return a known DSD over another array."""
    dsd, base, span = args[0], args[1], site.argument_spans[1]
    if isinstance(base, Variable):
        if isinstance(base.type, t.PointerType):
            not_comptime(base, span)
        base = address_of_variable(base)
    element_of(base, span)
    pointer = rules.expect_pointer(base, span)
    _known(site, args)
    _expect_dsd(dsd, site, _MEMORY)
    assert isinstance(dsd, Dsd)
    return replace(dsd, base=pointer, span=site.span)


@runtime_builtin("set_dsd_base_addr", 2, operands=(1,))
def set_dsd_base_addr(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return a DSD over another array."""
    dsd, span = _expect_dsd(args[0], site, _MEMORY), site.argument_spans[1]
    base = args[1]
    if isinstance(base, Variable):
        is_pointer = isinstance(base.type, t.PointerType)
        base = a.load_variable(base, span) if is_pointer else pointer_to(base)
    element_of(base, span)
    return _update(a, ir.DsdUpdate.BASE, dsd, a.expression(base, span), site)


@comptime_builtin("set_dsd_length", 2)
def known_length(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return a known DSD of another length."""
    dsd, span = _expect_dsd(args[0], site, _WITH_LENGTH), site.argument_spans[1]
    assert isinstance(dsd, Dsd)
    number = conversions.integer(args[1], span, "the length")
    extent = conversions.coerce_scalar(number, t.U16, span, "the length")
    return replace(dsd, extent=extent, span=site.span)


@runtime_builtin("set_dsd_length", 2)
def set_dsd_length(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return a DSD of another length."""
    dsd, span = _expect_dsd(args[0], site, _WITH_LENGTH), site.argument_spans[1]
    value = field_expression(a, args[1], t.U16, span, "the length")
    return _update(a, ir.DsdUpdate.LENGTH, dsd, value, site)


@comptime_builtin("set_dsd_stride", 2)
def known_stride(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return a known DSD with another stride."""
    dsd, span = _expect_dsd(args[0], site, (t.MEM1D_DSD,)), site.argument_spans[1]
    assert isinstance(dsd, Dsd)
    number = conversions.integer(args[1], span, "the stride")
    stride = conversions.coerce_scalar(number, t.I16, span, "the stride")
    warn_of_stride(program_of(site, module), stride, span)
    return replace(dsd, stride=stride, span=site.span)


@runtime_builtin("set_dsd_stride", 2)
def set_dsd_stride(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return a DSD with another stride."""
    dsd, span = _expect_dsd(args[0], site, (t.MEM1D_DSD,)), site.argument_spans[1]
    value = field_expression(a, args[1], t.I16, span, "the stride")
    if isinstance(args[1], Scalar):
        warn_of_stride(a.instance, args[1], span)
    return _update(a, ir.DsdUpdate.STRIDE, dsd, value, site)


def _size_argument(site: Site, args: Sequence[Value]) -> int:
    type_ = rules.expect_type(args[2], site.argument_spans[2])
    if t.scalar_type(type_) is None or t.num_bytes(type_) not in _ELEMENT_BYTES:
        fail(
            "type-mismatch",
            f"an offset counts elements of 16 or 32 bits, `{type_}` is not such a type",
            site.argument_spans[2],
            help="write the type of the elements, as `f32`",
        )
    return t.num_bytes(type_)


@comptime_builtin("increment_dsd_offset", 3)
def known_offset(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return a known DSD that begins some elements further."""
    dsd, span = _expect_dsd(args[0], site, _MEMORY), site.argument_spans[1]
    assert isinstance(dsd, Dsd)
    assert dsd.base is not None
    skip = conversions.forced_integer(args[1], span, "the offset") * _size_argument(site, args)
    base = replace(dsd.base, offset=dsd.base.offset + skip, array=dsd.base.reach)
    return replace(dsd, base=base, span=site.span)


@runtime_builtin("increment_dsd_offset", 3)
def increment_dsd_offset(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return a DSD that begins some elements further."""
    dsd, span = _expect_dsd(args[0], site, _MEMORY), site.argument_spans[1]
    value = field_expression(a, args[1], t.I16, span, "the offset")
    return _update(a, ir.DsdUpdate.ADVANCE, dsd, value, site, size=_size_argument(site, args))

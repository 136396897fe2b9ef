"""Builtins of the `layout` block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import comptime_builtin
from onewafer.csl.sema.layout.context import NO_PARAMS, LayoutContext, TileCode
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.session.grouping import evaluator
from onewafer.csl.sema.values import (
    VOID_VALUE,
    Scalar,
    Struct,
    Text,
    Value,
    conversions,
    force,
    force_all,
    force_arrays,
    halves,
    truth,
    type_of,
)
from onewafer.diagnostics import Annotation
from onewafer.image import Export, ScalarType, SymbolKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span

MAX_ARGUMENTS = 15
"""Scalar arguments of a function that the host launches."""


def _layout(module: Module) -> LayoutContext:
    context = module.context
    assert isinstance(context, LayoutContext)
    return context


@comptime_builtin("set_rectangle", 2, context=Where.LAYOUT)
def set_rectangle(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Fix the size of the program."""
    spans = site.argument_spans
    width = conversions.forced_integer(args[0], spans[0], "the width")
    height = conversions.forced_integer(args[1], spans[1], "the height")
    _layout(module).set_rectangle(width, height, site.span)
    return VOID_VALUE


def _pe(layout: LayoutContext, site: Site, args: Sequence[Value]) -> tuple[Scalar, Scalar]:
    x = conversions.integer(args[0], site.argument_spans[0], "the x coordinate")
    y = conversions.integer(args[1], site.argument_spans[1], "the y coordinate")
    layout.check_pe(int(x.value), int(y.value), site.span)
    for value, size in ((x, layout.width), (y, layout.height)):
        if value.taint is not None:
            conversions.decide(value, range(size).__contains__, "PE", site.span)
    return x, y


def _carry_out(
    module: Module, x: Scalar, y: Scalar, effect: Callable[[int, int, tuple[int, ...]], None]
) -> None:
    """Apply an effect to PE (x, y), or record it for the PEs of a grouped loop."""
    recorder = module.session.recorder
    if recorder is None:
        effect(int(x.value), int(y.value), ())
        return
    column, row_of = evaluator(x), evaluator(y)
    recorder.add(lambda row: effect(int(column(row)), int(row_of(row)), row))


@comptime_builtin("set_tile_code", 2, 4, context=Where.LAYOUT, is_recordable=True)
def set_tile_code(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Assign a program to a PE."""
    layout = _layout(module)
    x, y = _pe(layout, site, args)
    if not args[2:]:
        _carry_out(module, x, y, lambda x, y, _: layout.set_own_tile(x, y, site.span))
        return VOID_VALUE
    path = args[2]
    if not isinstance(path, Text):
        fail("type-mismatch", "the file is given as a string", site.argument_spans[2])
    file = module.session.find_file(path.value, module.path, site.argument_spans[2])
    params = args[3] if args[3:] else NO_PARAMS
    if not isinstance(params, Struct):
        fail(
            "type-mismatch",
            f"params are given as a struct, this is of type `{type_of(params)}`",
            site.argument_spans[3],
            help="write `.{ .name = value }`",
        )
    if module.session.recorder is not None:
        params = force_arrays(params, "param", site.argument_spans[-1])

    def set_tile(x: int, y: int, row: tuple[int, ...]) -> None:
        layout.set_tile(x, y, TileCode(x, y, file, params, site.span, row), site.span)

    _carry_out(module, x, y, set_tile)
    return VOID_VALUE


def color_number(value: Value, span: Span) -> int:
    """Return the number of a color, or fail."""
    if type(value) is Scalar and value.type is t.COLOR:
        return int(force(value, "color", span))
    conversions.mismatch(value, t.COLOR, span, "a color")


@comptime_builtin("set_color_config", 4, context=Where.LAYOUT, is_recordable=True)
def set_color_config(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Configure one color at one PE."""
    layout = _layout(module)
    x, y = _pe(layout, site, args)
    color = color_number(args[2], site.argument_spans[2])
    config = args[3]
    if module.session.recorder is not None:
        config = force_all(config, "route", site.argument_spans[3])
    read = layout.read_color(color, config, site.span)
    _carry_out(module, x, y, lambda x, y, _: layout.set_color_config(x, y, color, read, site.span))
    return VOID_VALUE


@comptime_builtin("export_name", 2, 3, context=Where.LAYOUT)
def export_name(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Declare a name that the host may use."""
    layout = _layout(module)
    name = args[0]
    if not isinstance(name, Text):
        fail("type-mismatch", "the name is given as a string", site.argument_spans[0])
    if name.value in layout.exports:
        fail(
            "duplicate-declaration",
            f'the name "{name.value}" is exported twice',
            site.span,
            secondary=(Annotation(layout.export_spans[name.value], "exported here first"),),
        )
    type_ = rules.expect_type(args[1], site.argument_spans[1])
    layout.exports[name.value] = _export(name.value, type_, site, args, module.session.half)
    layout.export_spans[name.value] = site.span
    return VOID_VALUE


def _export(
    name: str, type_: t.Type, site: Site, args: Sequence[Value], half: t.FloatType
) -> Export:
    span = site.argument_spans[1]
    parameters = type_.parameters if isinstance(type_, t.FunctionType) else ()
    pointee = type_.pointee if isinstance(type_, t.PointerType) else type_
    for part in (*filter(None, parameters), pointee):
        halves.refuse_other(part, half, span)
    match type_:
        case t.FunctionType(parameters, t.VOID, False):
            scalars = [t.scalar_type(p) for p in parameters if p is not None and not t.is_narrow(p)]
            known = tuple(s for s in scalars if s is not None)
            if len(known) != len(parameters) or len(known) > MAX_ARGUMENTS:
                fail(
                    "type-mismatch",
                    f"a function for the host takes at most {MAX_ARGUMENTS} numbers, each of 8, 16 "
                    "or 32 bits",
                    span,
                    help="pass the two halves of one of 64 bits, or copy it to a variable",
                )
            return Export(name, SymbolKind.FUNCTION, None, is_mutable=False, argument_types=known)
        case t.PointerType(pointee):
            element_type = pointee.element if isinstance(pointee, t.ArrayType) else pointee
        case t.ArrayType(_, element_type):
            pass
        case _:
            element_type = type_
    element = _host_element(element_type, half)
    if element is None or t.is_narrow(element_type):
        fail("type-mismatch", f"`{type_}` cannot be exported to the host", span)
    if not args[2:]:
        fail(
            "wrong-argument-count",
            "`@export_name` of a variable says whether the host may write to it",
            site.span,
            help=f'write `@export_name("{name}", {type_}, true);`',
        )
    is_mutable = truth(args[2], site.argument_spans[2])
    return Export(name, SymbolKind.VARIABLE, element, is_mutable)


def _host_element(type_: t.Type, half: t.FloatType) -> ScalarType | None:
    """Return the element type that the host sees: words or bytes instead of structs."""
    if not isinstance(type_, t.StructType):
        return t.host_type(type_)
    if not t.can_vary(type_, half) or not t.num_bytes(type_):
        return None
    units = (ScalarType.U32, ScalarType.U16, ScalarType.U8)
    return next(unit for unit in units if t.num_bytes(type_) % unit.num_bytes == 0)

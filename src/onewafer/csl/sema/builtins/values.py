"""Builtins that compute values: numbers, types, structs, arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import MANY, comptime_builtin
from onewafer.csl.sema.values import (
    FALSE,
    TRUE,
    VOID_VALUE,
    Array,
    ModuleValue,
    Pointer,
    Range,
    Scalar,
    Struct,
    Text,
    TypeValue,
    Value,
    boolean,
    conversions,
    show,
    truth,
    type_of,
)
from onewafer.diagnostics import Annotation, Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span


@comptime_builtin("import_module", 1, 2)
def import_module(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Make an instance of another file."""
    path = text(args[0], site.argument_spans[0], "the path")
    params = args[1] if len(args) > 1 else Struct(None, ())
    module.session.note_effect()
    return ModuleValue(module.context.import_module(module, path, params, site.span))


# --- numbers and arrays --------------------------------------------------------------------------


@comptime_builtin("as", 2)
def as_(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Convert a number."""
    type_ = rules.expect_type(args[0], site.argument_spans[0])
    return conversions.convert(type_, args[1], site.span)


@comptime_builtin("bitcast", 2)
def bitcast(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Reinterpret the bits of a number."""
    type_ = rules.expect_type(args[0], site.argument_spans[0])
    value = args[1]
    if isinstance(value, Struct) and isinstance(value.type, t.PackedType):
        fail(
            "not-comptime",
            "an address in a packed struct is a number at run time only",
            site.span,
            help="write the `@bitcast` in a function or task",
        )
    if not isinstance(value, Scalar):
        fail("type-mismatch", f"`@bitcast` of a `{type_of(value)}` has no meaning", site.span)
    if isinstance(type_, t.PointerType):
        fail(
            "unsupported-feature",
            "pointers to fixed addresses exist at run time only",
            site.span,
            help="write the `@bitcast` in a function or task, where the pointer is used",
        )
    return conversions.bitcast(type_, value, site.span)


@comptime_builtin("ptrcast", 2)
def ptrcast(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Change the type of a pointer."""
    type_ = pointer_type(args[0], site.argument_spans[0])
    pointer = rules.expect_pointer(args[1], site.argument_spans[1])
    check_pointees(pointer.type, type_, site.span)
    return Pointer(type_, pointer.variable, pointer.offset, pointer.reach)


def pointer_type(value: Value, span: Span) -> t.PointerType:
    """Return a pointer type, or fail."""
    type_ = rules.expect_type(value, span)
    if not isinstance(type_, t.PointerType):
        fail("type-mismatch", f"`@ptrcast` makes pointers, not `{type_}`", span)
    return type_


def check_pointees(source: t.PointerType, target: t.PointerType, span: Span) -> None:
    """Fail if integers that do not fill their bytes would be accessed as another type."""
    held, wanted = t.element(source.pointee), t.element(target.pointee)
    if held == wanted or t.ANYOPAQUE in (held, wanted):
        return
    for one in (wanted, held):
        if t.is_narrow(one):
            fail(
                "type-mismatch",
                f"`@ptrcast` from `{source}` to `{target}`: a `{one}` in memory is extended to "
                f"{8 * t.num_bytes(one)} bits, and what is of another type is not",
                span,
                help=f"keep the pointer one to `{one}`, and `@bitcast` what it leads to",
            )


@comptime_builtin("zeros", 1)
def zeros(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the zero value of a type."""
    type_ = rules.expect_type(args[0], site.argument_spans[0])
    return conversions.zero(type_, site.span)


@comptime_builtin("constants", 2)
def constants(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return an array filled with one value."""
    type_ = rules.expect_type(args[0], site.argument_spans[0])
    if not isinstance(type_, t.ArrayType):
        return conversions.coerce(args[1], type_, site.argument_spans[1])
    element = conversions.coerce(args[1], type_.element, site.argument_spans[1])
    return Array(type_, [element] * type_.num_elements)


@comptime_builtin("range", 2, 4)
def range_(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return an iterable over integers, the end excluded."""
    type_, start, stop, step = range_bounds(site, args)

    def bound(value: Value, what: str) -> Value:
        return conversions.coerce(value, type_, site.span, what)

    # A range over unsigned numbers may go down, too: its step is a number of no such type.
    is_unsigned = isinstance(type_, t.IntegerType) and not type_.is_signed
    counts_down = (
        is_unsigned and isinstance(step, Scalar) and step.type is t.COMPTIME_INT and step.value < 0
    )
    step = step if counts_down else bound(step, "the step")
    result = Range(type_, bound(start, "the start"), bound(stop, "the end"), step)
    if isinstance(result.step, Scalar) and result.step.value == 0:
        rules.endless_range(site.span)
    return result


def range_bounds(site: Site, args: Sequence[Value]) -> tuple[t.Type, Value, Value, Value]:
    """Return element type, start, stop and step of a `@range`, not coerced."""
    type_ = rules.expect_type(args[0], site.argument_spans[0])
    if not t.is_integer(type_):
        fail("type-mismatch", f"a range is over integers, not over `{type_}`", site.span)
    zero, one = Scalar(t.COMPTIME_INT, 0), Scalar(t.COMPTIME_INT, 1)
    match args:
        case (_, stop):
            return type_, zero, stop, one
        case (_, start, stop, step):
            return type_, start, stop, step
        case _:
            fail(
                "wrong-argument-count",
                "`@range` takes a type and an end, or a type, start, end and step",
                site.span,
            )


def range_part(site: Site, args: Sequence[Value]) -> Value:
    """Return start, stop or step of a range, by the name of the builtin."""
    (value,) = args
    if not isinstance(value, Range):
        span = site.argument_spans[0]
        fail("type-mismatch", f"`@{site.name}` takes a range, this is a `{type_of(value)}`", span)
    return {"start": value.start, "stop": value.stop, "step": value.step}[site.name[6:]]


def _register_range_part(name: str) -> None:
    @comptime_builtin(name, 1)
    def part(site: Site, _module: Module, args: Sequence[Value]) -> Value:
        return range_part(site, args)

    assert part is not None


RANGE_PARTS: Final = ("range_start", "range_stop", "range_step")
for _name in RANGE_PARTS:
    _register_range_part(_name)


# --- types and structs ---------------------------------------------------------------------------


@comptime_builtin("type_of", 1, operands=(0,))
def type_of_(_site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the type of a value."""
    return TypeValue(type_of(args[0]))


@comptime_builtin("is_same_type", 2)
def is_same_type(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Tell whether two types are the same."""
    left, right = (
        rules.expect_type(value, span)
        for value, span in zip(args, site.argument_spans, strict=True)
    )
    return boolean(left == right)


@comptime_builtin("is_comptime", 0, 1, operands=(0,))
def is_comptime_(_site: Site, _module: Module, _args: Sequence[Value]) -> Value:
    """Tell whether this (or, our own form, a value) is evaluated while compiling."""
    return TRUE


@comptime_builtin("fp16", 0)
def fp16(_site: Site, module: Module, _args: Sequence[Value]) -> Value:
    """Return the 16-bit float type of this compilation."""
    return TypeValue(module.session.half)


@comptime_builtin("element_type", 1)
def element_type(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the element type of an array type."""
    return TypeValue(_array(args[0], site.argument_spans[0]).element)


@comptime_builtin("element_count", 1)
def element_count(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the number of elements of an array type."""
    return Scalar(t.U32, _array(args[0], site.argument_spans[0]).num_elements)


@comptime_builtin("rank", 1)
def rank(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the number of dimensions of an array type."""
    return Scalar(t.U16, len(_array(args[0], site.argument_spans[0]).dimensions))


@comptime_builtin("dimensions", 1)
def dimensions(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the dimensions of an array type as an array."""
    sizes = _array(args[0], site.argument_spans[0]).dimensions
    elements: list[Value] = [Scalar(t.U32, size) for size in sizes]
    return Array(t.ArrayType((len(sizes),), t.U32), elements)


def _array(value: Value, span: Span) -> t.ArrayType:
    type_ = rules.expect_type(value, span)
    if not isinstance(type_, t.ArrayType):
        fail("type-mismatch", f"an array type is expected, this is `{type_}`", span)
    return type_


@comptime_builtin("has_field", 2, operands=(0,))
def has_field(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Tell whether a struct has a field."""
    name = text(args[1], site.argument_spans[1], "the name")
    match args[0]:
        case Scalar(t.PackedType(names)):
            return boolean(name in names)
        case Struct() as value:
            return boolean(value.get(name) is not None)
        case _:
            return FALSE


@comptime_builtin("field", 2)
def field(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return a field by name."""
    name = text(args[1], site.argument_spans[1], "the name")
    return rules.member(args[0], name, site.span)


@comptime_builtin("concat_structs", 2)
def concat_structs(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the union of two structs, or two tuples one after the other."""
    match args:
        case (Struct(None, ()), Struct() as only) | (Struct() as only, Struct(None, ())):
            return only
        case (Struct(None, first), Struct(None, second)):
            return Struct(None, first + second)
        case (Struct(names, first), Struct(others, second)) if names and others:
            for name in others:
                if name in names:
                    fail("duplicate-declaration", f"both structs have a field `{name}`", site.span)
            return Struct(names + others, first + second)
        case (Struct(names, fields), Struct(others, more)) if not fields or not more:
            return args[1] if not fields else args[0]
        case _:
            left, right = type_of(args[0]), type_of(args[1])
            fail(
                "type-mismatch",
                f"`@concat_structs` joins two structs or two tuples, "
                f"these are `{left}` and `{right}`",
                site.span,
            )


def text(value: Value, span: Span, what: str) -> str:
    """Return a comptime string in printable form, or fail."""
    return string_of(value, span, what).shown


def string_of(value: Value, span: Span, what: str) -> Text:
    """Return a comptime string, or fail."""
    if isinstance(value, Text):
        return value
    fail("type-mismatch", f"{what} is a string, this is of type `{type_of(value)}`", span)


@comptime_builtin("strcat", 0, MANY)
def strcat(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Join strings."""
    pairs = zip(args, site.argument_spans, strict=True)
    return Text.of(b"".join(string_of(value, span, "an argument").octets for value, span in pairs))


@comptime_builtin("strlen", 1)
def strlen(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the number of bytes of a string."""
    string = string_of(args[0], site.argument_spans[0], "the argument")
    return Scalar(t.COMPTIME_INT, len(string.octets))


@comptime_builtin("get_array", 1)
def get_array(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the bytes of a string."""
    octets = string_of(args[0], site.argument_spans[0], "the argument").octets
    type_ = t.ArrayType((len(octets),), t.U8)
    return Array(type_, [Scalar(t.U8, octet) for octet in octets])


@comptime_builtin("get_string_from_byte", 1)
def get_string_from_byte(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the string of one byte."""
    number = conversions.forced_integer(args[0], site.argument_spans[0], "the byte")
    if not t.U8.minimum <= number <= t.U8.maximum:
        fail(
            "value-out-of-range",
            f"a byte is a number from {t.U8.minimum} to {t.U8.maximum}, not {number}",
            site.argument_spans[0],
        )
    return Text.of(bytes((number,)))


# --- asking and asserting ------------------------------------------------------------------------


@comptime_builtin("is_arch", 1)
def is_arch(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Tell whether the program is compiled for a machine, or for one of its generation."""
    name = text(args[0], site.argument_spans[0], "the architecture")
    machine = module.session.architecture
    return boolean(name in (machine.name, machine.generation))


@comptime_builtin("get_rectangle", 0)
def get_rectangle(site: Site, module: Module, _args: Sequence[Value]) -> Value:
    """Return the sizes of program and fabric."""
    layout = module.session.layout
    if layout is None or not layout.has_rectangle:
        fail("missing-rectangle", "the rectangle is not set yet", site.span)
    options, machine = module.session.options, module.session.architecture

    def size(width: int, height: int) -> Struct:
        return Struct(("width", "height"), (Scalar(t.U16, width), Scalar(t.U16, height)))

    whole = size(layout.width, layout.height)
    fabric = size(
        options.fabric_width or machine.fabric_width, options.fabric_height or machine.fabric_height
    )
    offsets = size(options.offset_x, options.offset_y)
    return Struct(("width", "height", "fabric", "offsets"), (*whole.fields, fabric, offsets))


@comptime_builtin("comptime_assert", 1, 2)
def comptime_assert(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Stop the compilation unless a condition holds."""
    return _assert(site, args, otherwise="a `@comptime_assert` does not hold")


@comptime_builtin("assert", 1, 2)
def assert_(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Stop the compilation unless a condition holds: in code that runs while compiling."""
    return _assert(
        site, args, otherwise="an `@assert` that is evaluated while compiling does not hold"
    )


def _assert(site: Site, args: Sequence[Value], *, otherwise: str) -> Value:
    """Fail unless the first argument holds, with the second as the message if there is one."""
    if not truth(args[0], site.argument_spans[0], site.name):
        message = text(args[1], site.argument_spans[1], "the message") if args[1:] else otherwise
        fail("comptime-assert", message, site.span)
    return VOID_VALUE


@comptime_builtin("comptime_print", 1, MANY)
def comptime_print(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Show values while compiling."""
    module.session.note_effect()
    shown = " ".join(a.shown if isinstance(a, Text) else show(a) for a in args)
    module.session.sink.report(
        Diagnostic("comptime-print", shown, Annotation(site.span), severity=Severity.NOTE)
    )
    return VOID_VALUE


# --- what types are, for `<types>` ---------------------------------------------------------------


@comptime_builtin("kind_of_type", 1, is_internal=True)
def kind_of_type(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the kind of a type as a word."""
    match rules.expect_type(args[0], site.argument_spans[0]):
        case t.IntegerType() as type_:
            return Text("signed" if type_.is_signed else "unsigned")
        case t.FloatType():
            return Text("float")
        case type_ if type_ in t.DSDS:
            return Text("dsd")
        case type_ if type_ in t.DSRS:
            return Text("dsr")
        case _:
            return Text("other")


@comptime_builtin("bits_of_type", 1, is_internal=True)
def bits_of_type(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the bits of a value of a type."""
    span = site.argument_spans[0]
    return Scalar(t.COMPTIME_INT, _num_bits(rules.expect_type(args[0], span), span))


def _num_bits(type_: t.Type, span: Span) -> int:
    match type_:
        case t.IntegerType(bits) | t.FloatType(bits):
            return bits
        case t.PackedType():
            return t.packed_bits(type_)
        case t.ArrayType(_, element):
            return type_.num_elements * _num_bits(element, span)
        case _ if t.num_bytes(type_):
            return 8 * t.num_bytes(type_)
        case _:
            fail("type-mismatch", f"a value of type `{type_}` has no size at run time", span)


@comptime_builtin("alignment_of_type", 1, is_internal=True)
def alignment_of_type(site: Site, _module: Module, args: Sequence[Value]) -> Value:
    """Return the alignment of a variable of a type, in bytes."""
    type_ = rules.expect_type(args[0], site.argument_spans[0])
    return Scalar(t.COMPTIME_INT, t.alignment(type_))

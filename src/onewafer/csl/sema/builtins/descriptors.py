"""`@get_dsd`: the fields of a DSD."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.layout import color_number
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance.registry import comptime_builtin, runtime_builtin
from onewafer.csl.sema.modules.instance_context import find_instance
from onewafer.csl.sema.rules.loop_steps import ACCESS_FIELDS, strides_of
from onewafer.csl.sema.runtime.addresses import index_value
from onewafer.csl.sema.runtime.expressions import binary_values
from onewafer.csl.sema.values import (
    Dsd,
    Pointer,
    Runtime,
    Scalar,
    Struct,
    Value,
    conversions,
    force,
    is_comptime,
    not_comptime,
    type_of,
)
from onewafer.csl.sema.values.structs import read_choice, read_fields, read_flag, read_priority
from onewafer.csl.syntax.ast import BinaryOperator
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.image import MAX_MEM4D_LOOPS, DsdDescriptor, DsdKind, Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span


@dataclass(frozen=True, slots=True)
class _Fields:
    """A DSD as written: parts may be run-time values."""

    type: t.SimpleType
    descriptor: DsdDescriptor
    base: Value | None
    element: t.Type
    offset: Value
    """Elements."""
    extent: Value
    stride: Value
    takes_index: bool = False
    """Made with `.wavelet_index_offset`."""


_ZERO = Scalar(t.COMPTIME_INT, 0)
_ONE = Scalar(t.COMPTIME_INT, 1)


def _read(site: Site, instance: Instance, args: Sequence[Value]) -> _Fields:
    kind = rules.expect_type(args[0], site.argument_spans[0])
    span = site.argument_spans[1]
    match kind:
        case t.MEM1D_DSD:
            return _memory(args[1], span)
        case t.MEM4D_DSD:
            return _nested_memory(args[1], span)
        case t.CIRCBUF_DSD:
            return _circular(args[1], span)
        case t.FABIN_DSD:
            return _fabric_in(args[1], instance, span)
        case t.FABOUT_DSD:
            return _fabric_out(args[1], instance, span)
        case _:
            fail("type-mismatch", f"`{kind}` is not a kind of DSD", site.argument_spans[0],
                 help="use mem1d_dsd, mem4d_dsd, circbuf_dsd, fabin_dsd or fabout_dsd")  # fmt: skip


_ACCESS_HELP = "write `.tensor_access = |i|{n} -> a[i]`, or `.base_address` and `.extent`"
_MEMORY_FIELDS = ("tensor_access", *ACCESS_FIELDS, "wavelet_index_offset")


@dataclass(frozen=True, slots=True)
class _Memory:
    """The fields of a memory DSD, with `.tensor_access` taken apart."""

    base: Value
    element: t.Type
    offset: Value
    steps: tuple[Value, ...]
    """Steps of the loops, the innermost first; empty: the elements are contiguous."""
    extents: tuple[Value, ...]
    """Extents of the loops, the outermost first."""
    takes_index: bool


def _read_memory(value: Value, what: str, span: Span) -> _Memory:
    fields = read_fields(value, what, span, known=_MEMORY_FIELDS)
    takes_index = read_flag(fields, "wavelet_index_offset", span)
    if "tensor_access" in fields:
        fields = _access(fields, what, span)
    for name in ("base_address", "extent"):
        if name not in fields:
            fail(
                "missing-field",
                f"{what} needs `tensor_access`, or `base_address` and `extent`",
                span,
                help=_ACCESS_HELP,
            )
    base = fields["base_address"]
    steps = _loops(fields["stride"]) if "stride" in fields else ()
    extents = _loops(fields["extent"])
    offset = fields.get("offset", _ZERO)
    return _Memory(base, element_of(base, span), offset, steps, extents, takes_index)


def _access(fields: Mapping[str, Value], what: str, span: Span) -> Mapping[str, Value]:
    """Return the fields of `.tensor_access`, or fail if some stand beside it too."""
    access = fields["tensor_access"]
    if not isinstance(access, Struct):
        fail(
            "type-mismatch",
            f"`tensor_access` is an access expression, this is of type `{type_of(access)}`",
            span,
            help=_ACCESS_HELP,
        )
    if twice := [name for name in ACCESS_FIELDS if name in fields]:
        fail(
            "tensor-access",
            f"`.{twice[0]}` of {what} is given twice: by `.tensor_access`, and beside it",
            span,
            help=f"leave out one of the two, or use `{rules.CHANGING_BUILTINS[twice[0]]}`",
        )
    return read_fields(access, "`.tensor_access`", span, known=ACCESS_FIELDS)


def _loops(value: Value) -> tuple[Value, ...]:
    """Return one value a loop; a single loop needs no tuple."""
    return value.fields if isinstance(value, Struct) else (value,)


def _memory(value: Value, span: Span) -> _Fields:
    memory = _read_memory(value, "a mem1d_dsd", span)
    if len(memory.extents) != 1 or len(memory.steps) > 1:
        fail(
            "tensor-access",
            f"a mem1d_dsd has one induction variable, not "
            f"{max(len(memory.extents), len(memory.steps))}",
            span,
            help="use a mem4d_dsd",
        )
    stride = memory.steps[0] if memory.steps else _ONE
    parts = (memory.base, memory.element, memory.offset, memory.extents[0], stride)
    return _Fields(t.MEM1D_DSD, DsdDescriptor(DsdKind.MEM1D), *parts, memory.takes_index)


def _way_over(element: t.Type) -> str:
    """Return advice for numbers of a width that no operation has."""
    if not t.is_wide(element):
        return "declare the array with elements of a wider type"
    words = "go over their words: `@ptrcast(*[n]u32, &array)`"
    return (
        f"declare the array with elements of 64 bits, and {words}"
        if t.is_narrow(element)
        else words
    )


def element_of(base: Value, span: Span) -> t.Type:
    """Return the element type of a pointer's target, or fail."""
    match type_of(base):
        case t.PointerType(t.ArrayType(_, element)) | t.PointerType(element):
            if t.is_narrow(element) or t.is_wide(element):
                fail(
                    "type-mismatch",
                    f"a DSD goes over elements of 8, 16 or 32 bits, not over `{element}`",
                    span,
                    help=_way_over(element),
                )
            if isinstance(element, t.StructType):
                fail(
                    "type-mismatch",
                    f"a DSD goes over numbers, not over `{element}`",
                    span,
                    help="begin at a field, with a stride from one struct to the next: "
                    "`.base_address = &a[0].x, .stride = …`",
                )
            return element
        case other:
            fail(
                "type-mismatch",
                f"the base address is a pointer, this is of type `{other}`",
                span,
                help="take the address: `.base_address = &a`",
            )


def _nested_memory(value: Value, span: Span) -> _Fields:
    memory = _read_memory(value, "a mem4d_dsd", span)
    extents = tuple(conversions.forced_integer(e, span, "extent") for e in memory.extents)
    steps = tuple(conversions.forced_integer(s, span, "stride") for s in memory.steps)
    steps = steps or (1,) * len(extents)
    if not 1 <= len(extents) <= MAX_MEM4D_LOOPS or len(steps) != len(extents):
        fail(
            "tensor-access",
            f"a mem4d_dsd has one to {MAX_MEM4D_LOOPS} loops, each with an extent and a stride; "
            f"extents here: {len(extents)}, strides: {len(steps)}",
            span,
            help="write a tuple with one number a loop: `.extent = .{ n, m }`",
        )
    descriptor = DsdDescriptor(DsdKind.MEM4D, extents=extents, strides=strides_of(extents, steps))
    length = Scalar(t.COMPTIME_INT, prod(extents))
    parts = (memory.base, memory.element, memory.offset, length, _ZERO)
    return _Fields(t.MEM4D_DSD, descriptor, *parts, memory.takes_index)


def _circular(value: Value, span: Span) -> _Fields:
    """Read a circular buffer: two loops, of which the outer one has stride 0 (M124)."""
    fields = read_fields(
        value,
        "a circbuf_dsd",
        span,
        known=("base_address", "extent", "wraparound"),
        required=("base_address", "extent"),
    )
    base = fields["base_address"]
    element = element_of(base, span)
    size = _num_elements(base)
    if "wraparound" in fields:
        wraparound = conversions.forced_integer(fields["wraparound"], span, "wraparound")
    elif size is not None:
        wraparound = size
    else:
        fail(
            "missing-field",
            f"a circbuf_dsd at a `{type_of(base)}` needs `wraparound`: how many elements it has",
            span,
            help="add `.wraparound = n`, or give the address of the whole array",
        )
    most = t.U16.maximum if size is None else size
    if not 1 <= wraparound <= most:
        fail(
            "value-out-of-range",
            f"`wraparound` is {wraparound}, and the buffer has {most:,} elements",
            span,
            help=f"write a number from 1 to {most:,}, or leave it out for the whole array",
        )
    descriptor = DsdDescriptor(DsdKind.MEM4D, extents=(1, wraparound), strides=(0, 1))
    return _Fields(t.CIRCBUF_DSD, descriptor, base, element, _ZERO, fields["extent"], _ZERO)


def _num_elements(base: Value) -> int | None:
    """Return the number of elements of a pointer's target; None: unknown."""
    match type_of(base):
        case t.PointerType(t.ArrayType() as array):
            return array.num_elements
        case _:
            return None


def _queue(fields: Mapping[str, Value], instance: Instance, type_: t.SimpleType, span: Span) -> int:
    """Return the queue of a fabric DSD; −1: none is named, and `queue_plan` chooses one."""
    name = str(type_)
    if name not in fields:
        machine = instance.session.architecture
        if machine.queues_need_initialization:
            fail(
                "missing-field",
                f"a fabric DSD needs the field `{name}` on {machine.name}",
                span,
                help=f"add `.{name} = @get_{name}(n)`, and initialise the queue with the color of "
                "the DSD",
            )
        return -1
    value = fields[name]
    if isinstance(value, Scalar) and value.type is type_:
        return int(force(value, "queue", span))
    conversions.mismatch(value, type_, span, "a queue")


_SIMD_MODES = ("simd_off", "simd_max", "simd_32", "simd_64", "simd_32_or_64")


_UNPACKED = ("simd_off", "simd_max")
"""Modes in which a wavelet carries one value: the second is the default since SDK 2.10 (WSE-3)."""


def is_packed(fields: Mapping[str, Value], span: Span) -> bool:
    """Tell whether a wavelet carries two 16-bit values (M150).

    The mode is published; this project decided that the first value is the low half, as in memory,
    and that extents count values, as in programs that round them to an even number. A 64-bit mode
    means two wavelets at a time: each has one value if there is no room for a second one.
    """
    if "simd_mode" not in fields:
        return False
    modes = read_fields(fields["simd_mode"], "`.simd_mode`", span, known=_SIMD_MODES)
    packing = [mode for mode in modes if read_flag(modes, mode, span) and mode not in _UNPACKED]
    filled = [name for name in _UNPACKABLE if read_flag(fields, name, span)]
    if filled and packing == ["simd_32"]:
        fail(
            "type-mismatch",
            f"a wavelet of two values (`.simd_32`) has no room for {_UNPACKABLE[filled[0]]}",
            span,
            help=f"leave out `.{filled[0]}`, or `.simd_mode`",
        )
    return bool(packing) and not filled


_UNPACKABLE = {
    "control": "commands",
    "wavelet_index_offset": "an index",
    "control_transform": "the mark of a control wavelet",
}
"""Fields of a fabric DSD that use the high half of a wavelet, with their purpose."""


def _color(
    fields: Mapping[str, Value], instance: Instance, queue: tuple[bool, int], span: Span
) -> int:
    """Return the color of a fabric DSD: as given; −1: the one that its queue serves.

    A queue may serve another color later, and input queues do so on every machine (M135).
    """
    if "fabric_color" in fields:
        return color_number(fields["fabric_color"], span)
    is_input, number = queue
    if instance.session.architecture.queues_need_initialization or (is_input and number >= 0):
        return -1
    instance.has_read_program = True
    bound = instance.queues.get(queue)
    if bound is None:
        fail(
            "missing-field",
            "the color of this DSD is not known: it has no `fabric_color`, "
            "and its queue no color so far",
            span,
            help="add `.fabric_color = …`, "
            "or write `@initialize_queue(queue, .{ .color = … });` in an earlier `comptime` block",
        )
    return bound[0]


def _fabric_in(value: Value, instance: Instance, span: Span) -> _Fields:
    fields = read_fields(
        value,
        "a fabin_dsd",
        span,
        known=(
            *("fabric_color", "extent", "input_queue", "simd_mode", "priority"),
            "control_transform",
        ),
        required=("extent",),
    )
    read_priority(fields, span)
    packs = is_packed(fields, span)
    queue = _queue(fields, instance, t.INPUT_QUEUE, span)
    color = _color(fields, instance, (True, queue), span)
    keeps_control = read_flag(fields, "control_transform", span)
    descriptor = DsdDescriptor(
        DsdKind.FABIN, color, queue, keeps_control=keeps_control, packs=packs
    )
    return _Fields(t.FABIN_DSD, descriptor, None, t.U32, _ZERO, fields["extent"], _ZERO)


def _fabric_out(value: Value, instance: Instance, span: Span) -> _Fields:
    fields = read_fields(
        value,
        "a fabout_dsd",
        span,
        known=(
            *("fabric_color", "extent", "output_queue", "control", "simd_mode"),
            *("wavelet_index_offset", "zero", "advance_switch", "control_transform"),
        ),
        required=("extent",),
    )
    packs = is_packed(fields, span)
    queue = _queue(fields, instance, t.OUTPUT_QUEUE, span)
    color = _color(fields, instance, (False, queue), span)
    is_control = read_flag(fields, "control", span)
    has_index = read_flag(fields, "wavelet_index_offset", span)
    if is_control and has_index:
        fail(
            "type-mismatch",
            "the high half of a control wavelet holds commands, and no index",
            span,
            help="leave out `.wavelet_index_offset`, or `.control`",
        )
    clears = -1
    if "zero" in fields:
        chosen = read_choice(fields["zero"], "`.zero`", _SOURCES, span)
        clears = _SOURCES.index(chosen) if chosen else -1
    descriptor = DsdDescriptor(
        DsdKind.FABOUT,
        color,
        queue,
        is_control,
        has_index=has_index,
        clears=clears,
        keeps_control=read_flag(fields, "control_transform", span),
        advances_switch=read_flag(fields, "advance_switch", span),
        packs=packs,
    )
    return _Fields(t.FABOUT_DSD, descriptor, None, t.U32, _ZERO, fields["extent"], _ZERO)


_SOURCES = ("first_source", "second_source")
"""The values that `.zero` may name."""


@comptime_builtin("get_dsd", 2)
def get_dsd(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return a DSD all of whose parts are known."""
    instance = program_of(site, module)
    fields, span = _read(site, instance, args), site.argument_spans[1]
    for part in (fields.extent, fields.stride, fields.offset):
        if not is_comptime(part):
            not_comptime(part, span)
    extent = conversions.coerce(fields.extent, t.U16, span, "the extent")
    stride = conversions.coerce(fields.stride, t.I16, span, "the stride")
    assert isinstance(extent, Scalar)
    assert isinstance(stride, Scalar)
    if fields.type is t.MEM1D_DSD:
        warn_of_stride(instance, stride, span)
    base = None
    if fields.base is not None:
        pointer = rules.expect_pointer(fields.base, span)
        skip = conversions.forced_integer(fields.offset, span, "offset of a DSD")
        offset = pointer.offset + skip * t.num_bytes(fields.element)
        base = Pointer(pointer.type, pointer.variable, offset, pointer.reach)
    return Dsd(fields.type, fields.descriptor, base, extent, stride, site.span, fields.takes_index)


def warn_of_stride(instance: Instance, stride: Scalar, span: Span) -> None:
    """Warn about a stride that does not fit into the real machine's field."""
    if conversions.decide(stride, lambda n: t.I8.minimum <= n <= t.I8.maximum, "stride", span):
        return
    instance.report(
        Fault(
            Diagnostic(
                "value-out-of-range",
                f"a mem1d_dsd of the real machine has a stride of 8 bits, this is {stride.value}",
                Annotation(span),
                severity=Severity.WARNING,
                help="use a mem4d_dsd, whose strides have 16 bits, or copy the elements together",
            )
        )
    )


def program_of(site: Site, module: Module) -> Instance:
    """Return the PE program of a builtin call, or fail."""
    instance = find_instance(module)
    if instance is None:
        fail(
            "wrong-context",
            f"`@{site.name}` cannot be used in the layout",
            site.span,
            help="DSDs belong in PE programs",
        )
    return instance


@runtime_builtin("get_dsd", 2)
def make_dsd(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return a DSD with run-time parts."""
    fields, span = _read(site, a.instance, args), site.argument_spans[1]
    if fields.takes_index:
        fail(
            "unsupported-feature",
            "`.wavelet_index_offset` is supported only in a DSD that is known at compile time",
            span,
            help="make the DSD a global `const`, and give operations the place as `.index`",
        )
    a.instance.check_queue(fields.descriptor, site.span)
    base: ir.Expression = ir.Immediate(ScalarType.U16, 0)
    if fields.base is not None:
        base = a.expression(fields.base, span)
        base = _advance(a, base, fields.offset, t.num_bytes(fields.element), span)
    extent = field_expression(a, fields.extent, t.U16, span, "the extent")
    stride = field_expression(a, fields.stride, t.I16, span, "the stride")
    if isinstance(fields.stride, Scalar) and fields.type is t.MEM1D_DSD:
        warn_of_stride(a.instance, fields.stride, span)
    made = ir.MakeDsd(fields.descriptor, base, extent, stride, site.span)
    return Runtime(fields.type, made, fields.descriptor)


def _advance(
    a: Analyzer, base: ir.Expression, offset: Value, size: int, span: Span
) -> ir.Expression:
    if isinstance(offset, Scalar) and offset.value == 0 and offset.taint is None:
        return base
    elements = Runtime(t.U16, index_value(a, offset, span))
    bytes_ = binary_values(a, BinaryOperator.MULTIPLY, elements, Scalar(t.U16, size), span)
    return a.binary(Opcode.ADD, t.U16, base, a.expression(bytes_, span))


def field_expression(
    a: Analyzer, value: Value, type_: t.IntegerType, span: Span, what: str
) -> ir.Expression:
    """Return a 16-bit field; run-time integers of any type are taken modulo 2¹⁶."""
    if isinstance(value, Runtime):
        held = t.scalar_type(type_)
        assert held is not None
        return index_value(a, value, span, held)
    return a.sized(value, type_, span, what)

"""DSD operations, `@dfilt` and `@map`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.completion import (
    loaded_config,
    note_synchronous,
    read_config,
    with_loaded_ids,
)
from onewafer.csl.sema.builtins.operand_checks import Operand, check_operands, check_sources
from onewafer.csl.sema.builtins.registers import OPERAND_MODES
from onewafer.csl.sema.builtins.undefined import warn_of_undefined
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance.registry import runtime_builtin
from onewafer.csl.sema.runtime.addresses import index_value
from onewafer.csl.sema.runtime.maps import held_dsds
from onewafer.csl.sema.runtime.maps.dsr_faults import refuse_circular
from onewafer.csl.sema.runtime.maps.maps import emit_map
from onewafer.csl.sema.runtime.task_ids import with_known_ids
from onewafer.csl.sema.values import (
    TRUE,
    VOID_VALUE,
    Dsd,
    Dsr,
    FunctionValue,
    Pointer,
    Runtime,
    Scalar,
    Struct,
    Value,
    conversions,
    type_of,
)
from onewafer.csl.sema.values.structs import read_flag
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.image import DSD_OPERATIONS, DsdOperation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.diagnostics import Span
    from onewafer.image import DsdDescriptor, DsdOperationInfo

_ON_SCALARS: Final = frozenset(
    (
        DsdOperation.FSCALEH,
        DsdOperation.FSCALES,
        DsdOperation.FH2XP16,
        DsdOperation.FS2XP16,
        DsdOperation.FNORMH,
        DsdOperation.FNORMS,
    )
)
"""Operations that the SDK also has from a scalar to a pointer."""
_CARRY: Final = "where the carry into the first element comes from: here it is 0"
_SIGNIFICAND: Final = (
    "what a normalized value is: here it is the significand, in [1, 2), with the sign of the "
    "value; zeros, infinities and NaN stay as they are"
)
_UNDEFINED: Final = {
    DsdOperation.ADDC16: (_CARRY, "add in 32 bits: `@as(u32, a) + b`"),
    DsdOperation.FNORMH: (_SIGNIFICAND, "take the bits apart: `@bitcast(u16, x)`"),
    DsdOperation.FNORMS: (_SIGNIFICAND, "take the bits apart: `@bitcast(u32, x)`"),
}
"""Operations that no public text documents (M140, M141), and what to write instead."""
_Parts = tuple[
    DsdOperation,
    ir.DsdOperand | None,
    ir.DsdOperand | None,
    ir.DsdOperand | None,
    ir.Expression | None,
]
"""A `DsdStatement` in the making: the operation, its operands, and its scalar."""
_ONLY_DESTINATIONS: Final = (t.DSR_DEST, t.DSR_FIFO_DEST)
_ELEMENTS: Final = {"u16": t.U16, "u32": t.U32, "f16": t.F16, "f32": t.F32}
"""Element types; `f16` gives the size, and stands for the 16-bit float of the program."""


def _register(operation: DsdOperation) -> None:
    info = DSD_OPERATIONS[operation]
    operands = 1 + (info.src0 is not None) + (info.src1 is not None) + (info.scalar is not None)

    @runtime_builtin(operation.name.lower(), operands, operands + 1)
    def emit(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
        return _operation(site, a, args, operation, info)

    assert emit is not None


for _operation_name in DsdOperation:
    _register(_operation_name)


def _operation(
    site: Site,
    a: Analyzer,
    args: Sequence[Value],
    operation: DsdOperation,
    info: DsdOperationInfo,
) -> Value:
    args, index = _split_index(site, args, info)
    for value, span in zip(args, site.argument_spans, strict=False):
        refuse_circular(value, span)
    remaining = list(zip(args, site.argument_spans, strict=True))
    dest = _destination(a, *remaining.pop(0), info.dest)
    src0 = _source(a, *remaining.pop(0), info.src0) if info.src0 is not None else None
    if info.src1 is not None and type_of(remaining[0][0]) in _ONLY_DESTINATIONS:
        fail(
            "type-mismatch",
            f"a {type_of(remaining[0][0])} cannot be the last source of an operation",
            remaining[0][1],
            help="load the DSD into a `dsr_src1` too: `@load_to_dsr(r, d)`",
        )
    src1 = _source(a, *remaining.pop(0), info.src1) if info.src1 is not None else None
    scalar = None
    if info.scalar is not None:
        value, span = remaining.pop(0)
        scalar = _scalar(a, value, span, info.scalar)
    operands = (args[0], *args[1 : 1 + (src0 is not None) + (src1 is not None)])
    _check_operands(site, a, args, info)
    dest, src0, src1 = _shift(a, site, (dest, src0, src1), operands, index)
    is_vector = any(type_of(v) in t.DSRS or type_of(v) in t.DSDS for v in operands)
    if not is_vector and operation not in _ON_SCALARS:
        fail(
            "type-mismatch",
            f"`@{site.name}` needs a DSD or DSR among its operands",
            site.span,
            help="use ordinary arithmetic for single values",
        )
    if not remaining and loaded_config(a, operands, site.span) is not None:
        remaining.append((Struct((), ()), site.span))
    _check_cleared(site, operands, info)
    check_sources(site, a, operands)
    _warn_of_undefined(a, site, operation)
    parts = operation, dest, src0, src1, scalar
    may_end_early = any(isinstance(v, Dsr) or type_of(v) is t.FIFO for v in operands)
    return _emit(site, a, parts, remaining, operands, has_result=may_end_early)


def _emit(
    site: Site,
    a: Analyzer,
    parts: _Parts,
    settings: Sequence[tuple[Value, Span]],
    operands: Sequence[Value],
    *,
    has_result: bool = False,
) -> Value:
    """Emit an operation for each possible task of its settings; return its result."""
    span = settings[0][1] if settings else site.span
    results: list[ir.Local] = []

    def make(known: Value) -> tuple[ir.Statement, ...]:
        config = read_config(a, known, span, operands) if settings else None
        if config is None:
            note_synchronous(a, operands, span)
        if config is None and has_result:
            results.append(a.new_local("result", t.BOOL, is_const=True).local)
        return (ir.DsdStatement(*parts, config, site.span, *results),)

    given = with_loaded_ids(a, settings[0][0], operands) if settings else VOID_VALUE
    for statement in with_known_ids(a, given, f"`@{site.name}`", span, make):
        a.emit(statement)
    # Nothing but a FIFO ends a synchronous operation early.
    return Runtime(t.BOOL, ir.ReadLocal(results[0])) if results else TRUE


def _warn_of_undefined(a: Analyzer, site: Site, operation: DsdOperation) -> None:
    """Warn of an operation whose result is not defined by public text."""
    if operation in _UNDEFINED:
        unknown, instead = _UNDEFINED[operation]
        warn_of_undefined(a.instance, f"`@{site.name}`", site.span, unknown, instead)


def _check_cleared(site: Site, operands: Sequence[Value], info: DsdOperationInfo) -> None:
    """Fail if the destination clears an absent source, or one that is not in memory."""
    descriptor = _descriptor_of(operands[0])
    if descriptor is None or descriptor.clears < 0:
        return
    # One source is the second one of the machine.
    sources = {0: operands[1], 1: operands[2]} if info.src0 is not None else {1: operands[1]}
    source = sources.get(descriptor.clears)
    if source is None:
        fail(
            "type-mismatch",
            f"`@{site.name}` has one source, which is the second one for `.zero`",
            site.span,
            help="write `.zero = .{ .second_source = true }` in the fabout_dsd",
        )
    if not isinstance(source, Dsr) and type_of(source) not in (t.MEM1D_DSD, t.MEM4D_DSD):
        fail(
            "type-mismatch",
            f"`.zero` clears the memory of a source, this one is of type `{type_of(source)}`",
            site.argument_spans[1 + descriptor.clears if info.src0 is not None else 1],
            help="use a mem DSD, or a fabout_dsd without `.zero`",
        )


def _descriptor_of(value: Value) -> DsdDescriptor | None:
    return value.descriptor if isinstance(value, Dsd | Runtime) else None


def _check_operands(site: Site, a: Analyzer, args: Sequence[Value], info: DsdOperationInfo) -> None:
    remaining = iter(zip(args, site.argument_spans, strict=True))

    def operand(element: str | None) -> Operand | None:
        if element is None:
            return None
        value, span = next(remaining)
        return Operand(value, span, t.num_bytes(_ELEMENTS[element]))

    dest = operand(info.dest)
    assert dest is not None
    check_operands(site, a, dest, operand(info.src0), operand(info.src1))


def _destination(a: Analyzer, value: Value, span: Span, element: str) -> ir.DsdOperand:
    match value:
        case Dsr(t.DSR_DEST | t.DSR_SRC0 | t.DSR_FIFO_DEST as file, index):
            return ir.Dsr(OPERAND_MODES[file], index)
        case Dsd() | Runtime() if value.type in t.DSDS and value.type is not t.FABIN_DSD:
            return ir.Vector(a.expression(value, span))
        case Pointer() | Runtime(t.PointerType()):
            pointer = value.type
            assert isinstance(pointer, t.PointerType)
            if pointer.is_const:
                fail("not-assignable", "the destination is constant", span)
            if t.num_bits(pointer.pointee) != t.num_bits(_ELEMENTS[element]):
                fail(
                    "type-mismatch",
                    f"the destination holds a `{element}`, this points to a `{pointer.pointee}`",
                    span,
                )
            return ir.ScalarDestination(a.expression(value, span))
        case _:
            fail(
                "type-mismatch",
                f"a destination is a mem or fabout DSD, a dsr_dest or dsr_src0, or a pointer, "
                f"this is of type `{type_of(value)}`",
                span,
            )


def _source(a: Analyzer, value: Value, span: Span, element: str) -> ir.DsdOperand:
    match value:
        case Dsr(type_, index) if type_ in OPERAND_MODES:
            return ir.Dsr(OPERAND_MODES[type_], index)
        case Dsd() | Runtime() if value.type in t.DSDS and value.type is not t.FABOUT_DSD:
            return ir.Vector(a.expression(value, span))
        case _ if type_of(value) in t.DSDS:
            fail("type-mismatch", "a fabout_dsd cannot be read", span)
        case _:
            return ir.Scalar(_scalar(a, value, span, element))


def _scalar(a: Analyzer, value: Value, span: Span, element: str) -> ir.Expression:
    """Return a scalar operand; `u16` and `u32` take any value of their width."""
    wanted = a.half if element == "f16" else _ELEMENTS[element]
    actual = type_of(value)
    is_word = isinstance(wanted, t.IntegerType) and t.scalar_type(actual) is not None
    if is_word and t.num_bytes(actual) == t.num_bytes(wanted):
        return a.expression(value, span)
    if isinstance(value, Scalar) and isinstance(wanted, t.IntegerType) and value.value < 0:
        signed = t.IntegerType(wanted.bits, is_signed=True)
        return a.sized(value, signed, span, "the scalar")
    if isinstance(actual, t.ArrayType):
        fail(
            "type-mismatch",
            f"the operand is a DSD or a scalar of type `{wanted}`, this is of type `{actual}`",
            span,
            help="make a DSD of the array: "
            "`@get_dsd(mem1d_dsd, .{ .tensor_access = |i|{n} -> array[i] })`",
        )
    return a.sized(value, wanted, span, "the scalar")


# --- dropping ------------------------------------------------------------------------------------


@runtime_builtin("dfilt", 2)
def dfilt(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Make an input queue drop data until a number of control wavelets arrived (M99)."""
    span, config_span = site.argument_spans
    dsd = held_dsds.dropped_by(a, args[0], span) if isinstance(args[0], Dsr) else args[0]
    if not isinstance(dsd, Dsd) or dsd.type is not t.FABIN_DSD:
        fail(
            "type-mismatch",
            f"`@dfilt` takes a fabin_dsd that is known at compile time, or a dsr_src1 that holds "
            f"one, this is of type `{type_of(args[0])}`",
            span,
            help="make the DSD a `const`; its `.extent` is the number of control wavelets",
        )
    for name in ("on_control", "index"):
        if isinstance(args[1], Struct) and args[1].get(name) is not None:
            fail("unknown-field", f"the configuration of `@dfilt` has no `.{name}`", config_span)
    settings = dict(args[1].items()) if isinstance(args[1], Struct) and args[1].names else {}
    if not read_flag(settings, "async", config_span):
        fail(
            "missing-field",
            "`@dfilt` is asynchronous",
            config_span,
            help="write `.{ .async = true }`, and what to `.activate` when it is over",
        )
    dropping = replace(dsd, descriptor=replace(dsd.descriptor, drops_data=True))
    source = ir.Vector(a.expression(dropping, span))
    parts = DsdOperation.MOV32, None, None, source, None
    return _emit(site, a, parts, [(args[1], config_span)], (args[0],))


# --- index ---------------------------------------------------------------------------------------

_INDEX_BYTES: Final = 2
"""`.index` counts 16-bit words, whatever the elements are."""


def _split_index(
    site: Site, args: Sequence[Value], info: DsdOperationInfo
) -> tuple[Sequence[Value], Value | None]:
    """Return the arguments without `.index`, the one setting that may be a run-time value."""
    num_operands = sum(x is not None for x in (info.dest, info.src0, info.src1, info.scalar))
    config = args[-1]
    if len(args) == num_operands or not isinstance(config, Struct):
        return args, None
    index = config.get("index")
    if index is None or config.names is None:
        return args, None
    kept = [(name, value) for name, value in config.items() if name != "index"]
    names, fields = tuple(name for name, _ in kept), tuple(value for _, value in kept)
    if not t.is_integer(type_of(index)):
        conversions.mismatch(index, t.U16, site.argument_spans[-1], "`.index`")
    return (*args[:-1], Struct(names, fields)), index


def _shift(
    a: Analyzer,
    site: Site,
    operands: tuple[ir.DsdOperand, ir.DsdOperand | None, ir.DsdOperand | None],
    values: Sequence[Value],
    index: Value | None,
) -> tuple[ir.DsdOperand, ir.DsdOperand | None, ir.DsdOperand | None]:
    """Apply `.index` to operands: memory DSDs are advanced, wavelets carry the index."""
    if index is None:
        return operands
    takes_index = [_takes_index(value) for value in values]
    if not any(takes_index):
        if any(isinstance(value, Dsr) for value in values):
            fail(
                "unsupported-feature",
                "the `.index` of an operation does not reach a DSD that is in a register here",
                site.argument_spans[-1],
                help="give the operation the DSD itself, or move it: `@increment_dsd_offset`",
            )
        _warn_of_index(a, site)
        return operands
    shift = index_value(a, index, site.argument_spans[-1])
    flags = iter(takes_index)
    dest, src0, src1 = (
        ir.Vector(
            _with_index(operand.dsd, shift, is_fabric=position == 0 and _is_fabric(values[0]))
        )
        if operand is not None and next(flags) and isinstance(operand, ir.Vector)
        else operand
        for position, operand in enumerate(operands)
    )
    assert dest is not None
    return dest, src0, src1


def _takes_index(value: Value) -> bool:
    """Tell whether a DSD was made with `.wavelet_index_offset`."""
    descriptor = _descriptor_of(value)
    has_index = descriptor is not None and descriptor.has_index
    return has_index or (isinstance(value, Dsd) and value.takes_index)


def _is_fabric(value: Value) -> bool:
    return type_of(value) is t.FABOUT_DSD


def _with_index(dsd: ir.Expression, index: ir.Expression, *, is_fabric: bool) -> ir.Expression:
    if is_fabric:
        return ir.UpdateDsd(ir.DsdUpdate.BASE, dsd, index)
    return ir.UpdateDsd(ir.DsdUpdate.ADVANCE, dsd, index, _INDEX_BYTES)


def _warn_of_index(a: Analyzer, site: Site) -> None:
    """Warn about an `.index` without an operand that uses it."""
    a.instance.report(
        Fault(
            Diagnostic(
                "unused-index",
                "no operand of this operation takes its `.index`",
                Annotation(site.argument_spans[-1]),
                severity=Severity.WARNING,
                help="make a DSD with `.wavelet_index_offset = true`, or leave out `.index`",
            )
        )
    )


# --- map -----------------------------------------------------------------------------------------

MAX_MAP_ARGUMENTS = 16


@runtime_builtin("map", 2, MAX_MAP_ARGUMENTS)
def map_(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Run a function for each element of DSDs."""
    function, *values = args
    if not isinstance(function, FunctionValue) or function.declaration.is_task:
        fail(
            "type-mismatch",
            f"`@map` runs a function, this is of type `{type_of(function)}`",
            site.argument_spans[0],
            help="write `@map(function, inputs…, output)`",
        )
    emit_map(a, function, values, site.argument_spans[1:], site.span)
    a.dsrs.forget_loads()
    return VOID_VALUE

"""DSD operations, `@dfilt`, `@map` and `@load_to_dsr`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema import operations
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.operand_checks import Operand, check_operands
from onewafer.csl.sema.builtins.registry import Where, comptime_builtin, runtime_builtin
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance import DsrState, InstanceContext
from onewafer.csl.sema.runtime import map_registers
from onewafer.csl.sema.runtime.addresses import index_value
from onewafer.csl.sema.runtime.analyzer import Analyzer
from onewafer.csl.sema.runtime.maps import emit_map
from onewafer.csl.sema.structs import read_fields, read_flag, read_priority
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
    force,
    force_all,
    is_comptime,
    not_comptime,
    type_of,
)
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.image import (
    DSD_OPERATIONS,
    NO_TASK,
    DsdConfig,
    DsdKind,
    DsdOperation,
    OperandMode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.csl.sema.builtins.registry import RuntimeHandler, Site
    from onewafer.csl.sema.instance import DsrKey
    from onewafer.csl.sema.modules import Module
    from onewafer.diagnostics import Span
    from onewafer.image import DsdDescriptor, DsdOperationInfo

_MODES: Final = {
    t.DSR_DEST: OperandMode.DSR_DEST,
    t.DSR_SRC0: OperandMode.DSR_SRC0,
    t.DSR_SRC1: OperandMode.DSR_SRC1,
}
_ON_SCALARS: Final = frozenset(
    (
        DsdOperation.FSCALEH,
        DsdOperation.FSCALES,
        DsdOperation.FH2XP16,
        DsdOperation.FS2XP16,
    )
)
"""Operations that the SDK also has from a scalar to a pointer."""
_ELEMENTS: Final = {"u16": t.U16, "u32": t.U32, "f16": t.F16, "f32": t.F32}


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
    _refuse_circular(site, args)
    remaining = list(zip(args, site.argument_spans, strict=True))
    dest = _destination(a, *remaining.pop(0), info.dest)
    src0 = _source(a, *remaining.pop(0), info.src0) if info.src0 is not None else None
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
    config = None
    if remaining:
        config = _config(a, *remaining.pop(0), operands)
    elif _loaded_config(a, operands, site.span) is not None:
        fail(
            "missing-field",
            "a DSR of this operation is loaded with `.async = true`, the operation is synchronous",
            site.span,
            help="write `.{ .async = true }` as its last argument",
        )
    _check_cleared(site, operands, info)
    parts = operation, dest, src0, src1, scalar, config, site.span
    if config is None and any(isinstance(v, Dsr) or type_of(v) is t.FIFO for v in operands):
        result = a.new_local("result", t.BOOL, is_const=True).local
        a.emit(ir.DsdStatement(*parts, result))
        return Runtime(t.BOOL, ir.ReadLocal(result))
    a.emit(ir.DsdStatement(*parts))
    return TRUE  # nothing but a FIFO ends a synchronous operation early


def _check_cleared(site: Site, operands: Sequence[Value], info: DsdOperationInfo) -> None:
    """Fail if the destination clears a source that is not in memory, or that is not there."""
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


def _refuse_circular(site: Site, args: Sequence[Value]) -> None:
    for value, span in zip(args, site.argument_spans, strict=False):
        if type_of(value) is t.CIRCBUF_DSD:
            fail(
                "type-mismatch",
                "a circbuf_dsd cannot be an operand itself, but a DSR that holds it",
                span,
                help="load it before: `@load_to_dsr_xdsr(dsr, @get_xdsr(n), circular)`",
            )


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
        case Dsr(t.DSR_DEST, index):
            return ir.Dsr(OperandMode.DSR_DEST, index)
        case Dsd() | Runtime() if value.type in t.DSDS and value.type is not t.FABIN_DSD:
            return ir.Vector(a.expression(value, span))
        case Pointer() | Runtime(t.PointerType()):
            pointer = value.type
            assert isinstance(pointer, t.PointerType)
            if pointer.is_const:
                fail("not-assignable", "the destination is constant", span)
            if t.num_bytes(pointer.pointee) != t.num_bytes(_ELEMENTS[element]):
                fail(
                    "type-mismatch",
                    f"the destination holds a `{element}`, this points to a `{pointer.pointee}`",
                    span,
                )
            return ir.ScalarDestination(a.expression(value, span))
        case _:
            fail(
                "type-mismatch",
                f"a destination is a mem or fabout DSD, a dsr_dest or a pointer, "
                f"this is of type `{type_of(value)}`",
                span,
            )


def _source(a: Analyzer, value: Value, span: Span, element: str) -> ir.DsdOperand:
    match value:
        case Dsr(type_, index) if type_ in _MODES:
            return ir.Dsr(_MODES[type_], index)
        case Dsd() | Runtime() if value.type in t.DSDS and value.type is not t.FABOUT_DSD:
            return ir.Vector(a.expression(value, span))
        case _ if type_of(value) in t.DSDS:
            fail("type-mismatch", "a fabout_dsd cannot be read", span)
        case _:
            return ir.Scalar(_scalar(a, value, span, element))


def _scalar(a: Analyzer, value: Value, span: Span, element: str) -> ir.Expression:
    """Return a scalar operand; `u16` and `u32` take any value of their width."""
    wanted = _ELEMENTS[element]
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
    """Let an input queue drop data until so many control wavelets came (M99)."""
    dsd, (span, config_span) = args[0], site.argument_spans
    if not isinstance(dsd, Dsd) or dsd.type is not t.FABIN_DSD:
        fail(
            "type-mismatch",
            f"`@dfilt` takes a fabin_dsd that is known at compile time, "
            f"this is of type `{type_of(dsd)}`",
            span,
            help="make the DSD a `const`; its `.extent` is the number of control wavelets",
        )
    for name in ("on_control", "index"):
        if isinstance(args[1], Struct) and args[1].get(name) is not None:
            fail("unknown-field", f"the configuration of `@dfilt` has no `.{name}`", config_span)
    config = _config(a, args[1], config_span, (dsd,))
    if config is None:
        fail(
            "missing-field",
            "`@dfilt` is asynchronous",
            config_span,
            help="write `.{ .async = true }`, and what to `.activate` when it is over",
        )
    dropping = replace(dsd, descriptor=replace(dsd.descriptor, drops_data=True))
    source = ir.Vector(a.expression(dropping, span))
    a.emit(ir.DsdStatement(DsdOperation.MOV32, None, None, source, None, config, site.span))
    return TRUE


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
        operations.mismatch(index, t.U16, site.argument_spans[-1], "`.index`")
    return (*args[:-1], Struct(names, fields)), index


def _shift(
    a: Analyzer,
    site: Site,
    operands: tuple[ir.DsdOperand, ir.DsdOperand | None, ir.DsdOperand | None],
    values: Sequence[Value],
    index: Value | None,
) -> tuple[ir.DsdOperand, ir.DsdOperand | None, ir.DsdOperand | None]:
    """Give `.index` to the operands that take one: memory begins later, wavelets carry it."""
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
        ir.Vector(_with_index(operand.dsd, shift, is_fabric=place == 0 and _is_fabric(values[0])))
        if operand is not None and next(flags) and isinstance(operand, ir.Vector)
        else operand
        for place, operand in enumerate(operands)
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
    """Warn of an `.index` that no operand takes."""
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


# --- configuration -------------------------------------------------------------------------------


def _descriptors(a: Analyzer, operands: Sequence[Value]) -> list[DsdDescriptor]:
    """Return the descriptors of the operands as far as they are known, the destination first."""
    found: list[DsdDescriptor] = []
    for value in operands:
        match value:
            case Dsd() | Runtime() if value.descriptor is not None:
                found.append(value.descriptor)
            case Dsr(type_, index):
                state = a.last_load((type_, index)) or a.instance.dsrs.get((type_, index))
                if state is not None and state.descriptor is not None:
                    found.append(state.descriptor)
            case _:
                pass
    return found


def _config(a: Analyzer, value: Value, span: Span, operands: Sequence[Value]) -> DsdConfig | None:
    if not isinstance(value, Struct) or not is_comptime(value):
        fail(
            "not-comptime",
            "the configuration of a DSD operation is a struct known at compile time",
            span,
            help="write `.{ .async = true, .activate = task_id }`",
        )
    fields = read_fields(
        value,
        "the configuration of a DSD operation",
        span,
        known=("async", "activate", "unblock", "priority", "ut_id", "on_control"),
    )
    loaded = _loaded_config(a, operands, span)
    is_async = read_flag(fields, "async", span)
    if not is_async:
        for name in ("activate", "unblock", "on_control"):
            if name in fields:
                fail("missing-field", f"`.{name}` needs `.async = true`", span)
        return None
    _check_input(a, fields, operands, span)
    microthread = _microthread(a, fields, operands, span)
    return _merged(_completion(a, fields, microthread, span), loaded)


def _merged(config: DsdConfig, loaded: DsdConfig | None) -> DsdConfig:
    """Return the settings of an operation, with those of its DSRs where it has none itself."""
    if loaded is not None and config.activate == NO_TASK and config.unblock == NO_TASK:
        config = replace(config, activate=loaded.activate, unblock=loaded.unblock)
    if loaded is not None and not config.ends_on_control:
        config = replace(
            config,
            ends_on_control=loaded.ends_on_control,
            control_activate=loaded.control_activate,
            control_unblock=loaded.control_unblock,
        )
    return config


def _check_input(
    a: Analyzer, fields: Mapping[str, Value], operands: Sequence[Value], span: Span
) -> None:
    """Fail if `.on_control` waits for control wavelets where no wavelets come."""
    vectors = [value for value in operands if isinstance(value, Dsr) or type_of(value) in t.DSDS]
    known = _descriptors(a, operands)
    is_known = len(known) == len(vectors)
    if "on_control" in fields and is_known and all(d.kind is not DsdKind.FABIN for d in known):
        fail(
            "missing-fabric-input",
            "`.on_control` waits for control wavelets, and no operand is a fabin_dsd",
            span,
            help="leave it out, or read from a fabin_dsd",
        )


def _loaded_config(a: Analyzer, operands: Sequence[Value], span: Span) -> DsdConfig | None:
    """Return the settings that the DSRs of an operation were loaded with."""
    for value in operands:
        if isinstance(value, Dsr):
            state = _state_of(a, value, span)
            if state is not None and state.config is not None:
                return state.config
    return None


def _state_of(a: Analyzer, dsr: Dsr, span: Span) -> DsrState | None:
    """Return what a DSR holds where an operation uses it, as far as that matters for it."""
    key = (dsr.type, dsr.index)
    if (known := a.last_load(key)) is not None:
        return known
    state = a.instance.dsrs.get(key)
    if state is None or state.config is None:
        return state
    if state.is_varied:
        raise _varied(dsr, span, state)
    chain = a.chain

    def complain() -> None:
        a.instance.chain, outer = chain, a.instance.chain
        a.instance.report(_varied(dsr, span, state))
        a.instance.chain = outer

    state.users.append(complain)
    return state


def _varied(dsr: Dsr, span: Span, state: DsrState) -> Fault:
    return Fault(
        Diagnostic(
            "unsupported-feature",
            f"{dsr.type} {dsr.index} is loaded with different completion settings, and which of "
            "them hold here is not known while compiling",
            Annotation(span),
            secondary=(Annotation(state.span, "some of them"),),
            help="load the DSR in the same block, before the operation",
        )
    )


def _completion(
    a: Analyzer, fields: Mapping[str, Value], microthread: int, span: Span
) -> DsdConfig:
    if "activate" in fields and "unblock" in fields:
        fail("type-mismatch", "an operation either activates or unblocks, not both", span)
    activate, unblock = NO_TASK, NO_TASK
    if "activate" in fields:
        activate = a.instance.local_task(fields["activate"], span)
    if "unblock" in fields:
        unblock = a.instance.channel_of(fields["unblock"], span)
    return DsdConfig(
        microthread,
        activate,
        unblock,
        read_priority(fields, span),
        *_control_actions(a, fields, span),
    )


_CONTROL_ACTIONS: Final = ("terminate", "activate", "unblock")


def _control_actions(a: Analyzer, fields: Mapping[str, Value], span: Span) -> tuple[bool, int, int]:
    """Return whether a control wavelet ends an operation, and what it activates and unblocks."""
    if "on_control" not in fields:
        return False, NO_TASK, NO_TASK
    chosen = read_fields(fields["on_control"], "`.on_control`", span, known=_CONTROL_ACTIONS)
    if len(chosen) != 1:
        fail(
            "type-mismatch",
            f"`.on_control` has one of {', '.join(_CONTROL_ACTIONS)}, not {len(chosen)}",
            span,
            help="write `.on_control = .{ .terminate = true }`, or `.{ .activate = task }`",
        )
    if "terminate" in chosen:
        return read_flag(chosen, "terminate", span), NO_TASK, NO_TASK
    if "activate" in chosen:
        return True, a.instance.local_task(chosen["activate"], span), NO_TASK
    return True, NO_TASK, a.instance.channel_of(chosen["unblock"], span)


def _microthread(
    a: Analyzer, fields: Mapping[str, Value], operands: Sequence[Value], span: Span
) -> int:
    """Return the microthread of an asynchronous operation."""
    machine = a.session.architecture
    if "ut_id" in fields:
        value = fields["ut_id"]
        if not isinstance(value, Scalar) or value.type is not t.UT_ID:
            operations.mismatch(value, t.UT_ID, span, "`ut_id`")
        return int(force(value, "ut_id", span))
    fabric = [d for d in _descriptors(a, operands) if d.kind in (DsdKind.FABIN, DsdKind.FABOUT)]
    if not fabric:
        has_ut_id = machine.queues_need_initialization
        fail(
            "missing-microthread",
            f"an asynchronous operation on {machine.name} needs "
            f"{'`.ut_id`, or ' * has_ut_id}a fabric operand that is known here",
            span,
            help=f"{'give it `.ut_id = @get_ut_id(n)`, ' * has_ut_id}"
            "use a fabric DSD that is a constant (of a function that makes it: `comptime f(…)`), "
            "or leave out `.async`",
        )
    outputs = [d for d in fabric if d.kind is DsdKind.FABOUT]
    if not machine.queues_need_initialization and outputs:
        return outputs[0].queue
    return fabric[0].queue


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
    a.forget_loads()
    return VOID_VALUE


# --- explicit DSRs -------------------------------------------------------------------------------


@runtime_builtin("load_to_dsr", 2, 3)
def load_to_dsr(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Load a DSD into a DSR."""
    if type_of(args[1]) is t.CIRCBUF_DSD:
        fail(
            "type-mismatch",
            "a circbuf_dsd is loaded together with an extended DSR",
            site.span,
            help="write `@load_to_dsr_xdsr(dsr, @get_xdsr(n), circular)`",
        )
    load_register(site, a, args[0], args[1], args[2:])
    return VOID_VALUE


def load_register(
    site: Site, a: Analyzer, dsr: Value, dsd: Value, config_arguments: Sequence[Value]
) -> None:
    """Load a DSD into a DSR; the first argument of `site` is the DSR, the last one what there is.

    The arguments may have others between the DSR and the DSD.
    """
    dsd_span = site.argument_spans[-1 - len(config_arguments)]
    if not isinstance(dsr, Dsr) or dsr.type not in t.DSRS:
        fail(
            "type-mismatch",
            f"a DSR is loaded, this is of type `{type_of(dsr)}`",
            site.argument_spans[0],
            help="get one with `@get_dsr(dsr_dest, number)`",
        )
    if not isinstance(dsd, Dsd | Runtime) or dsd.type not in t.DSDS:
        fail(
            "type-mismatch",
            f"a DSD is loaded into a DSR, this is of type `{type_of(dsd)}`",
            dsd_span,
        )
    if dsd.type is t.FABIN_DSD and _MODES[dsr.type] is OperandMode.DSR_DEST:
        fail(
            "type-mismatch",
            "a fabin_dsd is a source, this DSR holds destinations",
            dsd_span,
            help="load it into a DSR of kind dsr_src0 or dsr_src1",
        )
    if dsd.type is t.FABOUT_DSD and _MODES[dsr.type] is not OperandMode.DSR_DEST:
        fail(
            "type-mismatch",
            "a fabout_dsd is a destination, this DSR holds sources",
            dsd_span,
            help="load it into a DSR of kind dsr_dest",
        )
    settings = _LoadSettings()
    if config_arguments:
        settings = _load_settings(a, config_arguments[0], site.argument_spans[-1], dsd)
    stepped = map_registers.kept(a, dsd, dsd_span) if settings.is_stepped else None
    state = DsrState(dsd.descriptor, settings.config, site.span, stepped=stepped)
    _note_load(a, (dsr.type, dsr.index), state)
    register = ir.Dsr(_MODES[dsr.type], dsr.index)
    loaded = a.expression(stepped or dsd, dsd_span)
    a.emit(ir.LoadDsr(register, loaded, site.span, saves_address=settings.saves_address))


@comptime_builtin("load_to_dsr", 2, 3, context=Where.PROGRAM)
def load_at_start(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Let a DSR hold a DSD from the start."""
    return loaded_at_start(site, module, args, load_to_dsr)


def loaded_at_start(
    site: Site, module: Module, args: Sequence[Value], load: RuntimeHandler
) -> Value:
    """Do what a builtin that loads a DSR does, once all tasks are bound, for the start."""
    context = module.context
    assert isinstance(context, InstanceContext)
    for value, span in zip(args, site.argument_spans, strict=True):
        if not is_comptime(value):
            not_comptime(value, span)
    chain = context.chain

    def request() -> None:
        a = Analyzer(context, module, "comptime", chain)
        args_of_all = [_same_everywhere(value, site.span) for value in args]
        load(site, a, args_of_all)
        context.loads += [s for s in a.blocks[0] if isinstance(s, ir.LoadDsr)]

    context.requests.append(request)
    return VOID_VALUE


def _same_everywhere(value: Value, span: Span) -> Value:
    """Return a DSD whose numbers decide for which PEs the program is: registers have no patches."""
    if not isinstance(value, Dsd):
        return value
    extent, stride = (force_all(part, "DSR", span) for part in (value.extent, value.stride))
    assert isinstance(extent, Scalar)
    assert isinstance(stride, Scalar)
    return replace(value, extent=extent, stride=stride)


@dataclass(frozen=True, slots=True)
class _LoadSettings:
    """The configuration of `@load_to_dsr`."""

    config: DsdConfig | None = None
    """Of the operations on the register; None: they are synchronous."""
    saves_address: bool = False
    is_stepped: bool = False
    """The register is for `@map`."""


def _load_settings(a: Analyzer, value: Value, span: Span, dsd: Dsd | Runtime) -> _LoadSettings:
    fields = read_fields(
        value,
        "the configuration of `@load_to_dsr`",
        span,
        known=(
            *("async", "activate", "unblock", "ut_id", "on_control"),
            *("save_address", "single_step"),
        ),
    )
    saves_address = read_flag(fields, "save_address", span)
    is_stepped = read_flag(fields, "single_step", span)
    if saves_address and dsd.type not in _WITH_ADDRESS:
        fail(
            "type-mismatch",
            f"a {dsd.type} has no address to save",
            span,
            help="leave `.save_address` out: it is for DSDs of memory",
        )
    config = None
    if read_flag(fields, "async", span):
        config = _completion(a, fields, _microthread(a, fields, (dsd,), span), span)
    return _LoadSettings(config, saves_address, is_stepped)


_WITH_ADDRESS: Final = (t.MEM1D_DSD, t.MEM4D_DSD, t.CIRCBUF_DSD)


def _note_load(a: Analyzer, key: DsrKey, state: DsrState) -> None:
    """Remember what a DSR is loaded with; operations on it take their settings from there."""
    config = state.config
    a.note_load(key, state)
    known = a.instance.dsrs.get(key)
    if known is None:
        known = a.instance.dsrs[key] = DsrState(state.descriptor, config, state.span)
    map_registers.note(known, state.stepped)
    known.descriptor = state.descriptor
    if config is None or known.config in (None, config):
        known.config = config or known.config
        return
    known.is_varied = True
    for complain in known.users:
        complain()
    known.users.clear()

"""`@load_to_dsr`, `@load_to_dsr_xdsr` and `@load_to_dsr_xdsr_sr`: DSDs in registers.

The simulated machine keeps all of a DSD in its DSR. The registers beside it (`xdsr`, `sr`) are
named by a program because the SDK requires them; only their number is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.completion import read_completion
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.analyzer import Analyzer
from onewafer.csl.sema.instance.registry import comptime_builtin, runtime_builtin
from onewafer.csl.sema.instance.state import NO_IDS, DsrState, HeldDsd
from onewafer.csl.sema.modules.instance_context import instance_of
from onewafer.csl.sema.runtime.maps import held_dsds
from onewafer.csl.sema.runtime.task_ids import unknown_ids, with_id
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.values import (
    VOID_VALUE,
    Dsd,
    Dsr,
    Runtime,
    Scalar,
    Struct,
    Value,
    Variable,
    force_all,
    is_comptime,
    not_comptime,
    type_of,
)
from onewafer.csl.sema.values.in_memory import address_of_variable
from onewafer.csl.sema.values.structs import read_fields, read_flag
from onewafer.image import OperandMode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.instance.registry import RuntimeHandler, Site
    from onewafer.csl.sema.instance.state import DsrKey
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span
    from onewafer.image import DsdConfig

OPERAND_MODES: Final = {
    t.DSR_DEST: OperandMode.DSR_DEST,
    t.DSR_SRC0: OperandMode.DSR_SRC0,
    t.DSR_SRC1: OperandMode.DSR_SRC1,
    t.DSR_FIFO_DEST: OperandMode.DSR_DEST,
    t.DSR_FIFO_SRC1: OperandMode.DSR_SRC1,
}
MAX_STRIDE_REGISTERS: Final = 3
"""Most stride registers of one DSD: enough for run-time strides."""


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
    _load(site, a, args[0], args[1], args[2:])
    return VOID_VALUE


@comptime_builtin("load_to_dsr", 2, 3, context=Where.PROGRAM)
def load_at_start(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Set the initial DSD of a DSR."""
    return _loaded_at_start(site, module, args, load_to_dsr)


@runtime_builtin("load_to_dsr_xdsr", 3, 4)
def load_to_dsr_xdsr(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Load a circular buffer."""
    dsr, xdsr, dsd, *config = args
    spans = site.argument_spans
    _expect(xdsr, t.XDSR, spans[1], "the second argument is an extended DSR", "@get_xdsr(n)")
    if type_of(dsd) is not t.CIRCBUF_DSD:
        advice: dict[t.Type, str] = {
            t.MEM1D_DSD: "write `@load_to_dsr(dsr, dsd)`",
            t.MEM4D_DSD: "write `@load_to_dsr_xdsr_sr(dsr, xdsr, .{ … }, dsd)`",
        }
        fail(
            "type-mismatch",
            f"`@{site.name}` loads a circbuf_dsd, this is of type `{type_of(dsd)}`",
            spans[2],
            help=advice.get(type_of(dsd), "make one with `@get_dsd(circbuf_dsd, .{ … })`"),
        )
    _load(site, a, dsr, dsd, config)
    return VOID_VALUE


@comptime_builtin("load_to_dsr_xdsr", 3, 4, context=Where.PROGRAM)
def load_circular_at_start(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Set the initial circular buffer of a DSR."""
    return _loaded_at_start(site, module, args, load_to_dsr_xdsr)


@comptime_builtin("load_to_dsr_xdsr_sr", 4, 5, context=Where.PROGRAM)
def load_loops_at_start(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Set the initial mem4d_dsd of a DSR."""
    return _loaded_at_start(site, module, args, load_to_dsr_xdsr_sr)


@runtime_builtin("load_to_dsr_xdsr_sr", 4, 5)
def load_to_dsr_xdsr_sr(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Load nested loops."""
    dsr, xdsr, strides, dsd, *config = args
    spans = site.argument_spans
    _expect(xdsr, t.XDSR, spans[1], "the second argument is an extended DSR", "@get_xdsr(n)")
    if not isinstance(strides, Struct) or (strides.names is not None and strides.fields):
        fail(
            "type-mismatch",
            f"the third argument is a tuple of stride registers, this is a `{type_of(strides)}`",
            spans[2],
            help="write `.{ @get_sr(0), @get_sr(1) }`, or `.{}` for none",
        )
    for register in strides.fields:
        _expect(register, t.SR, spans[2], "the tuple holds stride registers", "@get_sr(n)")
    if type_of(dsd) is not t.MEM4D_DSD:
        fail(
            "type-mismatch",
            f"`@{site.name}` loads a mem4d_dsd, this is of type `{type_of(dsd)}`",
            spans[3],
        )
    needed = num_stride_registers(dsd)
    if len(strides.fields) != needed:
        fail(
            "wrong-argument-count",
            f"this mem4d_dsd needs {needed} stride registers, {len(strides.fields)} are given",
            spans[2],
            help="one a loop but the innermost, and none for the loop around it if that has "
            "stride 1; three for a DSD that only run time knows",
        )
    _load(site, a, dsr, dsd, config)
    return VOID_VALUE


def num_stride_registers(dsd: Value) -> int:
    """Return how many stride registers a mem4d_dsd takes (SDK documentation, "DSRs")."""
    if not isinstance(dsd, Dsd):
        return MAX_STRIDE_REGISTERS
    outer_loops = len(dsd.descriptor.extents) - 1
    is_dense = dsd.descriptor.strides[-1] == 1
    return max(0, outer_loops - is_dense)


def _expect(value: Value, type_: t.Type, span: Span, rule: str, example: str) -> None:
    if type_of(value) is not type_:
        message = f"{rule}, this is of type `{type_of(value)}`"
        fail("type-mismatch", message, span, help=f"write `{example}`")


# --- loads ---------------------------------------------------------------------------------------


def _load(
    site: Site, a: Analyzer, dsr: Value, dsd: Value, config_arguments: Sequence[Value]
) -> None:
    """Load a DSD into a DSR, the first argument of `site`; the last one is the configuration.

    Other arguments may stand between the DSR and the DSD.
    """
    dsd_span = site.argument_spans[-1 - len(config_arguments)]
    if not isinstance(dsr, Dsr) or dsr.type not in t.DSRS - t.FIFO_DSRS.keys():
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
    if dsd.type is t.FABIN_DSD and OPERAND_MODES[dsr.type] is OperandMode.DSR_DEST:
        fail(
            "type-mismatch",
            "a fabin_dsd is a source, this DSR holds destinations",
            dsd_span,
            help="load it into a DSR of kind dsr_src0 or dsr_src1",
        )
    if dsd.type is t.FABOUT_DSD and OPERAND_MODES[dsr.type] is not OperandMode.DSR_DEST:
        fail(
            "type-mismatch",
            "a fabout_dsd is a destination, this DSR holds sources",
            dsd_span,
            help="load it into a DSR of kind dsr_dest",
        )
    settings = _LoadSettings()
    if config_arguments:
        span = site.argument_spans[-1]
        ids = _kept_ids(a, dsr, config_arguments[0], span)
        known = config_arguments[0]
        for path in unknown_ids(ids):
            known = with_id(known, path, None)
        settings = replace(_load_settings(a, known, span, dsd), ids=ids)
    stepped = held_dsds.kept(a, dsd, dsd_span) if settings.is_stepped else None
    is_dropped = dsd.type is t.FABIN_DSD and settings.config is not None
    state = DsrState(
        dsd.descriptor,
        settings.config,
        site.span,
        stepped=HeldDsd(stepped),
        dropped=HeldDsd(dsd if is_dropped else None),
        ut_id=settings.ut_id,
        ids=settings.ids,
    )
    _note_load(a, (dsr.type, dsr.index), state)
    register = ir.Dsr(OPERAND_MODES[dsr.type], dsr.index)
    loaded = a.expression(stepped or dsd, dsd_span)
    a.emit(ir.LoadDsr(register, loaded, site.span, saves_address=settings.saves_address))


def hold_fifo(instance: Instance, module: Module, registers: Sequence[Dsr], fifo: Dsd) -> None:
    """Make the registers that a FIFO names hold it initially."""
    chain, span = instance.reports.chain, fifo.span
    assert span is not None

    def request() -> None:
        a = Analyzer(instance, module, "comptime", chain)
        for register in registers:
            _note_load(a, (register.type, register.index), DsrState(fifo.descriptor, None, span))
            dsr = ir.Dsr(OPERAND_MODES[register.type], register.index)
            instance.dsrs.loads.append(ir.LoadDsr(dsr, a.expression(fifo, span), span))

    instance.requests.append(request)


def _loaded_at_start(
    site: Site, module: Module, args: Sequence[Value], load: RuntimeHandler
) -> Value:
    """Run an initial load of a DSR once all tasks are bound."""
    instance = instance_of(module)
    for value, span in zip(args, site.argument_spans, strict=True):
        if not is_comptime(value):
            not_comptime(value, span)
    chain = instance.reports.chain

    def request() -> None:
        a = Analyzer(instance, module, "comptime", chain)
        args_of_all = [_same_everywhere(value, site.span) for value in args]
        load(site, a, args_of_all)
        instance.dsrs.loads += [s for s in a.blocks[0] if isinstance(s, ir.LoadDsr)]

    instance.requests.append(request)
    return VOID_VALUE


def _same_everywhere(value: Value, span: Span) -> Value:
    """Return a DSD with all numbers forced to be equal on all PEs: registers have no patches."""
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
    """Settings of asynchronous operations on the register; None: they are synchronous."""
    saves_address: bool = False
    is_stepped: bool = False
    """The register is for `@map`."""
    ids: Value = NO_IDS
    """The run-time ids of a load."""
    own_ut_id: Value | None = None

    @property
    def ut_id(self) -> Value | None:
        """The microthread from the load."""
        return unknown_ids(self.ids).get(("ut_id",), self.own_ut_id)


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
        config = read_completion(a, fields, (dsd,), span)
    return _LoadSettings(config, saves_address, is_stepped, own_ut_id=fields.get("ut_id"))


def _kept_ids(a: Analyzer, dsr: Dsr, settings: Value, span: Span) -> Value:
    """Store the run-time ids of a load in variables; return settings that read these."""
    ids: Value = NO_IDS
    for path, value in unknown_ids(settings).items():
        key = (dsr.type, dsr.index, path)
        variable = a.instance.dsrs.loaded_ids.get(key)
        if variable is None:
            name = f"{dsr.type} {dsr.index} {'.'.join(path)}"
            variable = Variable(name, t.U16, Scalar(t.U16, 0), span, is_const=False)
            a.instance.dsrs.loaded_ids[key] = variable
        address = a.instance.address(address_of_variable(variable))
        a.emit(ir.Store(ScalarType.U16, address, 0, value.expression, span))
        ids = with_id(ids, path, Runtime(value.type, ir.Load(ScalarType.U16, address)))
    return ids


_WITH_ADDRESS: Final = (t.MEM1D_DSD, t.MEM4D_DSD, t.CIRCBUF_DSD)


def _note_queue(known: DsrState, state: DsrState) -> None:
    """Note whether all fabric DSDs loaded into a DSR have the same queue."""
    queues = [of.descriptor.queue for of in (known, state) if of.descriptor and of.is_of_fabric]
    if len({*queues}) > 1:
        known.has_one_queue.give_up()


def _note_load(a: Analyzer, key: DsrKey, state: DsrState) -> None:
    """Record the load of a DSR, from which operations take their settings."""
    config = state.config
    a.dsrs.note_load(key, state)
    known = a.instance.dsrs.states.get(key)
    if known is None:
        known = a.instance.dsrs.states[key] = DsrState(state.descriptor, config, state.span)
        known.ut_id, known.ids = state.ut_id, state.ids
    held_dsds.note(known.stepped, state.stepped.dsd)
    held_dsds.note(known.dropped, state.dropped.dsd)
    _note_queue(known, state)
    if state.descriptor is None or state.is_of_fabric or not known.is_of_fabric:
        known.descriptor = state.descriptor  # that of the fabric says on which microthread
    known.is_sometimes_memory |= not state.is_of_fabric
    if config is None:
        known.is_always_async.give_up()
    else:
        a.instance.dsrs.never_async[key].give_up()
    has_same_ids = unknown_ids(known.ids).keys() == unknown_ids(state.ids).keys()
    if config is None or known.config is None or (known.config == config and has_same_ids):
        if known.config is None:
            known.config, known.ut_id, known.ids = config, state.ut_id, state.ids
        return
    known.has_one_config.give_up()

"""FIFOs: ring buffers in memory that operations write and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.descriptors import is_packed, program_of
from onewafer.csl.sema.builtins.registers import hold_fifo
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import comptime_builtin, runtime_builtin
from onewafer.csl.sema.instance.state import FifoRequest
from onewafer.csl.sema.values import (
    VOID_VALUE,
    Dsd,
    Dsr,
    Pointer,
    Runtime,
    Scalar,
    Struct,
    Value,
    Variable,
    not_comptime,
    type_of,
)
from onewafer.csl.sema.values.structs import read_choice, read_fields, read_priority
from onewafer.diagnostics import Annotation
from onewafer.image import DsdDescriptor, DsdKind, FifoAction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.arch import Architecture
    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span


@comptime_builtin("allocate_fifo", 1, 2, operands=(0,))
def allocate_fifo(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Make an array the ring buffer of a FIFO."""
    instance = program_of(site, module)
    array, span = args[0], site.argument_spans[0]
    if isinstance(array, Pointer):
        array = rules.pointed_at(array, span)
    type_ = array.type if isinstance(array, Variable) else None
    if not isinstance(array, Variable) or not isinstance(type_, t.ArrayType):
        fail(
            "type-mismatch",
            f"a FIFO is made of an array variable, this is of type `{type_of(array)}`",
            span,
            help="declare it with `var buffer = @zeros([n]f32);`",
        )
    if array.at is not None:
        fail(
            "unsupported-feature",
            "the array of a FIFO is a variable of its own, this one is a part of another",
            span,
            help="declare the array apart; the FIFO itself may be a field: "
            "`const s = .{ .fifo = @allocate_fifo(array) };`",
        )
    is_element = t.scalar_type(type_.element) and t.num_bytes(type_.element) in _FIFO_ELEMENT_BYTES
    if not is_element or t.num_bytes(type_) < _WORD_BYTES:
        fail("type-mismatch", f"`{type_}` is not a ring of 16-bit or 32-bit elements", span)
    config, config_span = (
        (args[1], site.argument_spans[1]) if args[1:] else (Struct(None, ()), site.span)
    )
    fields = read_fields(
        config,
        "the configuration of a FIFO",
        config_span,
        known=(*_SETTINGS, *_REGISTERS, "simd_mode"),
    )
    read_priority(fields, config_span)
    machine = instance.session.architecture
    if is_packed(fields, config_span) and machine.queues_need_initialization:
        fail(
            "type-mismatch",
            f"a FIFO of {machine.name} has no `.simd_mode`",
            config_span,
            help='leave it out, or write it `if (@is_arch("wse2"))` only; it changes nothing here',
        )
    actions = [_fifo_action(fields, side, machine, config_span) for side in ("empty", "full")]
    tasks = fields.get("activate_push"), fields.get("activate_pop")
    number = instance.add_fifo(FifoRequest(array, *tasks, config_span, *actions))
    fifo = Dsd(
        t.FIFO, DsdDescriptor(DsdKind.FIFO, fifo=number), None, _NOTHING, _NO_STRIDE, site.span
    )
    registers = _registers(fields, config_span)
    _claim(instance, registers, number, config_span)
    hold_fifo(instance, module, registers[:2], fifo)
    return fifo


def _claim(instance: Instance, registers: Sequence[Dsr], fifo: int, span: Span) -> None:
    """Fail if another FIFO uses one of the registers."""
    for register in registers:
        owner, earlier = instance.fifos.registers.setdefault(register, (fifo, span))
        if owner != fifo:
            fail(
                "duplicate-register",
                f"{register.type} {register.index} is that of another FIFO",
                span,
                secondary=(Annotation(earlier, "the other FIFO"),),
                help="give each FIFO registers of its own; those of a module may be params",
            )


def _registers(fields: Mapping[str, Value], span: Span) -> Sequence[Dsr]:
    """Return the registers that a program chooses for a FIFO: of both ends and the `xdsr`, or none.

    The simulated machine keeps a FIFO in its DSRs; the `xdsr` is required but unused.
    """
    given = {name: fields[name] for name in _REGISTERS if name in fields}
    if not given:
        return ()
    if missing := [name for name in _REGISTERS if name not in given]:
        fail(
            "missing-field",
            f"a FIFO that names registers names all of them: `.{missing[0]}` is missing",
            span,
            help="write `.{ .dest = …, .src = …, .xdsr = … }`, or leave the choice to the compiler",
        )
    found: list[Dsr] = []
    for name, value in given.items():
        if not isinstance(value, Dsr) or value.type is not _REGISTERS[name]:
            fail(
                "type-mismatch",
                f"`.{name}` is a `{_REGISTERS[name]}`, this is of type `{type_of(value)}`",
                span,
            )
        found.append(value)
    dest, src, _ = found
    if dest.index != src.index:
        fail(
            "type-mismatch",
            f"`.dest` and `.src` of a FIFO have one number, not {dest.index} and {src.index}",
            span,
            help=f"write `.src = @get_dsr(dsr_src1, {dest.index})`",
        )
    return found


def _fifo_action(
    fields: Mapping[str, Value], side: str, machine: Architecture, span: Span
) -> FifoAction:
    """Return the action of an operation at an empty or full FIFO."""
    name = f"{side}_action"
    if name not in fields:
        return FifoAction.TEST_OR_SUSPEND
    chosen = read_choice(fields[name], f"`.{name}`", _FIFO_ACTIONS, span)
    action = FifoAction[chosen.upper()] if chosen else FifoAction.TEST_OR_SUSPEND
    is_newer = side == "full" or action in (FifoAction.SUSPEND, FifoAction.FAULT)
    if is_newer and not machine.has_all_fifo_actions:
        what = f"`.{name}`" if side == "full" else f"`.{name} = .{{ .{chosen} = true }}`"
        fail(
            "unsupported-on-architecture",
            f"{machine.name} has no {what} of a FIFO",
            span,
            help="it has `.empty_action` with `.test_or_suspend` or `.terminate`",
        )
    return action


@runtime_builtin("set_fifo_read_length", 2)
def set_fifo_read_length(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Set the length of operations that read a FIFO."""
    return _set_length(site, a, args, is_written=False)


@runtime_builtin("set_fifo_write_length", 2)
def set_fifo_write_length(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Set the length of operations that write a FIFO."""
    return _set_length(site, a, args, is_written=True)


def _set_length(site: Site, a: Analyzer, args: Sequence[Value], *, is_written: bool) -> Value:
    fifo, length = args
    fifo_span, length_span = site.argument_spans
    if isinstance(fifo, Runtime) and fifo.type is t.FIFO:
        not_comptime(fifo, fifo_span)
    if not isinstance(fifo, Dsd) or fifo.type is not t.FIFO:
        fail(
            "type-mismatch",
            f"`@{site.name}` is about a FIFO, this is of type `{type_of(fifo)}`",
            fifo_span,
            help="write the `const` that `@allocate_fifo` gave; other DSDs have `@set_dsd_length`",
        )
    number = fifo.descriptor.fifo
    a.instance.fifos.with_length.add(number)
    word = a.sized(length, t.U16, length_span, "the length")
    a.emit(ir.SetFifoLength(number, is_written, word, site.span))
    return VOID_VALUE


_FIFO_ACTIONS = tuple(action.name.lower() for action in FifoAction)
_FIFO_ELEMENT_BYTES = (2, 4)
_WORD_BYTES = 4
_SETTINGS = ("activate_push", "activate_pop", "priority", "empty_action", "full_action")
_REGISTERS = {"dest": t.DSR_DEST, "src": t.DSR_SRC1, "xdsr": t.XDSR}
_NOTHING = Scalar(t.U16, 0)
_NO_STRIDE = Scalar(t.I16, 0)

"""Builtins that bind a queue to another color.

Their rules are M134 to M137 in `docs/explanation/machine.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.program import check_handler, is_input_queue
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import comptime_builtin, runtime_builtin
from onewafer.csl.sema.instance.tasks import id_number
from onewafer.csl.sema.modules.instance_context import instance_of
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.session.reserved import check_reserved_queue
from onewafer.csl.sema.values import VOID_VALUE, FunctionValue, Scalar, Value, conversions
from onewafer.diagnostics import Annotation
from onewafer.image import ASKED_WORDS, WORD_BYTES, Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.session import Session
    from onewafer.csl.sema.values import Module

_U16 = ScalarType.U16


@runtime_builtin("queue_flush", 1)
def queue_flush(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Ask a queue to report when it is empty."""
    value, span = args[0], site.argument_spans[0]
    _check_machine(site, a.instance.session)
    is_input = is_input_queue(value, span)
    bit: ir.Expression
    if isinstance(value, Scalar):
        number = id_number(value, span)
        check_reserved_queue(a.instance.session.options, number, is_input=is_input, span=span)
        bit = ir.Immediate(_U16, 1 << number)
    else:
        queue = a.expression(value, span)
        bit = ir.Binary(Opcode.SHL, _U16, ir.Immediate(_U16, 1), queue)
    a.instance.reach_queues()
    address = ir.Immediate(_U16, WORD_BYTES * (ASKED_WORDS + (not is_input)))
    a.emit(ir.Store(_U16, address, 0, bit, site.span))
    return VOID_VALUE


@comptime_builtin("set_empty_queue_handler", 2, context=Where.PROGRAM)
def set_empty_queue_handler(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Set the function that runs when an asked queue is empty."""
    instance, function, queue = instance_of(module), args[0], args[1]
    span = site.argument_spans[1]
    _check_machine(site, module.session)
    check_handler(function, site)
    is_input = is_input_queue(queue, span)
    if not isinstance(queue, Scalar):
        conversions.mismatch(queue, t.INPUT_QUEUE, span, "a queue")
    number = id_number(queue, span)
    check_reserved_queue(module.session.options, number, is_input=is_input, span=span)
    earlier = instance.empty_queue_handlers.get((not is_input, number))
    if earlier is not None:
        fail(
            "duplicate-handler",
            f"{queue.type} {number} has the handler `{earlier[0].declaration.name}` already",
            site.span,
            secondary=(Annotation(earlier[1], "set here"),),
            help="let one function do both",
        )
    assert isinstance(function, FunctionValue)
    instance.empty_queue_handlers[not is_input, number] = function, site.span
    return VOID_VALUE


def _check_machine(site: Site, session: Session) -> None:
    """Fail on machines whose DSDs name the color, so that queues are not bound."""
    machine = session.architecture
    if not machine.queues_need_initialization:
        fail(
            "unsupported-on-architecture",
            f"on {machine.name} a queue is bound to no color, so it need not be flushed",
            site.span,
            help=f'use `@{site.name}` under `if (@is_arch("wse3"))`',
        )

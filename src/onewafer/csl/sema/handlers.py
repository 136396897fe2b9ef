"""The task that the compiler writes for handlers of teardown and of empty queues.

In: the handlers, by color and by queue. Out: a task that asks which colors were torn down (M133 in
`docs/machine.md`) and which queues have become empty (M136), and calls their handlers: those of
colors, of input queues and of output queues, of each the lowest first. Nobody published the order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from onewafer.csl import ir
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from onewafer.diagnostics import Span

Key = TypeVar("Key")
Handlers = list[tuple[Key, ir.Function, "Span"]]
"""Color, or (whether it is an output queue, number); function; and where it was set."""

_PENDING_ADDRESSES = (2 * 0x7F38, 2 * 0x7F39)
"""Of the registers that say which colors were torn down, 16 of them each."""
_FLUSHED_ADDRESSES = (2 * 0x7BA0, 2 * 0x7BA1)
"""Of those that say which input queues, and which output queues, have become empty."""
_COLORS_OF_A_WORD = 16
_U16 = ScalarType.U16


def handler_task(teardown: Handlers[int], empty_queues: Handlers[tuple[bool, int]]) -> ir.Function:
    """Return the task; there is some handler."""
    body: list[ir.Statement] = []
    words: dict[int, ir.Local] = {}
    for color, _, span in teardown:
        _read_once(body, words, f"torn{color // _COLORS_OF_A_WORD}",
                   _PENDING_ADDRESSES[color // _COLORS_OF_A_WORD], span)  # fmt: skip
    for color, function, span in teardown:
        word = words[_PENDING_ADDRESSES[color // _COLORS_OF_A_WORD]]
        body.append(_call_if(word, color % _COLORS_OF_A_WORD, function, span))
    for (is_output, queue), function, span in empty_queues:
        address = _FLUSHED_ADDRESSES[is_output]
        _read_once(body, words, f"flushed{int(is_output)}", address, span)
        body.append(_call_if(words[address], queue, function, span))
    first = (*teardown, *empty_queues)[0]
    return ir.Function("handlers", (), None, tuple(body), first[2])


def _read_once(
    body: list[ir.Statement], words: dict[int, ir.Local], name: str, address: int, span: Span
) -> None:
    """Read a register before its first use."""
    if address not in words:
        words[address] = ir.Local(name, _U16)
        load = ir.Load(_U16, ir.Immediate(_U16, address))
        body.append(ir.SetLocal(words[address], load, span))


def _call_if(word: ir.Local, bit: int, function: ir.Function, span: Span) -> ir.Statement:
    """Return a call of a function if a bit of a word is set."""
    masked = ir.Binary(Opcode.AND, _U16, ir.ReadLocal(word), ir.Immediate(_U16, 1 << bit))
    is_set = ir.Binary(Opcode.NOT_EQUAL, _U16, masked, ir.Immediate(_U16, 0))
    return ir.If(is_set, (ir.Evaluate(ir.Call(function, ()), span),), (), span)

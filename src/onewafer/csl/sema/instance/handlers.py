"""The task that the compiler writes for handlers of teardown and of empty queues.

In: the handlers, by color and by queue. Out: a task that asks which colors were torn down (M133 in
`docs/explanation/machine.md`) and which queues have become empty (M136), and calls their handlers:
first those of colors, then of input queues, then of output queues, each from the lowest number up.
The order on real machines is not published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from onewafer.csl import ir
from onewafer.image import (
    COLORS_OF_A_WORD,
    FLUSHED_WORDS,
    TORN_DOWN_WORDS,
    WORD_BYTES,
    Opcode,
    ScalarType,
)

if TYPE_CHECKING:
    from onewafer.diagnostics import Span

Key = TypeVar("Key")
Handlers = list[tuple[Key, ir.Function, "Span"]]
"""Color or (is an output queue, number); the function; the place that sets it as a handler."""

_U16 = ScalarType.U16


def handler_task(teardown: Handlers[int], empty_queues: Handlers[tuple[bool, int]]) -> ir.Function:
    """Return the task that calls the handlers, of which there is at least one."""
    body: list[ir.Statement] = []
    words: dict[int, ir.Local] = {}
    for color, _, span in teardown:
        index = color // COLORS_OF_A_WORD
        _read_once(body, words, f"torn{index}", TORN_DOWN_WORDS + index, span)
    for color, function, span in teardown:
        word = words[TORN_DOWN_WORDS + color // COLORS_OF_A_WORD]
        body.append(_call_if(word, color % COLORS_OF_A_WORD, function, span))
    for (is_output, queue), function, span in empty_queues:
        address = FLUSHED_WORDS + is_output
        _read_once(body, words, f"flushed{int(is_output)}", address, span)
        body.append(_call_if(words[address], queue, function, span))
    first = (*teardown, *empty_queues)[0]
    return ir.Function("handlers", (), None, tuple(body), first[2])


def _read_once(
    body: list[ir.Statement], words: dict[int, ir.Local], name: str, address: int, span: Span
) -> None:
    """Emit the load of a register into a local, unless `words` has it already."""
    if address not in words:
        words[address] = ir.Local(name, _U16)
        load = ir.Load(_U16, ir.Immediate(_U16, WORD_BYTES * address), is_volatile=True)
        body.append(ir.SetLocal(words[address], load, span))


def _call_if(word: ir.Local, bit: int, function: ir.Function, span: Span) -> ir.Statement:
    """Return `if ((word & 1 << bit) != 0) function();` as IR."""
    masked = ir.Binary(Opcode.AND, _U16, ir.ReadLocal(word), ir.Immediate(_U16, 1 << bit))
    is_set = ir.Binary(Opcode.NOT_EQUAL, _U16, masked, ir.Immediate(_U16, 0))
    return ir.If(is_set, (ir.Evaluate(ir.Call(function, ()), span),), (), span)

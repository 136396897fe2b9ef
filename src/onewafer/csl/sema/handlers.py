"""The task that the compiler writes for teardown handlers.

In: the handlers, by color. Out: a task that asks the router which colors were torn down (M133 in
`docs/machine.md`) and calls their handlers, the lowest color first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.diagnostics import Span

_PENDING_ADDRESSES = (2 * 0x7F38, 2 * 0x7F39)
"""Of the registers that say which colors were, 16 of them each."""
_COLORS_OF_A_WORD = 16
_U16 = ScalarType.U16


def teardown_task(handlers: Sequence[tuple[int, ir.Function, Span]]) -> ir.Function:
    """Return the task; `handlers` are (color, function, where it was set)."""
    body: list[ir.Statement] = []
    words: dict[int, ir.Local] = {}
    for color, _, span in handlers:
        number = color // _COLORS_OF_A_WORD
        if number not in words:
            local = words[number] = ir.Local(f"torn{number}", _U16)
            address = ir.Immediate(_U16, _PENDING_ADDRESSES[number])
            body.append(ir.SetLocal(local, ir.Load(_U16, address), span))
    for color, function, span in handlers:
        torn = ir.ReadLocal(words[color // _COLORS_OF_A_WORD])
        bit = ir.Immediate(_U16, 1 << color % _COLORS_OF_A_WORD)
        is_torn = ir.Binary(
            Opcode.NOT_EQUAL,
            _U16,
            ir.Binary(Opcode.AND, _U16, torn, bit),
            ir.Immediate(_U16, 0),
        )
        body.append(ir.If(is_torn, (ir.Evaluate(ir.Call(function, ()), span),), (), span))
    return ir.Function("teardown", (), None, tuple(body), handlers[0][2])

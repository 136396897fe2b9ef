"""Code for tail calls: move the arguments into the registers of the callee, and jump.

The frame of the callee lies where that of the caller does (`call_graph`), so parameters of one
overlap parameters or locals of the other: an argument is written as soon as no other argument reads
the register that it overwrites.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.codegen.expressions import width_of
from onewafer.csl.codegen.frame import lay_out_frame, num_registers
from onewafer.csl.codegen.object_code import Register
from onewafer.csl.ir import walk
from onewafer.image import Opcode

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from onewafer.csl.codegen.expressions import ExpressionGenerator


@dataclass(frozen=True, slots=True)
class _Passing:
    """A pending argument: a value to be computed, or the register that holds it."""

    value: ir.Expression | Register
    dest: Register
    width: int
    reads: frozenset[int] = frozenset()
    """Slots of the caller's frame that the value reads."""
    is_direct: bool = True
    """It can be computed into `dest` even if `dest` is one of the registers that it reads."""

    @property
    def writes(self) -> frozenset[int]:
        """Slots of the caller's frame that the argument overwrites."""
        return _slots(self.dest, self.width)


def emit_jump(generator: ExpressionGenerator, call: ir.Call) -> None:
    """Jump to a function instead of calling it and returning."""
    layout = lay_out_frame(call.function)
    frame = generator.frame
    with frame.scope(), _without_hoisted(generator):
        frame.allocate(max(layout.num_slots - frame.top, 0))  # temporaries lie above the arguments
        dests = [Register(generator.function, p.slot) for p in layout.parameters]
        _pass(generator, _compute_early(generator, call.arguments, dests))
    generator.emit(Opcode.JUMP, imm=call.function)


@contextmanager
def _without_hoisted(generator: ExpressionGenerator) -> Generator[None]:
    """Forget the constants of loops in registers: the jump leaves the loops."""
    hoisted, wanted = generator.hoisted, generator.wanted
    generator.hoisted, generator.wanted = {}, {}
    try:
        yield
    finally:
        generator.hoisted, generator.wanted = hoisted, wanted


def _compute_early(
    generator: ExpressionGenerator, arguments: Sequence[ir.Expression], dests: Sequence[Register]
) -> list[_Passing]:
    """Compute the arguments with calls, and those that a later call may change, in order."""
    calling = [i for i, value in enumerate(arguments) if walk.has_effect(value)]
    last = calling[-1] if calling else -1
    found: list[_Passing] = []
    for i, (value, dest) in enumerate(zip(arguments, dests, strict=True)):
        passing = _passing(generator, value, dest)
        is_early = i <= last and walk.depends_on_memory(value)
        found.append(_park(generator, passing) if is_early else passing)
    return found


def _passing(generator: ExpressionGenerator, value: ir.Expression, dest: Register) -> _Passing:
    width = width_of(value)
    writes = _slots(dest, width)
    reads: frozenset[int] = frozenset()
    is_direct = True
    for local in walk.locals_read(value):
        own = _slots(generator.registers[local], num_registers(local.type))
        reads |= own
        # A wide value has two words: one may be written before the other is read.
        is_direct &= not own & writes or len(own) == width == 1
    return _Passing(value, dest, width, reads, is_direct)


def _park(generator: ExpressionGenerator, passing: _Passing) -> _Passing:
    """Compute an argument into a register of its own."""
    assert not isinstance(passing.value, Register)
    own = generator.frame.allocate(passing.width)
    with generator.frame.scope():
        generator.evaluate(passing.value, own)
    return _Passing(own, passing.dest, passing.width)


def _pass(generator: ExpressionGenerator, arguments: Sequence[_Passing]) -> None:
    """Put every argument into its place."""
    waiting = [a for a in arguments if not _is_there(generator, a)]
    while waiting:
        ready = next((a for a in waiting if _is_ready(a, waiting)), None)
        if ready is None:
            i = next(i for i, a in enumerate(waiting) if not isinstance(a.value, Register))
            waiting[i] = _park(generator, waiting[i])
            continue
        waiting.remove(ready)
        if isinstance(ready.value, Register):
            generator.move(ready.value, ready.dest, ready.width)
        else:
            with generator.frame.scope():
                generator.evaluate(ready.value, ready.dest)


def _is_there(generator: ExpressionGenerator, passing: _Passing) -> bool:
    match passing.value:
        case ir.ReadLocal(local=local):
            return generator.registers[local] == passing.dest
        case _:
            return False


def _is_ready(passing: _Passing, waiting: Sequence[_Passing]) -> bool:
    """Tell whether no pending argument reads a register that this one overwrites."""
    return passing.is_direct and not any(
        passing.writes & other.reads for other in waiting if other is not passing
    )


def _slots(register: Register, width: int) -> frozenset[int]:
    return frozenset(range(register.slot, register.slot + width))

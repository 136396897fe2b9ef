"""Code for `@map`: a loop whose DSDs are advanced by the hardware.

    count = the shortest of the extents
    map_begin count → end
    top:  map_read element ← DSD …;  body;  map_write DSD ← result;  map_step count → top
    end:

DSD values are copied into registers of the loop; reads and writes advance these copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.codegen.object_code import Constant, DsdBaseWord, Label
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl import ir
    from onewafer.csl.codegen.expressions import ExpressionGenerator
    from onewafer.csl.codegen.object_code import Register
    from onewafer.csl.ir.walk import Block

_DSD_REGISTERS = 2
_EXTENT_SHIFT = 16


def emit_map(
    generator: ExpressionGenerator, loop: ir.Map, emit_body: Callable[[Block], None]
) -> None:
    """Emit a map loop and its set-up; `emit_body` is called once and emits the body."""
    pairs: list[Register] = []
    for stream in loop.streams:
        pair = generator.frame.allocate(_DSD_REGISTERS)
        generator.evaluate(stream.dsd, pair)
        pairs.append(pair)
    count = generator.frame.allocate()
    _count_elements(generator, loop, pairs, count)
    top, end = Label(), Label()
    generator.emit(Opcode.MAP_BEGIN, ra=count, imm=end)
    generator.bind(top)
    for stream, pair in zip(loop.inputs, pairs, strict=False):
        register = generator.registers[stream.local]
        generator.emit(Opcode.MAP_READ, stream.type, rd=register, ra=pair)
    emit_body(loop.body)
    if loop.output is not None:
        register = generator.registers[loop.output.local]
        generator.emit(Opcode.MAP_WRITE, loop.output.type, ra=pairs[-1], rb=register)
    generator.span = loop.span or generator.span
    generator.emit(Opcode.MAP_STEP, ra=count, imm=top)
    generator.bind(end)


def _count_elements(
    generator: ExpressionGenerator, loop: ir.Map, pairs: list[Register], count: Register
) -> None:
    """Put the smallest extent into `count`."""
    known = [_known_extent(generator, stream.dsd) for stream in loop.streams]
    if all(extent is not None for extent in known):
        shortest = min(extent for extent in known if extent is not None)
        generator.constant((Constant(shortest),), count)
        return
    first, *others = pairs
    generator.with_number(Opcode.SHR, ScalarType.U32, first, _EXTENT_SHIFT, count)
    for pair in others:
        with generator.frame.scope():
            extent, is_shorter = generator.frame.allocate(), generator.frame.allocate()
            keep = Label()
            generator.with_number(Opcode.SHR, ScalarType.U32, pair, _EXTENT_SHIFT, extent)
            generator.emit(Opcode.LESS, ScalarType.U32, rd=is_shorter, ra=extent, rb=count)
            generator.emit(Opcode.BRANCH_ZERO, ra=is_shorter, imm=keep)
            generator.move(extent, count, 1)
            generator.bind(keep)


def _known_extent(generator: ExpressionGenerator, dsd: ir.Expression) -> int | None:
    match generator.constant_dsd(dsd):
        case (DsdBaseWord(extent=Constant(word=extent, per_pe=None)), _):
            return extent
        case _:
            return None

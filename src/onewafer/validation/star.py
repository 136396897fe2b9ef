"""The star reduce, below CSL: routes that merge streams, which CSL refuses without switches.

PE 0 adds what all others send. One operation takes as many streams as an extent can count: its
destination is a mem4d operand that walks the B sums again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.image import (
    ColorConfig,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    Opcode,
    OperandMode,
    ProgramBuilder,
    ScalarType,
    SwitchPosition,
    make_image,
)

if TYPE_CHECKING:
    from onewafer.arch import Architecture
    from onewafer.image import TileProgram, WaferImage

_COLOR = 0
_QUEUE = 2
_DSR = 1
_LONGEST_OPERATION = 0x7FFE
"""Elements; one more is an endless fabric operand (M35)."""


def star_image(architecture: Architecture, num_pes: int, num_words: int) -> WaferImage:
    """Return the image of a star reduce of `num_words` ones from each of `num_pes` − 1 PEs."""
    sender = _sender(num_words)
    programs = {(x, 0): sender for x in range(1, num_pes)}
    programs[0, 0] = _receiver(num_pes - 1, num_words)
    inner = _route((Direction.EAST, Direction.RAMP), Direction.WEST)
    routes = {(x, 0, _COLOR): inner for x in range(1, num_pes - 1)}
    routes[0, 0, _COLOR] = _route((Direction.EAST,), Direction.RAMP)
    routes[num_pes - 1, 0, _COLOR] = _route((Direction.RAMP,), Direction.WEST)
    return make_image(architecture, programs, width=num_pes, height=1, routes=routes)


def _route(receive: tuple[Direction, ...], transmit: Direction) -> ColorConfig:
    return ColorConfig((SwitchPosition(sum(1 << d for d in receive), 1 << transmit),))


def _sender(num_words: int) -> TileProgram:
    builder = ProgramBuilder("sender")
    address = builder.data("values", ScalarType.F32, [1.0] * num_words)
    builder.queue(_QUEUE, color=_COLOR, is_input=False)
    fabric = builder.dsd(DsdDescriptor(DsdKind.FABOUT, color=_COLOR, queue=_QUEUE))
    memory = builder.dsd(DsdDescriptor(DsdKind.MEM1D))
    builder.function("main")
    target = builder.dsd_value(fabric, extent=num_words, stride=0)
    source = builder.dsd_value(memory, base=address, extent=num_words, stride=1)
    builder.emit(
        Opcode.DSD,
        DsdOperation.FMOVS,
        rd=builder.dsr_load(OperandMode.DSR_DEST, _DSR, target),
        rb=builder.dsr_load(OperandMode.DSR_SRC1, _DSR, source),
        imm=-1,
    )
    return _finish(builder)


def _receiver(num_senders: int, num_words: int) -> TileProgram:
    builder = ProgramBuilder("receiver")
    address = builder.data("sums", ScalarType.F32, num_elements=num_words)
    builder.queue(_QUEUE, color=_COLOR, is_input=True)
    builder.function("main")
    at_once = _LONGEST_OPERATION // num_words
    for first in range(0, num_senders, at_once):
        _add_streams(builder, address, min(at_once, num_senders - first), num_words)
    return _finish(builder)


def _add_streams(builder: ProgramBuilder, address: int, num_streams: int, num_words: int) -> None:
    """Add what `num_streams` senders sent to the sums, in one operation."""
    total = num_streams * num_words
    fabric = builder.dsd(DsdDescriptor(DsdKind.FABIN, color=_COLOR, queue=_QUEUE))
    memory = builder.dsd(
        DsdDescriptor(DsdKind.MEM4D, extents=(num_streams, num_words), strides=(0, 1))
    )
    sums = builder.dsd_value(memory, base=address, extent=total, stride=0)
    source = builder.dsd_value(fabric, extent=total, stride=0)
    builder.emit(
        Opcode.DSD,
        DsdOperation.FADDS,
        rd=builder.dsr_load(OperandMode.DSR_DEST, _DSR, sums),
        ra=builder.dsr_load(OperandMode.DSR_SRC0, _DSR, sums),
        rb=builder.dsr_load(OperandMode.DSR_SRC1, _DSR, source),
        imm=-1,
    )


def _finish(builder: ProgramBuilder) -> TileProgram:
    builder.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    builder.emit(Opcode.RETURN)
    return builder.build()

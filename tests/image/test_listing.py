"""The listing shows everything a person looks for."""

from dataclasses import replace

import pytest
from inline_snapshot import snapshot

from onewafer.image import (
    INSTRUCTIONS,
    Opcode,
    ScalarType,
    SourceLocation,
    format_instruction,
    listing,
)
from tests.image.builder import ProgramBuilder


def test_a_small_program_in_full():
    builder = ProgramBuilder("double.csl")
    address = builder.data("value", ScalarType.I16, [21])
    builder.function("main")
    place = SourceLocation("double.csl", 3, 5)
    pointer = builder.immediate(ScalarType.U16, address)
    value = builder.register()
    builder.emit(Opcode.LOAD, ScalarType.I16, rd=value, ra=pointer, location=place)
    builder.emit(Opcode.ADD, ScalarType.I16, rd=value, ra=value, rb=value, location=place)
    builder.emit(Opcode.STORE, ScalarType.I16, ra=pointer, rb=value, location=place)
    builder.emit(Opcode.RETURN)
    assert listing(builder.build()) == snapshot("""\
program double.csl

memory
  0x0100–0x0102  DATA           2 B
  0x0104–0x0116  CODE          18 B
  0x0118–0x0124  STACK         12 B
  total                         32 B

symbols
  0x0100        2 B  I16   value  exported as value
       0         pc  fn    main()  exported as main

code
main:
      0  0x0104  load_immediate.u16 r1, 256
      1  0x010a  load.i16 r2, r1, 0                              ; double.csl:3
      2  0x010e  add.i16 r2, r2, r2                              ; double.csl:3
      3  0x0110  store.i16 r1, 0, r2                             ; double.csl:3
      4  0x0114  return
""")


def test_every_table_appears(program):
    text = listing(program)
    for heading in (
        "memory",
        "symbols",
        "tasks",
        "queues",
        "dsds",
        "fifos",
        "configs",
        "messages",
        "patches",
        "code",
    ):
        assert f"\n{heading}\n" in text
    for line in (
        "mov32 dest.1, src1.1, config 0",
        "fadds [r7], r6, src1.1",
        "; everything.csl:12",
        "dsr_load dest.1, r4",
        "branch_nonzero r1, → 11",
        "convert.i16 r1, r1, f16",
        "block local_task 9",
        "data      3  pc",
        "FABOUT  color 1  queue 2",
        "microthread 4  activate 9  priority 1",
        "unblock input_queue 3",
        "2 values",
        "main(I16)  exported as main",
        "done (local task 9):",
    ):
        assert line in text, line


def test_the_listing_is_deterministic(program):
    assert listing(program) == listing(replace(program, exports=dict(program.exports)))


@pytest.mark.parametrize("opcode", [o for o in INSTRUCTIONS if o is not Opcode.DSD])
def test_every_instruction_has_a_form(opcode):
    text = format_instruction([opcode, 0, 0, 0, 0, 0, 0, 0])
    assert text.split()[0].partition(".")[0] == opcode.name.lower()


def test_a_condition_stands_before_its_instruction():
    assert format_instruction([Opcode.MOVE, 0, 1, 2, 0, 7, 0, 0]) == "r7 ? move r1, r2"
    assert format_instruction([Opcode.MOVE, 0, 1, 2, 0, -7, 0, 0]) == "!r7 ? move r1, r2"


@pytest.mark.parametrize("row", [[99, 0, 0, 0, 0, 0, 0, 0], [33, 70, -1, 9 << 16, 1, 0, -1, 0]])
def test_nonsense_is_shown_and_not_raised(row):
    assert format_instruction(row)

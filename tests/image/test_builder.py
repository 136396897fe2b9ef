"""The assembler resolves labels, lays out memory and interns routes."""

import numpy as np
import pytest

from onewafer.errors import ImageError
from onewafer.image import (
    ColorConfig,
    Field,
    Opcode,
    ScalarType,
    SectionKind,
    SwitchPosition,
    verify,
)
from tests.image.builder import ProgramBuilder, make_image, to_word


def empty(name, *exports):
    builder = ProgramBuilder(name)
    for export in exports:
        builder.function(export)
        builder.emit(Opcode.RETURN)
    return builder.build()


def test_labels_resolve_in_both_directions():
    builder = ProgramBuilder("jumps")
    builder.label("start")
    builder.emit(Opcode.JUMP, imm="end")
    builder.emit(Opcode.JUMP, imm="start")
    builder.label("end")
    builder.emit(Opcode.END_TASK)
    assert builder.build().code[:, Field.IMM].tolist() == [2, 0, 0]


def test_an_unknown_label_is_refused():
    builder = ProgramBuilder("lost")
    builder.label("here")
    builder.emit(Opcode.JUMP, imm="there")
    with pytest.raises(ImageError, match="'there' is not defined; the labels are: here"):
        builder.build()


def test_a_second_label_of_a_name_is_refused():
    builder = ProgramBuilder("twice")
    builder.label("here")
    with pytest.raises(ImageError, match="'here' is defined twice"):
        builder.label("here")


def test_data_are_aligned_and_little_endian():
    builder = ProgramBuilder("data")
    assert builder.data("byte", ScalarType.U8, [7]) == 0x100
    assert builder.data("word", ScalarType.F32, [1.0]) == 0x104
    assert builder.data("zeros", ScalarType.I16, num_elements=2) == 0x108
    data = builder.build().data
    assert data.tolist() == [7, 0, 0, 0, 0, 0, 0x80, 0x3F, 0, 0, 0, 0]


def test_sections_follow_each_other(program):
    sections = {section.kind: section for section in program.sections}
    data, code, stack = (
        sections[kind] for kind in (SectionKind.DATA, SectionKind.CODE, SectionKind.STACK)
    )
    assert data.address + data.num_bytes <= code.address
    assert code.address + code.num_bytes <= stack.address


@pytest.mark.parametrize(
    ("element", "value", "word"),
    [
        (ScalarType.I16, -1, 0xFFFF_FFFF),
        (ScalarType.U16, 65535, 0xFFFF),
        (ScalarType.F16, 1.0, 0x3C00),
        (ScalarType.F32, -2.0, 0xC000_0000),
        (ScalarType.BOOL, True, 1),
    ],
)
def test_register_words_are_canonical(element, value, word):
    assert to_word(element, value) == word


def test_a_program_on_each_pe(architecture):
    left, right = empty("left", "main", "more"), empty("right", "main")
    image = make_image(architecture, {(1, 0): right, (0, 0): left}, width=2)
    verify(image, architecture)
    assert [program.name for program in image.programs] == ["left", "right"]
    assert image.program_of_pe.tolist() == [[0, 1]]
    assert [export.name for export in image.exports] == ["main"]


def test_equal_routes_are_interned(architecture):
    config = [ColorConfig((SwitchPosition(16, 2),)) for _ in range(2)]
    image = make_image(
        architecture, {}, width=2, routes={(0, 0, 3): config[0], (1, 0, 3): config[1]}
    )
    assert len(image.color_configs) == 1
    assert np.flatnonzero(image.config_of_color[0, 1] == 0).tolist() == [3]


def test_a_place_outside_is_refused(architecture):
    with pytest.raises(ImageError, match=r"PE \(2, 0\), outside 2×1"):
        make_image(architecture, {(2, 0): empty("far")}, width=2)

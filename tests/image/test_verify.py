"""Every rule of the verifier fires when, and only when, its rule is broken."""

import re
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import ImageError
from onewafer.image import (
    CounterFilter,
    DsdConfig,
    DsdDescriptor,
    DsdKind,
    Field,
    FifoBuffer,
    Opcode,
    OperandMode,
    PatchTarget,
    QueueBinding,
    RangeFilter,
    Rotation,
    ScalarType,
    Section,
    SectionKind,
    SwitchPosition,
    Symbol,
    SymbolKind,
    Task,
    TaskKind,
    listing,
    operand,
    verify,
)
from onewafer.image.program_rules import PROGRAM_RULES
from onewafer.image.verify import IMAGE_RULES


def test_a_valid_image_passes(image, architecture):
    verify(image, architecture)


def test_an_image_without_programs_passes(image, architecture):
    empty = np.full_like(image.program_of_pe, -1)
    verify(replace(image, programs=(), program_of_pe=empty, exports=()), architecture)


def edit(opcode, field, value, *, nth=0):
    """Change a field of the nth instruction with an opcode."""

    def mutate(program):
        code = program.code.copy()
        pc = np.flatnonzero(code[:, Field.OPCODE] == opcode)[nth]
        code[pc, field] = value
        return replace(program, code=code)

    return mutate


STORES = edit(Opcode.COORDINATE, Field.OPCODE, Opcode.STORE)
PRINTS = edit(Opcode.COORDINATE, Field.OPCODE, Opcode.PRINT)


def change(**fields):
    """Replace fields of the program; a function gets the old value."""

    def mutate(program):
        new = {
            name: value(getattr(program, name)) if callable(value) else value
            for name, value in fields.items()
        }
        return replace(program, **new)

    return mutate


def added(*items):
    return lambda old: (*old, *items)


def patched(**fields):
    return lambda patches: (replace(patches[0], **fields), *patches[1:])


REGISTER = OperandMode.REGISTER
PROGRAM_MUTATIONS = [
    ("code is a table", change(code=lambda code: code[:, :7])),
    ("code is a table", change(locations=lambda locations: locations[1:])),
    ("opcodes exist", edit(Opcode.ADD, Field.OPCODE, 99)),
    ("types are legal", edit(Opcode.ADD, Field.TYPE, 42)),
    ("types are legal", edit(Opcode.ADD, Field.TYPE, ScalarType.BOOL)),
    ("types are legal", edit(Opcode.DSD, Field.TYPE, 77)),
    ("registers are in range", edit(Opcode.ADD, Field.RA, 900)),
    ("registers are in range", edit(Opcode.ADD, Field.RB, -1)),
    ("registers are in range", lambda p: edit(Opcode.DSR_LOAD, Field.RA, p.num_registers - 1)(p)),
    ("registers are in range", edit(Opcode.DSD, Field.RA, operand(REGISTER, 900), nth=1)),
    ("register 0 is never", edit(Opcode.ADD, Field.RD, 0)),
    ("register 0 is never", change(tasks=added(Task(TaskKind.CONTROL, 6, 0, "t", (0,), (ScalarType.U16,))))),
    ("conditions belong", edit(Opcode.DSR_LOAD, Field.RC, 1)),
    ("registers are in range", edit(Opcode.ADD, Field.RC, -900)),
    ("branch targets", edit(Opcode.BRANCH_NONZERO, Field.IMM, 500)),
    ("branch targets", edit(Opcode.BRANCH_NONZERO, Field.IMM, -1)),
    ("code does not run past", change(code=lambda c: c[:-1], locations=lambda p: p[:-1])),
    ("immediates are legal", edit(Opcode.CONVERT, Field.IMM, 42)),
    ("one 16-bit float", edit(Opcode.CONVERT, Field.IMM, ScalarType.CB16)),
    ("one 16-bit float", edit(Opcode.ADD, Field.TYPE, ScalarType.BF16)),
    ("one 16-bit float", change(half=lambda _: ScalarType.F32)),
    ("one 16-bit float", change(symbols=lambda s: (*s[:-1], replace(s[-1], argument_types=(ScalarType.BF16,))))),
    ("immediates are legal", edit(Opcode.TRAP, Field.IMM, 1)),
    ("immediates are legal", edit(Opcode.COORDINATE, Field.IMM, 2)),
    ("immediates are legal", lambda p: edit(Opcode.PRINT, Field.IMM, 5)(PRINTS(p))),
    ("immediates are legal", lambda p: edit(Opcode.PRINT, Field.AUX, 1)(edit(Opcode.PRINT, Field.IMM, 0)(PRINTS(p)))),
    ("immediates are legal", lambda p: edit(Opcode.TIMESTAMP, Field.IMM, 2)(edit(Opcode.COORDINATE, Field.OPCODE, Opcode.TIMESTAMP)(p))),
    ("immediates are legal", edit(Opcode.TIMESTAMP_CONTROL, Field.IMM, 3)),
    ("immediates are legal", edit(Opcode.ACTIVATE, Field.IMM, 31)),
    ("immediates are legal", lambda p: edit(Opcode.FIFO_SET_LENGTH, Field.IMM, 2 * len(p.fifos))(edit(Opcode.ACTIVATE, Field.OPCODE, Opcode.FIFO_SET_LENGTH)(p))),
    ("immediates are legal", edit(Opcode.BLOCK, Field.IMM, 0x308)),
    ("immediates are legal", edit(Opcode.BLOCK, Field.IMM, 0x400)),
    ("immediates are legal", edit(Opcode.LOAD_IMMEDIATE, Field.TYPE, ScalarType.BOOL)),
    ("immediates are legal", edit(Opcode.ADD, Field.IMM, 5)),
    ("immediates are legal", lambda p: edit(Opcode.STORE, Field.AUX, 1 << 16)(STORES(p))),
    ("immediates are legal", lambda p: edit(Opcode.STORE, Field.AUX, -40000)(STORES(p))),
    ("immediates are legal", lambda p: edit(Opcode.STORE, Field.AUX, 5)(edit(Opcode.STORE, Field.RB, 1)(STORES(p)))),
    ("DSR numbers", edit(Opcode.DSR_LOAD, Field.RD, operand(OperandMode.DSR_DEST, 99))),
    ("DSR numbers", edit(Opcode.DSR_LOAD, Field.RD, operand(REGISTER, 1))),
    ("DSR numbers", edit(Opcode.DSR_LOAD_CONSTANT, Field.RD, operand(REGISTER, 1))),
    ("DSD constants", edit(Opcode.DSR_LOAD_CONSTANT, Field.AUX, 5 << 16)),
    ("DSR numbers", edit(Opcode.DSD, Field.RB, 9 << 16)),
    ("operand modes", edit(Opcode.DSD, Field.RD, operand(REGISTER, 1))),
    ("operand modes", edit(Opcode.DSD, Field.RA, operand(REGISTER, 1))),
    ("operand modes", edit(Opcode.DSD, Field.RB, 0)),
    ("configuration indices", edit(Opcode.DSD, Field.IMM, 2)),
    ("DSD descriptors", change(dsds=added(DsdDescriptor(DsdKind.FABIN, color=24, queue=3)))),
    ("DSD descriptors", change(dsds=added(DsdDescriptor(DsdKind.MEM4D, extents=(1, 2), strides=(1,))))),
    ("DSD descriptors", change(dsds=added(DsdDescriptor(DsdKind.MEM4D)))),
    ("DSD descriptors", change(dsds=added(DsdDescriptor(DsdKind.MEM1D, extents=(1,))))),
    ("a queue exists", change(queues=added(QueueBinding(9, 1, is_input=True)))),
    ("a queue exists", change(queues=added(QueueBinding(3, 2, is_input=True)))),
    ("rotations count", change(rotations=added(Rotation(3, 6, 1)))),
    ("rotations count", change(rotations=added(Rotation(4, 5, 1)))),
    ("rotations count", change(rotations=added(Rotation(3, 5, 1, 2)))),
    ("rotations count", change(rotations=lambda _: (Rotation(3, 5, 1),) * 2)),
    ("rotations count", change(rotations=lambda _: (Rotation(3, 5, 1),) * 3)),
    ("control mask", change(control_mask=lambda _: 64)),
    ("exceptions are", change(exception_mask=lambda _: 0xFF7F)),
    ("FIFOs lie", change(fifos=added(FifoBuffer(0, 16)))),
    ("FIFOs lie", change(fifos=added(FifoBuffer(0x100, 2)))),
    ("FIFOs lie", change(fifos=added(FifoBuffer(0x100, 4, activate_pop=31)))),
    ("descriptors are complete", change(dsds=added(DsdDescriptor(DsdKind.FIFO, fifo=9)))),
    ("configuration indices", edit(Opcode.DSD, Field.AUX, 1)),
    ("immediates are legal", edit(Opcode.DSR_LOAD, Field.IMM, 2)),
    ("register 0 is never", edit(Opcode.MAP_STEP, Field.RA, 0)),
    ("register 0 is never", edit(Opcode.MAP_WRITE, Field.RA, 0)),
    ("registers are in range", edit(Opcode.MAP_READ, Field.RA, 99)),
    ("branch targets", edit(Opcode.MAP_BEGIN, Field.IMM, 999)),
    ("configurations are legal", change(configs=added(DsdConfig(microthread=8)))),
    ("configurations are legal", change(configs=added(DsdConfig(microthread=1, activate=3)))),
    ("configurations are legal", change(configs=added(DsdConfig(microthread=1, unblock=0x999)))),
    ("configurations are legal", change(configs=added(DsdConfig(microthread=1, priority=3)))),
    ("DSRs are loaded", change(loaded_dsrs=np.array([[operand(OperandMode.DSR_DEST, 99), 0, 0]], np.int32))),
    ("DSRs are loaded", change(loaded_dsrs=np.array([[operand(REGISTER, 1), 0, 0]], np.int32))),
    ("DSRs are loaded", change(loaded_dsrs=np.array([[operand(OperandMode.DSR_DEST, 1), 0, 9 << 16]], np.int32))),
    ("tables have their shapes", change(loaded_dsrs=np.zeros((1, 2), np.int32))),
    ("tables have their shapes", change(pointers=np.zeros(4, np.int32))),
    ("tables have their shapes", change(addressed=np.zeros((1, 7), np.int32))),
    ("tables have their shapes", change(data=np.zeros((2, 2), np.uint8))),
    ("blocked channels", change(blocked_channels=(0x2FF,))),
    ("task ids", change(tasks=added(Task(TaskKind.LOCAL, 7, 0, "low")))),
    ("task ids", change(tasks=added(Task(TaskKind.LOCAL, 9, 0, "twin")))),
    ("tasks start inside", change(tasks=added(Task(TaskKind.LOCAL, 11, 900, "far")))),
    ("tasks start inside", change(tasks=added(Task(TaskKind.LOCAL, 11, 0, "untyped", (1,), ())))),
    ("reserved ids", change(tasks=added(Task(TaskKind.LOCAL, 30, 0, "mine")))),
    ("reserved ids", change(queues=added(QueueBinding(4, 22, is_input=True)))),
    ("reserved ids", change(queues=added(QueueBinding(0, 5, is_input=False)))),
    ("sections fit", change(sections=added(Section(SectionKind.STACK, 48 * 1024, 4)))),
    ("sections fit", change(sections=added(Section(SectionKind.RUNTIME, 0x80, 0x100)))),
    ("registers fit", change(num_registers=1 << 31)),
    ("registers fit", change(num_registers=0)),
    ("code fits", change(sections=lambda s: tuple(x for x in s if x.kind is not SectionKind.CODE))),
    ("initial data", change(data_address=0x180)),
    ("symbols lie", change(symbols=added(Symbol("far", SymbolKind.VARIABLE, 0x9000, 4)))),
    ("symbols lie", change(symbols=added(Symbol("f", SymbolKind.FUNCTION, 900, 0)))),
    ("symbols lie", change(symbols=added(Symbol("odd", SymbolKind.VARIABLE, 0x101, 4, ScalarType.F32)))),
    ("symbols lie", change(symbols=added(Symbol("main", SymbolKind.FUNCTION, 0, 0)))),
    ("exports name symbols", change(exports=lambda exports: {**exports, "x": "nothing"})),
    ("patches hit", change(patches=patched(values=np.zeros(3, np.int32)))),
    ("patches hit", change(patches=patched(values=np.array([0, 70000], np.int32)))),
    ("patches hit", change(patches=patched(location=900))),
    ("patches hit", change(patches=patched(target=PatchTarget.DATA, location=0x9000))),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "mutate"), PROGRAM_MUTATIONS)
def test_a_broken_program_is_refused(image, architecture, rule, mutate):
    broken = replace(image, programs=(mutate(image.programs[0]),))
    with pytest.raises(ImageError, match=re.escape(rule)) as e:
        verify(broken, architecture)
    assert "program 0 'everything.csl (n=4)'" in str(e.value)


def first_config(**fields):
    return lambda configs: (replace(configs[0], **fields), *configs[1:])


def poked(index, value):
    def mutate(array):
        array = array.copy()
        array[index] = value
        return array

    return mutate


IMAGE_MUTATIONS = [
    ("one entry a PE", change(width=3)),
    ("one entry a PE", change(program_of_pe=poked((0, 0), -2))),
    ("for this machine", change(arch="wse2")),
    ("fits the fabric", change(fabric_width=100_000)),
    ("fits the fabric", change(offset_x=-1)),
    ("fits the fabric", change(offset_y=1000)),
    ("program indices", change(program_of_pe=poked((0, 1), 1))),
    ("configuration indices", change(config_of_color=poked((0, 1, 5), 9))),
    ("color configurations", change(color_configs=first_config(positions=()))),
    ("color configurations", change(color_configs=first_config(positions=(None,)))),
    ("color configurations", change(color_configs=first_config(current_position=1))),
    ("color configurations", change(color_configs=first_config(positions=(SwitchPosition(32, 1),)))),
    ("color configurations", change(color_configs=first_config(filter=RangeFilter(4, 3)))),
    ("color configurations", change(color_configs=first_config(filter=CounterFilter(1, 1 << 16)))),
    ("color configurations", change(color_configs=first_config(positions=(None, SwitchPosition(1, 1)), current_position=1))),
    ("switchable colors", change(config_of_color=poked((0, 1, 10), 0), color_configs=first_config(positions=(SwitchPosition(1, 1),) * 2))),
    ("colors change only where", change(color_configs=first_config(swap_mask=1))),
    ("color configurations", change(color_configs=first_config(swap_mask=32))),
    ("exports are bound", change(exports=lambda e: (*e, e[0]))),
    ("exports are bound", change(exports=lambda e: (*e, replace(e[0], name="absent")))),
    ("exports are bound", change(exports=lambda e: (*e[:-1], replace(e[-1], argument_types=())))),
    ("exports are bound", change(exports=lambda e: (replace(e[0], kind=SymbolKind.FUNCTION), *e[1:]))),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "mutate"), IMAGE_MUTATIONS)
def test_a_broken_image_is_refused(image, architecture, rule, mutate):
    with pytest.raises(ImageError, match=re.escape(rule)):
        verify(mutate(image), architecture)


def test_every_rule_has_a_mutation():
    broken = [rule for rule, _ in (*PROGRAM_MUTATIONS, *IMAGE_MUTATIONS)]
    untested = [
        name
        for name, _ in (*PROGRAM_RULES, *IMAGE_RULES)
        if not any(rule in name for rule in broken) and name != "colors exist"
    ]
    assert untested == []


def test_all_breaches_are_listed_with_their_place(image, architecture):
    program = edit(Opcode.ADD, Field.RD, 0)(image.programs[0])
    program = edit(Opcode.DSD, Field.IMM, 5)(program)
    with pytest.raises(ImageError) as error:
        verify(replace(image, programs=(program,)), architecture)
    message = str(error.value)
    assert "(2 rules)" in message
    assert "(ADD): writes register 0" in message
    assert "at everything.csl:12:5 (DSD): configuration 5 of 2" in message


FIELD_VALUES = st.integers(-3, 60) | st.integers(-(2**31), 2**31 - 1)
ROWS = st.tuples(st.integers(0, 45), *[FIELD_VALUES] * 7)


@given(st.lists(ROWS, max_size=6))
def test_no_code_makes_the_verifier_fail(image, architecture, rows):
    code = np.array(rows, dtype=np.int32).reshape(-1, 8)
    program = replace(image.programs[0], code=code, locations=(None,) * len(rows))
    assert listing(program)
    with suppress(ImageError):
        verify(replace(image, programs=(program,)), architecture)

"""Addresses as linear forms."""

from __future__ import annotations

from onewafer.csl import ir
from onewafer.csl.codegen.linear import linearize
from onewafer.csl.codegen.object_code import Address
from onewafer.image import Opcode, ScalarType

T = ScalarType
X = ir.Global("x", 64, 4, T.F32, None)
SHORT, LONG = ir.Local("i", T.I16), ir.Local("j", T.U32)


def imm(word: int, scalar: ScalarType = T.U16) -> ir.Immediate:
    return ir.Immediate(scalar, word)


def binary(opcode: Opcode, left: ir.Expression, right: ir.Expression) -> ir.Binary:
    return ir.Binary(opcode, T.U16, left, right)


def test_constants_and_the_symbol_are_gathered() -> None:
    address = binary(Opcode.ADD, binary(Opcode.ADD, imm(6), ir.AddressOf(X, 4)), imm(2))
    linear = linearize(address, 8)
    assert linear.constant == Address(X, 20)
    assert linear.terms == ()


def test_equal_locals_are_added_up() -> None:
    i = ir.Convert(T.I16, T.U16, ir.ReadLocal(SHORT))
    address = binary(
        Opcode.SUB, binary(Opcode.MUL, imm(6), i), binary(Opcode.SHL, ir.ReadLocal(SHORT), imm(1))
    )
    (term,) = linearize(address).terms
    assert term.coefficient == 4


def test_terms_that_cancel_vanish() -> None:
    i = ir.ReadLocal(SHORT)
    assert linearize(binary(Opcode.SUB, i, i)).terms == ()


def test_wide_indices_need_no_conversion_and_narrow_ones_do() -> None:
    wide = ir.Convert(T.U32, T.U16, ir.ReadLocal(LONG))
    narrow = ir.Convert(T.U8, T.U16, ir.ReadLocal(LONG))
    assert isinstance(linearize(wide).terms[0].value, ir.ReadLocal)
    assert linearize(narrow).terms[0].value is narrow


def test_a_second_symbol_and_a_scaled_one_are_terms() -> None:
    twice = binary(Opcode.ADD, ir.AddressOf(X), ir.AddressOf(X))
    assert len(linearize(twice).terms) == 1
    scaled = binary(Opcode.MUL, ir.AddressOf(X), imm(2))
    assert linearize(scaled).terms[0].coefficient == 2


def test_a_value_that_differs_between_pes_is_a_term() -> None:
    address = binary(Opcode.ADD, ir.AddressOf(X), ir.Immediate(T.U16, 4, ir.PerPe(0)))
    assert len(linearize(address).terms) == 1

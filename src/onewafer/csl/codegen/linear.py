"""Addresses as linear forms: symbol + constant + Σ coefficient · term, modulo 64 KiB.

In: an address expression. Out: the part for the immediate of a LOAD, STORE or DSD, and the
terms to compute. Only the low 16 bits of an address matter, so sums, differences and
products of integers of at least 16 bits may be taken apart, and conversions between them dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onewafer.csl import ir
from onewafer.csl.codegen.object_code import Address
from onewafer.csl.ir import walk
from onewafer.image import Opcode, ScalarType

ADDRESS_BITS = 16


@dataclass(frozen=True, slots=True)
class Term:
    """`coefficient · value`, the coefficient signed and non-zero."""

    value: ir.Expression
    coefficient: int


@dataclass(frozen=True, slots=True)
class Linear:
    """`variable + offset + Σ terms`."""

    variable: ir.Global | None
    offset: int
    terms: tuple[Term, ...]
    array: tuple[int, int] | None = None
    """See `ir.AddressOf`."""

    @property
    def constant(self) -> int | Address:
        """The constant part, which needs no code."""
        return (
            self.offset
            if self.variable is None
            else Address(self.variable, self.offset, self.array)
        )


def linearize(expression: ir.Expression, offset: int = 0) -> Linear:
    """Take an address apart; `offset` is added to it."""
    builder = _Builder(offset=offset)
    builder.add(expression, 1)
    return Linear(
        builder.variable,
        _to_signed(builder.offset),
        tuple(
            Term(value, coefficient)
            for value, number in builder.terms
            if (coefficient := _to_signed(number)) != 0
        ),
        builder.array,
    )


@dataclass(slots=True)
class _Builder:
    offset: int
    variable: ir.Global | None = None
    array: tuple[int, int] | None = None
    terms: list[tuple[ir.Expression, int]] = field(default_factory=list[tuple[ir.Expression, int]])

    def add(self, expression: ir.Expression, factor: int) -> None:
        match expression:
            case ir.Immediate(per_pe=None, word=word):
                self.offset += factor * word
            case ir.AddressOf(variable=variable, offset=offset, array=array) if (
                factor == 1 and self.variable is None
            ):
                self.variable, self.array = variable, array
                self.offset += offset
            case ir.Binary(type=scalar) if _holds_address(scalar):
                self._add_binary(expression, factor)
            case ir.Convert(source=source, target=target, operand=operand) if _holds_address(
                source
            ) and _holds_address(target):
                self.add(operand, factor)
            case _:
                self._add_term(expression, factor)

    def _add_binary(self, binary: ir.Binary, factor: int) -> None:
        match binary:
            case ir.Binary(opcode=Opcode.ADD, left=left, right=right):
                self.add(left, factor)
                self.add(right, factor)
            case ir.Binary(opcode=Opcode.SUB, left=left, right=right):
                self.add(left, factor)
                self.add(right, -factor)
            case (
                ir.Binary(opcode=Opcode.MUL, left=value, right=ir.Immediate(per_pe=None, word=word))
                | ir.Binary(
                    opcode=Opcode.MUL, left=ir.Immediate(per_pe=None, word=word), right=value
                )
            ):
                self._add_product(binary, value, factor, word)
            case ir.Binary(
                opcode=Opcode.SHL, left=value, right=ir.Immediate(per_pe=None, word=count)
            ) if 0 <= count < ADDRESS_BITS:
                self._add_product(binary, value, factor, 1 << count)
            case _:
                self._add_term(binary, factor)

    def _add_product(
        self, product: ir.Binary, value: ir.Expression, factor: int, scale: int
    ) -> None:
        """Add `factor · product`, which is `factor · scale · value`; a call in it stays."""
        if _to_signed(factor * scale) == 0 and walk.has_effect(value):
            self._add_term(product, factor)
        else:
            self.add(value, factor * scale)

    def _add_term(self, expression: ir.Expression, factor: int) -> None:
        for i, (value, coefficient) in enumerate(self.terms):
            if _is_same_local(value, expression):
                self.terms[i] = (value, coefficient + factor)
                return
        self.terms.append((expression, factor))


def _is_same_local(a: ir.Expression, b: ir.Expression) -> bool:
    match a, b:
        case ir.ReadLocal(local=x), ir.ReadLocal(local=y):
            return x is y
        case _:
            return False


def _holds_address(held: ir.NumberType) -> bool:
    is_word = isinstance(held, ScalarType) and not held.is_float
    return is_word and held.num_bytes * 8 >= ADDRESS_BITS


def _to_signed(number: int) -> int:
    half = 1 << (ADDRESS_BITS - 1)
    return ((number + half) & (2 * half - 1)) - half

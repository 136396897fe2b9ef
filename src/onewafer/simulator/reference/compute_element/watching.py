"""Instructions that note which floating point exceptions their computations raise (M147).

Results do not change: operands and result of an operation are compared with exact fractions. The
fast engine derives the same exceptions with `arithmetic.exceptions`.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite, isinf, isnan, trunc
from typing import TYPE_CHECKING, Final

from onewafer.image import DsdOperation, Field, Opcode, ScalarType
from onewafer.simulator.arithmetic import canonical
from onewafer.simulator.arithmetic.compiled import single_to_float
from onewafer.simulator.arithmetic.exceptions import DIVISION, INEXACT, INVALID, OVERFLOW, UNDERFLOW
from onewafer.simulator.arithmetic.floating import half_to_float
from onewafer.simulator.arithmetic.integer import to_number
from onewafer.simulator.reference.compute_element.exceptions import check_exceptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.simulator.reference.compute_element.exceptions import Raised
    from onewafer.simulator.reference.compute_element.instructions import Instruction, Processor

_F16, _F32, _I16 = ScalarType.F16, ScalarType.F32, ScalarType.I16
_SMALLEST_NORMAL: Final = {
    _F16: Fraction(1, 1 << 14),
    ScalarType.CB16: Fraction(1, 1 << 41),
    ScalarType.BF16: Fraction(1, 1 << 126),
    _F32: Fraction(1, 1 << 126),
}


@dataclass(frozen=True, slots=True)
class _Shape:
    """The exact computation of an operation, and the types of its operands."""

    exact: Callable[..., Fraction]
    operands: tuple[ScalarType | None, ...]
    """None: not an operand."""
    result: ScalarType

    def of(self, half: ScalarType) -> _Shape:
        """Return the shape in a program with another 16-bit float than f16 (M148)."""
        operands = tuple(half if type_ is _F16 else type_ for type_ in self.operands)
        return _Shape(self.exact, operands, half if self.result is _F16 else self.result)


def _same(a: Fraction) -> Fraction:
    return a


def _quotient(a: Fraction, b: Fraction) -> Fraction:
    return a / b


def _multiply_add(a: Fraction, b: Fraction, c: Fraction) -> Fraction:
    return a + b * c


def _scaled(a: Fraction, exponent: Fraction) -> Fraction:
    return a * Fraction(2) ** int(exponent)


_SCALARS: Final[dict[Opcode, Callable[..., Fraction]]] = {
    Opcode.ADD: operator.add,
    Opcode.SUB: operator.sub,
    Opcode.MUL: operator.mul,
    Opcode.DIV: _quotient,
}
_D = DsdOperation
_ELEMENTS: Final[dict[DsdOperation, _Shape]] = {
    **{
        operation: _Shape(_SCALARS[opcode], (type_, type_, None), type_)
        for opcode, half, single in (
            (Opcode.ADD, _D.FADDH, _D.FADDS),
            (Opcode.SUB, _D.FSUBH, _D.FSUBS),
            (Opcode.MUL, _D.FMULH, _D.FMULS),
        )
        for operation, type_ in ((half, _F16), (single, _F32))
    },
    _D.FADDHS: _Shape(operator.add, (_F32, _F16, None), _F32),
    _D.FMACH: _Shape(_multiply_add, (_F16, _F16, _F16), _F16),
    _D.FMACS: _Shape(_multiply_add, (_F32, _F32, _F32), _F32),
    _D.FMACHS: _Shape(_multiply_add, (_F32, _F16, _F16), _F32),
    _D.FS2H: _Shape(_same, (None, _F32, None), _F16),
    _D.FSCALEH: _Shape(_scaled, (None, _F16, _I16), _F16),
    _D.FSCALES: _Shape(_scaled, (None, _F32, _I16), _F32),
    _D.FH2XP16: _Shape(_same, (None, _F16, None), _I16),
    _D.FS2XP16: _Shape(_same, (None, _F32, None), _I16),
    _D.XP162FH: _Shape(_same, (None, _I16, None), _F16),
}


def watching(
    instruction: Instruction, row: Sequence[int], raised: Raised, half: ScalarType
) -> Instruction:
    """Return an instruction that notes the exceptions of its computation.

    `half` is the 16-bit float of the program.
    """
    shape = _shape(instruction.opcode, row, half)
    if shape is None:
        return instruction
    compute, execute = instruction.function, instruction.execute

    def watched(*words: int) -> int:
        word = compute(*words)
        raised.add(exceptions_of(shape, words, word))
        return word

    def checked(element: Processor, one: Instruction, cycle: int) -> int:
        following = execute(element, one, cycle)
        check_exceptions(element.exceptions)
        return following

    return replace(instruction, function=watched, execute=checked)


def _shape(opcode: Opcode, row: Sequence[int], half: ScalarType) -> _Shape | None:
    match opcode:
        case Opcode.DSD:
            shape = _ELEMENTS.get(DsdOperation(row[Field.TYPE]))
            return None if shape is None else shape.of(half)
        case Opcode.CONVERT:
            source, target = ScalarType(row[Field.TYPE]), ScalarType(row[Field.IMM])
            is_float = source.is_float or target.is_float
            if not is_float or ScalarType.BOOL in (source, target):
                return None
            return _Shape(_same, (source,), target)
        case _ if opcode in _SCALARS and ScalarType(row[Field.TYPE]).is_float:
            type_ = ScalarType(row[Field.TYPE])
            return _Shape(_SCALARS[opcode], (type_, type_), type_)
        case _:
            return None


def exceptions_of(shape: _Shape, words: Sequence[int], word: int) -> int:
    """Return the exceptions of an operation from its operand words and result word."""
    operands = [
        _value(given, type_)
        for given, type_ in zip(words, shape.operands, strict=False)
        if type_ is not None
    ]
    if any(map(isnan, operands)):
        return INVALID if not shape.result.is_float else 0
    if not shape.result.is_float:
        return _of_integer(operands[0], shape.result)
    result = _value(word, shape.result)
    if isnan(result):
        return INVALID
    if any(map(isinf, operands)):
        return 0
    if isinf(result) and shape.exact is _SCALARS[Opcode.DIV] and operands[1] == 0:
        return DIVISION
    if isinf(result):
        return OVERFLOW | INEXACT
    exact = shape.exact(*map(Fraction, operands))
    if exact == Fraction(result):
        return 0
    return INEXACT | UNDERFLOW if abs(exact) < _SMALLEST_NORMAL[shape.result] else INEXACT


def _of_integer(value: float, type_: ScalarType) -> int:
    """Return the exceptions of a conversion to an integer, toward zero."""
    bits = 8 * type_.num_bytes
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if type_.is_signed else (0, (1 << bits) - 1)
    if not isfinite(value) or not low <= trunc(value) <= high:
        return INVALID
    return 0 if value == trunc(value) else INEXACT


def _value(word: int, type_: ScalarType) -> float:
    if type_ is _F32:
        return single_to_float(word)
    if type_.is_half:
        return half_to_float(word & 0xFFFF, int(type_))
    return float(to_number(canonical(word, type_), int(type_)))

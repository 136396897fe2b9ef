"""Dispatch tables for the engines: the function of each operation.

In: an opcode and a `ScalarType`, or a `DsdOperation`. Out: a function over canonical register
words. A pair that the instruction table does not define is a `KeyError`; `image.verify` refuses
such programs before an engine sees them.
"""

from __future__ import annotations

from collections.abc import Callable

from onewafer.image import DsdOperation, Opcode, ScalarType
from onewafer.simulator.arithmetic import floating, integer, undefined
from onewafer.simulator.arithmetic.compiled import (
    float_to_single,
    jitable,
    single_to_float,
)

Unary = Callable[[int], int]
Binary = Callable[[int, int], int]
Element = Callable[[int, int, int], int]
"""(src0, src1, scalar) → dest; absent operands are passed as 0. ADDC16 has its carry as scalar."""


def _bind_binary(function: Callable[[int, int, int], int], element: ScalarType) -> Binary:
    kind = int(element)

    def bound(a: int, b: int) -> int:
        return function(a, b, kind)

    return jitable(bound)


def _bind_unary(function: Callable[[int, int], int], element: ScalarType) -> Unary:
    kind = int(element)

    def bound(a: int) -> int:
        return function(a, kind)

    return jitable(bound)


HALVES = tuple(t for t in ScalarType if t.is_half)
_INTEGERS = tuple(t for t in ScalarType if not t.is_float and t is not ScalarType.BOOL)
_BITS = (ScalarType.BOOL, *_INTEGERS)
_INTEGER_BINARY = {
    Opcode.ADD: (integer.add, _INTEGERS),
    Opcode.SUB: (integer.sub, _INTEGERS),
    Opcode.MUL: (integer.mul, _INTEGERS),
    Opcode.DIV: (integer.div, _INTEGERS),
    Opcode.REM: (integer.rem, _INTEGERS),
    Opcode.AND: (integer.bitwise_and, _BITS),
    Opcode.OR: (integer.bitwise_or, _BITS),
    Opcode.XOR: (integer.bitwise_xor, _BITS),
    Opcode.SHL: (integer.shift_left, _INTEGERS),
    Opcode.SHR: (integer.shift_right, _INTEGERS),
    Opcode.EQUAL: (integer.equal, _BITS),
    Opcode.NOT_EQUAL: (integer.not_equal, _BITS),
    Opcode.LESS: (integer.less, _BITS),
    Opcode.LESS_EQUAL: (integer.less_equal, _BITS),
}
_FLOAT_BINARY: dict[Opcode, tuple[Callable[[int, int, int], int], Binary]] = {
    # of 16-bit floats, whose type is the last argument, and of f32
    Opcode.ADD: (floating.add_half, floating.add_single),
    Opcode.SUB: (floating.sub_half, floating.sub_single),
    Opcode.MUL: (floating.mul_half, floating.mul_single),
    Opcode.DIV: (floating.div_half, floating.div_single),
    Opcode.EQUAL: (floating.equal_half, floating.equal_single),
    Opcode.NOT_EQUAL: (floating.not_equal_half, floating.not_equal_single),
    Opcode.LESS: (floating.less_half, floating.less_single),
    Opcode.LESS_EQUAL: (floating.less_equal_half, floating.less_equal_single),
}
BINARY: dict[tuple[Opcode, ScalarType], Binary] = {
    **{
        (opcode, element): _bind_binary(function, element)
        for opcode, (function, elements) in _INTEGER_BINARY.items()
        for element in elements
    },
    **{
        (opcode, kind): _bind_binary(half, kind)
        for opcode, (half, _) in _FLOAT_BINARY.items()
        for kind in HALVES
    },
    **{(opcode, ScalarType.F32): single for opcode, (_, single) in _FLOAT_BINARY.items()},
}
UNARY: dict[tuple[Opcode, ScalarType], Unary] = {
    **{(Opcode.NEG, element): _bind_unary(integer.negate, element) for element in _INTEGERS},
    **{(Opcode.NOT, element): _bind_unary(integer.complement, element) for element in _BITS},
    **dict.fromkeys(((Opcode.NEG, kind) for kind in HALVES), floating.neg_half),
    (Opcode.NEG, ScalarType.F32): floating.neg_single,
}


def binary(opcode: Opcode, element: ScalarType) -> Binary:
    """Return the function of ADD … SHR or EQUAL … LESS_EQUAL on operands of type `element`."""
    return BINARY[opcode, element]


def unary(opcode: Opcode, element: ScalarType) -> Unary:
    """Return the function of NEG or NOT on an operand of type `element`."""
    return UNARY[opcode, element]


def canonical(value: int, element: ScalarType) -> int:
    """Return the canonical word of the low bits of `value`."""
    return integer.wrap(value, int(element))


# --- conversions ---------------------------------------------------------------------------------


@jitable
def _keep(word: int) -> int:
    return word


@jitable
def _to_bool(word: int) -> int:
    return 1 if word else 0


@jitable
def _half_to_bool(word: int) -> int:
    return 1 if word & ~floating.HALF_SIGN else 0


@jitable
def _single_to_bool(word: int) -> int:
    return 1 if word & ~floating.SINGLE_SIGN else 0


def _from_half(source: ScalarType, target: ScalarType) -> Unary:
    to_float, truncate, wrap = floating.half_to_float, integer.truncate, integer.wrap
    half, kind = int(source), int(target)

    def convert(word: int) -> int:
        return wrap(truncate(to_float(word, half)), kind)

    return jitable(convert)


def _from_single(target: ScalarType) -> Unary:
    kind, truncate, wrap = int(target), integer.truncate, integer.wrap

    def convert(word: int) -> int:
        return wrap(truncate(single_to_float(word)), kind)

    return jitable(convert)


def _to_half(source: ScalarType, target: ScalarType) -> Unary:
    to_number, round_half = integer.to_number, floating.float_to_half
    kind, half = int(source), int(target)

    def convert(word: int) -> int:
        return round_half(float(to_number(word, kind)), half)

    return jitable(convert)


def _to_single(source: ScalarType) -> Unary:
    kind, to_number = int(source), integer.to_number

    def convert(word: int) -> int:
        return float_to_single(float(to_number(word, kind)))

    return jitable(convert)


def _make_conversion(source: ScalarType, target: ScalarType) -> Unary:
    match source, target:
        case _ if source is target:
            return _keep
        case _, ScalarType.F32 if source.is_half:
            return _bind_unary(floating.half_to_single, source)
        case ScalarType.F32, _ if target.is_half:
            return _bind_unary(floating.single_to_half, target)
        case _, ScalarType.BOOL if source.is_half:
            return _half_to_bool
        case ScalarType.F32, ScalarType.BOOL:
            return _single_to_bool
        case _, ScalarType.BOOL:
            return _to_bool
        case _ if source.is_half:
            return _from_half(source, target)
        case ScalarType.F32, _:
            return _from_single(target)
        case _ if target.is_half:
            return _to_half(source, target)
        case _, ScalarType.F32:
            return _to_single(source)
        case _:
            return _bind_unary(integer.wrap, target)


CONVERSIONS: dict[tuple[ScalarType, ScalarType], Unary] = {
    (source, target): _make_conversion(source, target)
    for source in ScalarType
    for target in ScalarType
    if not (source.is_half and target.is_half) or source is target
}
"""No conversions between 16-bit floats: a program has only one of them (M148)."""


def conversion(source: ScalarType, target: ScalarType) -> Unary:
    """Return the function of CONVERT (CSL `@as`).

    Integers keep their low bits; floats round to nearest even; float → integer truncates toward
    zero and keeps the low bits, NaN and infinities give 0 (*assumed*); anything but zero is true.
    """
    return CONVERSIONS[source, target]


# --- DSD operations ------------------------------------------------------------------------------


@jitable
def _mov16(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001 - elements share a signature
    return s1 & 0xFFFF


@jitable
def _mov32(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
    return s1


@jitable
def _fnegh(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
    return floating.neg_half(s1)


@jitable
def _fnegs(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
    return floating.neg_single(s1)


@jitable
def _sar16(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
    signed = integer.wrap(s0, _I16)
    return integer.wrap(integer.shift_right(signed, s1 & 0xFFFF, _I16), _U16)


@jitable
def _sll16(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
    return integer.shift_left(s0 & 0xFFFF, s1 & 0xFFFF, _U16)


@jitable
def _slr16(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
    return integer.shift_right(s0 & 0xFFFF, s1 & 0xFFFF, _U16)


@jitable
def _fabsh(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
    return s1 & 0x7FFF


@jitable
def _fabss(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
    return s1 & 0x7FFF_FFFF


@jitable
def _fscales(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
    return floating.scale_single(s1, scalar)


def _one_source(function: Unary) -> Element:
    def element(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
        return function(s1)

    return jitable(element)


def _through(first: Unary, second: Unary) -> Element:
    def element(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
        return second(first(s1))

    return jitable(element)


def _scaled_half(half: ScalarType) -> Element:
    scale, kind = floating.scale_half, int(half)

    def element(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
        return scale(s1, scalar, kind)

    return jitable(element)


def _multiply_add(function: Callable[[int, int, int, int], int], half: ScalarType) -> Element:
    kind = int(half)

    def element(s0: int, s1: int, scalar: int) -> int:
        return function(s0, s1, scalar, kind)

    return jitable(element)


_I16, _U16 = int(ScalarType.I16), int(ScalarType.U16)
_AS_I16 = _bind_unary(integer.wrap, ScalarType.I16)
_AS_U16 = _bind_unary(integer.wrap, ScalarType.U16)


def _two_sources(function: Binary) -> Element:
    def element(s0: int, s1: int, scalar: int) -> int:  # noqa: ARG001  # one signature for all
        return function(s0, s1)

    return jitable(element)


_D = DsdOperation


def _half_elements(half: ScalarType) -> dict[DsdOperation, Element]:
    """Return the operations whose elements depend on the program's 16-bit float (M148)."""
    to_i16, from_i16 = CONVERSIONS[half, ScalarType.I16], CONVERSIONS[ScalarType.I16, half]
    return {
        _D.FADDH: _two_sources(_bind_binary(floating.add_half, half)),
        _D.FSUBH: _two_sources(_bind_binary(floating.sub_half, half)),
        _D.FMULH: _two_sources(_bind_binary(floating.mul_half, half)),
        _D.FMAXH: _two_sources(_bind_binary(floating.max_half, half)),
        _D.FMACH: floating.multiply_add_half
        if half is ScalarType.F16
        else _multiply_add(floating.multiply_add_wide, half),
        _D.FMACHS: _multiply_add(floating.multiply_add_mixed, half),
        _D.FADDHS: _two_sources(_bind_binary(floating.add_mixed, half)),
        _D.FH2S: _one_source(_bind_unary(floating.half_to_single, half)),
        _D.FS2H: _one_source(_bind_unary(floating.single_to_half, half)),
        _D.FSCALEH: _scaled_half(half),
        _D.FH2XP16: _through(to_i16, _AS_U16),
        _D.XP162FH: _through(_AS_I16, from_i16),
        _D.FNORMH: _one_source(_bind_unary(undefined.normalize_half, half)),
    }


HALF_ELEMENTS: dict[ScalarType, dict[DsdOperation, Element]] = {
    half: _half_elements(half) for half in HALVES
}
ELEMENTS: dict[DsdOperation, Element] = {
    **HALF_ELEMENTS[ScalarType.F16],
    _D.MOV16: _mov16,
    _D.MOV32: _mov32,
    _D.ADD16: _two_sources(BINARY[Opcode.ADD, ScalarType.U16]),
    _D.SUB16: _two_sources(BINARY[Opcode.SUB, ScalarType.U16]),
    _D.AND16: _two_sources(BINARY[Opcode.AND, ScalarType.U16]),
    _D.OR16: _two_sources(BINARY[Opcode.OR, ScalarType.U16]),
    _D.XOR16: _two_sources(BINARY[Opcode.XOR, ScalarType.U16]),
    _D.FMOVH: _mov16,
    _D.FNEGH: _fnegh,
    _D.FADDS: _two_sources(floating.add_single),
    _D.FSUBS: _two_sources(floating.sub_single),
    _D.FMULS: _two_sources(floating.mul_single),
    _D.FMAXS: _two_sources(floating.max_single),
    _D.FMOVS: _mov32,
    _D.FNEGS: _fnegs,
    _D.FMACS: floating.multiply_add_single,
    _D.SAR16: _sar16,
    _D.SLL16: _sll16,
    _D.SLR16: _slr16,
    _D.CLZ: _one_source(integer.leading_zeros),
    _D.CTZ: _one_source(integer.trailing_zeros),
    _D.POPCNT: _one_source(integer.ones),
    _D.FABSH: _fabsh,
    _D.FABSS: _fabss,
    _D.FSCALES: _fscales,
    _D.FS2XP16: _through(CONVERSIONS[ScalarType.F32, ScalarType.I16], _AS_U16),
    _D.XP162FS: _through(_AS_I16, CONVERSIONS[ScalarType.I16, ScalarType.F32]),
    _D.ADDC16: undefined.add_with_carry,
    _D.FNORMS: _one_source(undefined.normalize_single),
}
"""The operations of a program with f16."""


def dsd_element(operation: DsdOperation, half: ScalarType = ScalarType.F16) -> Element:
    """Return the function that computes one element of `operation`: f(src0, src1, scalar).

    `half` is the 16-bit float of the program.
    """
    return HALF_ELEMENTS[half].get(operation) or ELEMENTS[operation]

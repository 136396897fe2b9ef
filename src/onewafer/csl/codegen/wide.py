"""Code for integers of more than 32 bits: two words, and what goes from the low one to the high.

In: an expression of a `WideType`, or a comparison or conversion of one. Out: the registers of its
two words, which need not be neighbours: a word that is zero is the register that is always zero,
and one that an operation leaves as it is stays where it is. Only the last operation writes to the
place that a value is wanted in, after its operands have been computed; in the frame of another
function that place is only for values without calls, whose results might lie there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl import ir, walk
from onewafer.csl.codegen.object_code import ZERO, Constant
from onewafer.errors import InternalError
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from onewafer.csl.codegen.expressions import ExpressionGenerator
    from onewafer.csl.codegen.object_code import Register

Halves = tuple["Register", "Register"]
"""The low and the high word."""
Shift = tuple[Opcode, ScalarType]
"""Of a word."""
_LEFT: Final[Shift] = (Opcode.SHL, ScalarType.U32)
_RIGHT: Final[Shift] = (Opcode.SHR, ScalarType.U32)
_RIGHT_SIGNED: Final[Shift] = (Opcode.SHR, ScalarType.I32)

WORD_BITS: Final = 8 * ScalarType.U32.num_bytes
NUM_BITS: Final = 2 * WORD_BITS
_ONES: Final = -1
"""The canonical word of 32 ones."""


def evaluate(g: ExpressionGenerator, expression: ir.Expression, dest: Register | None) -> Register:
    """Compute a wide integer into a pair of registers."""
    dest = dest or g.frame.allocate(2)
    with g.frame.scope():
        _deliver(g, halves(g, expression, dest), dest)
    return dest


def halves(
    g: ExpressionGenerator, expression: ir.Expression, place: Register | None = None
) -> Halves:
    """Compute a wide integer, perhaps into the pair `place`; return where its words are."""
    match expression:
        case ir.Join(low=low, high=high):
            first, second = g.evaluate_all((low, high))
            return first, second
        case ir.Convert(source=ir.WideType(), operand=operand):
            return halves(g, operand, place)
        case ir.Convert(source=ScalarType() as source, operand=operand):
            return _extended(g, source, operand, place)
        case ir.Unary(opcode=Opcode.NOT, operand=operand):
            return _complement(g, operand, place)
        case ir.Unary(operand=operand):
            return _difference(g, (ZERO, ZERO), halves(g, operand), place)
        case ir.Binary():
            return _binary(g, expression, place)
        case _:
            pair = g.evaluate(expression)
            return pair, pair.second


def _extended(
    g: ExpressionGenerator, source: ScalarType, operand: ir.Expression, place: Register | None
) -> Halves:
    low = g.evaluate(operand, place)
    if not source.is_signed:
        return low, ZERO
    return low, _shifted(g, _RIGHT_SIGNED, low, WORD_BITS - 1, _high(place))


def _complement(g: ExpressionGenerator, operand: ir.Expression, place: Register | None) -> Halves:
    low, high = halves(g, operand)
    first = _target(g, place, high)
    g.emit(Opcode.NOT, ScalarType.U32, rd=first, ra=low)
    second = _target(g, _high(place), first)
    g.emit(Opcode.NOT, ScalarType.U32, rd=second, ra=high)
    return first, second


def _binary(g: ExpressionGenerator, binary: ir.Binary, place: Register | None) -> Halves:
    match binary:
        case ir.Binary(opcode=Opcode.ADD):
            return _sum(g, *_operands(g, binary), place)
        case ir.Binary(opcode=Opcode.SUB):
            return _difference(g, *_operands(g, binary), place)
        case ir.Binary(opcode=Opcode.AND | Opcode.OR | Opcode.XOR):
            return _bitwise(g, binary, place)
        case ir.Binary(
            opcode=Opcode.SHR,
            type=ir.WideType.I64,
            left=ir.Binary(opcode=Opcode.SHL, left=value, right=ir.Immediate(word=left)),
            right=ir.Immediate(word=right),
        ) if 0 < left == right < WORD_BITS:
            return _sign_extended(g, value, left, place)
        case ir.Binary(opcode=Opcode.SHL, left=left, right=ir.Immediate(per_pe=None, word=count)):
            return _shifted_left(g, halves(g, left), count, place)
        case ir.Binary(opcode=Opcode.SHR, left=left, right=ir.Immediate(per_pe=None, word=count)):
            shift = _RIGHT_SIGNED if binary.type.is_signed else _RIGHT
            return _shifted_right(g, halves(g, left), count, shift, place)
        case _:
            raise InternalError(f"{binary.opcode.name} of wide integers should be a call by now")


def _operands(g: ExpressionGenerator, binary: ir.Binary) -> tuple[Halves, Halves]:
    """Compute both operands so that they are available together."""
    low, high = halves(g, binary.left)
    if walk.has_call(binary.right):
        low, high = _own(g, low), _own(g, high)
    return (low, high), halves(g, binary.right)


def _own(g: ExpressionGenerator, register: Register) -> Register:
    """Return a register that no call overwrites."""
    if register.function in (g.function, None):
        return register
    own = g.frame.allocate()
    g.move(register, own, 1)
    return own


# --- sums and differences ------------------------------------------------------------------------


def _sum(g: ExpressionGenerator, left: Halves, right: Halves, place: Register | None) -> Halves:
    if left[0] == ZERO or (place is not None and right[0] == place):
        left, right = right, left
    (a_low, a_high), (b_low, b_high) = left, right
    if b_low == ZERO:
        return a_low, _word(g, Opcode.ADD, a_high, b_high, _high(place), a_low)
    low = _target(g, place, b_low, a_high, b_high)
    g.emit(Opcode.ADD, ScalarType.U32, rd=low, ra=a_low, rb=b_low)
    carry = g.frame.allocate()
    g.emit(Opcode.LESS, ScalarType.U32, rd=carry, ra=low, rb=b_low)
    high = _word(g, Opcode.ADD, a_high, b_high, _high(place), low)
    return low, _word(g, Opcode.ADD, high, carry, _high(place), low)


def _difference(
    g: ExpressionGenerator, left: Halves, right: Halves, place: Register | None
) -> Halves:
    (a_low, a_high), (b_low, b_high) = left, right
    if b_low == ZERO:
        return a_low, _word(g, Opcode.SUB, a_high, b_high, _high(place), a_low)
    borrow = g.frame.allocate()
    g.emit(Opcode.LESS, ScalarType.U32, rd=borrow, ra=a_low, rb=b_low)
    low = _target(g, place, a_high, b_high)
    g.emit(Opcode.SUB, ScalarType.U32, rd=low, ra=a_low, rb=b_low)
    high = _word(g, Opcode.SUB, a_high, b_high, _high(place), low)
    return low, _word(g, Opcode.SUB, high, borrow, _high(place), low)


def _word(
    g: ExpressionGenerator,
    opcode: Opcode,
    a: Register,
    b: Register,
    wanted: Register | None,
    *still_read: Register,
) -> Register:
    """Compute a word of two, unless it is one of them."""
    if b == ZERO:
        return ZERO if opcode is Opcode.AND else a
    if a == ZERO and opcode is not Opcode.SUB:
        return ZERO if opcode is Opcode.AND else b
    dest = _target(g, wanted, *still_read)
    g.emit(opcode, ScalarType.U32, rd=dest, ra=a, rb=b)
    return dest


# --- bits ----------------------------------------------------------------------------------------


def _bitwise(g: ExpressionGenerator, binary: ir.Binary, place: Register | None) -> Halves:
    match binary:
        case ir.Binary(
            opcode=Opcode.AND,
            left=value,
            right=ir.Join(
                low=ir.Immediate(per_pe=None) as low_mask,
                high=ir.Immediate(per_pe=None) as high_mask,
            ),
        ):
            low, high = halves(g, value)
            first = _masked(g, low, low_mask, place, high)
            return first, _masked(g, high, high_mask, _high(place), first)
        case _:
            (a_low, a_high), (b_low, b_high) = _operands(g, binary)
            first = _word(g, binary.opcode, a_low, b_low, place, a_high, b_high)
            return first, _word(g, binary.opcode, a_high, b_high, _high(place), first)


def _masked(
    g: ExpressionGenerator,
    word: Register,
    mask: ir.Immediate,
    wanted: Register | None,
    still_read: Register,
) -> Register:
    if mask.word == _ONES:
        return word
    register = g.evaluate(mask)
    return _word(g, Opcode.AND, word, register, wanted, still_read)


def _sign_extended(
    g: ExpressionGenerator, value: ir.Expression, count: int, place: Register | None
) -> Halves:
    """Return a number of fewer bits than 64, whose upper ones are as its highest."""
    low, high = halves(g, value)
    moved = _shifted(g, _LEFT, high, count, None)
    return low, _shifted(g, _RIGHT_SIGNED, moved, count, _high(place), low)


def _shifted_left(
    g: ExpressionGenerator, value: Halves, count: int, place: Register | None
) -> Halves:
    low, high = value
    if count == 0:
        return value
    if count >= NUM_BITS:
        return ZERO, ZERO
    if count >= WORD_BITS:
        return ZERO, _shifted(g, _LEFT, low, count - WORD_BITS, _high(place))
    upper = _shifted(g, _LEFT, high, count, None)
    crossing = _shifted(g, _RIGHT, low, WORD_BITS - count, None)
    first = _shifted(g, _LEFT, low, count, place)
    return first, _word(g, Opcode.OR, upper, crossing, _high(place), first)


def _shifted_right(
    g: ExpressionGenerator, value: Halves, count: int, shift: Shift, place: Register | None
) -> Halves:
    """Shift right; `shift` says whether zeros or the sign come in."""
    low, high = value
    if count == 0:
        return value
    if count >= NUM_BITS or (count >= WORD_BITS and shift is _RIGHT_SIGNED):
        sign = _shifted(g, shift, high, WORD_BITS - 1, None)
        if count >= NUM_BITS:
            return (sign, sign) if shift is _RIGHT_SIGNED else (ZERO, ZERO)
        return _shifted(g, shift, high, count - WORD_BITS, place, sign), sign
    if count >= WORD_BITS:
        return _shifted(g, shift, high, count - WORD_BITS, place), ZERO
    lower = _shifted(g, _RIGHT, low, count, None)
    crossing = _shifted(g, _LEFT, high, WORD_BITS - count, None)
    second = _shifted(g, shift, high, count, _high(place))
    return _word(g, Opcode.OR, lower, crossing, place, second), second


def _shifted(
    g: ExpressionGenerator,
    shift: Shift,
    word: Register,
    count: int,
    wanted: Register | None,
    *still_read: Register,
) -> Register:
    """Shift a word by less than its width."""
    if count == 0 or word == ZERO:
        return word
    amount = g.constant((Constant(count),), None, ScalarType.U16)
    dest = _target(g, wanted, *still_read)
    opcode, kind = shift
    g.emit(opcode, kind, rd=dest, ra=word, rb=amount)
    return dest


# --- what gives one word -------------------------------------------------------------------------


def compare(g: ExpressionGenerator, binary: ir.Binary, dest: Register | None) -> Register:
    """Compute EQUAL … LESS_EQUAL of wide integers."""
    with g.frame.scope():
        if binary.opcode in (Opcode.EQUAL, Opcode.NOT_EQUAL):
            kind, opcode, ra, rb = ScalarType.U32, binary.opcode, unlike(g, binary), ZERO
        else:
            kind, opcode, ra, rb = _ordered(g, binary)
    dest = dest or g.frame.allocate()
    g.emit(opcode, kind, rd=dest, ra=ra, rb=rb)
    return dest


def unlike(g: ExpressionGenerator, binary: ir.Binary) -> Register:
    """Compute a word that is zero if the operands are equal."""
    (a_low, a_high), (b_low, b_high) = _operands(g, binary)
    low = _word(g, Opcode.XOR, a_low, b_low, None)
    high = _word(g, Opcode.XOR, a_high, b_high, None)
    return _word(g, Opcode.OR, low, high, None)


def _ordered(
    g: ExpressionGenerator, binary: ir.Binary
) -> tuple[ScalarType, Opcode, Register, Register]:
    """Return the last operation of LESS or LESS_EQUAL, the others emitted.

    The high words decide unless they are equal.
    """
    (a_low, a_high), (b_low, b_high) = _operands(g, binary)
    kind = ScalarType.I32 if binary.type.is_signed else ScalarType.U32
    if a_high == b_high == ZERO:
        return ScalarType.U32, binary.opcode, a_low, b_low
    if binary.opcode is Opcode.LESS and b_low == ZERO:
        return kind, Opcode.LESS, a_high, b_high
    is_less, is_equal, decides = (g.frame.allocate() for _ in range(3))
    g.emit(Opcode.LESS, kind, rd=is_less, ra=a_high, rb=b_high)
    g.emit(Opcode.EQUAL, kind, rd=is_equal, ra=a_high, rb=b_high)
    g.emit(binary.opcode, ScalarType.U32, rd=decides, ra=a_low, rb=b_low)
    g.emit(Opcode.AND, ScalarType.BOOL, rd=is_equal, ra=is_equal, rb=decides)
    return ScalarType.BOOL, Opcode.OR, is_less, is_equal


def narrowed(
    g: ExpressionGenerator, value: ir.Expression, target: ScalarType, dest: Register | None
) -> Register:
    """Compute a wide integer as one of at most 32 bits, or as a `bool`."""
    low, high = halves(g, value)
    if target is ScalarType.BOOL:
        low = _word(g, Opcode.OR, low, high, None)
    elif target.num_bytes == ScalarType.U32.num_bytes:
        if dest is None:
            return low
        g.move(low, dest, 1)
        return dest
    dest = dest or g.frame.allocate()
    g.emit(Opcode.CONVERT, ScalarType.U32, rd=dest, ra=low, imm=int(target))
    return dest


# --- places --------------------------------------------------------------------------------------


def _high(place: Register | None) -> Register | None:
    return None if place is None else place.second


def _target(g: ExpressionGenerator, wanted: Register | None, *still_read: Register) -> Register:
    """Return the register where a word is wanted, or a fresh one if what is there is needed."""
    return g.frame.allocate() if wanted is None or wanted in still_read else wanted


def _deliver(g: ExpressionGenerator, value: Halves, dest: Register) -> None:
    """Move two words to a pair, the one first that the other would overwrite."""
    low, high = value
    if high == dest and low != dest:
        if low == dest.second:
            low = g.frame.allocate()
            g.move(value[0], low, 1)
        g.move(high, dest.second, 1)
        g.move(low, dest, 1)
        return
    for source, place in ((low, dest), (high, dest.second)):
        if source != place:
            g.move(source, place, 1)

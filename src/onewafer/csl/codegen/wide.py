"""Code for integers of more than 32 bits: two words, with carries from the low to the high word.

In: an expression of a `WideType`, or a comparison or conversion of one. Out: the registers of its
two words, which need not be adjacent: a zero word is the zero register, and a word that an
operation leaves unchanged stays in its register. Only the last operation writes to the destination
(`into`), after its operands are computed; a destination in the frame of another function is only
used for values without calls, whose results might lie there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.codegen.object_code import ZERO
from onewafer.csl.ir import walk
from onewafer.errors import InternalError
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from onewafer.csl.codegen.emitter import Emitter
    from onewafer.csl.codegen.object_code import Register

TwoWords = tuple["Register", "Register"]
"""The low and the high word."""
Shift = tuple[Opcode, ScalarType]
"""A shift of a word: opcode and type."""
_LEFT: Final[Shift] = (Opcode.SHL, ScalarType.U32)
_RIGHT: Final[Shift] = (Opcode.SHR, ScalarType.U32)
_RIGHT_SIGNED: Final[Shift] = (Opcode.SHR, ScalarType.I32)

WORD_BITS: Final = 8 * ScalarType.U32.num_bytes
NUM_BITS: Final = 2 * WORD_BITS
_ONES: Final = -1
"""The canonical word of 32 ones."""


def evaluate(g: Emitter, expression: ir.Expression, dest: Register | None) -> Register:
    """Compute a wide integer into a pair of registers."""
    dest = dest or g.frame.allocate(2)
    with g.frame.scope():
        _deliver(g, two_words(g, expression, dest), dest)
    return dest


def two_words(g: Emitter, expression: ir.Expression, into: Register | None = None) -> TwoWords:
    """Compute a wide integer, perhaps into the pair `into`; return the registers of its words."""
    match expression:
        case ir.Join(low=low, high=high):
            first, second = g.evaluate_all((low, high))
            return first, second
        case ir.Convert(source=ir.WideType(), operand=operand):
            return two_words(g, operand, into)
        case ir.Convert(source=ScalarType() as source, operand=operand):
            return _extended(g, source, operand, into)
        case ir.Unary() | ir.Binary():
            return _operation(g, expression, into)
        case _:
            pair = g.evaluate(expression)
            return pair, pair.second


def _operation(g: Emitter, operation: ir.Unary | ir.Binary, into: Register | None) -> TwoWords:
    """Compute an operation, and free the registers of intermediate results."""
    dest = into or g.frame.allocate(2)
    with g.frame.scope():
        top = g.frame.top
        if isinstance(operation, ir.Unary):
            value = _unary(g, operation, dest)
        else:
            value = _binary(g, operation, dest, is_fresh=into is None)
        if any(word.function is g.function and word.slot >= top for word in value):
            _deliver(g, value, dest)
            value = dest, dest.second
    return value


def _extended(
    g: Emitter, source: ScalarType, operand: ir.Expression, into: Register | None
) -> TwoWords:
    low = g.evaluate(operand, into)
    if not source.is_signed:
        return low, ZERO
    return low, _shifted(g, _RIGHT_SIGNED, low, WORD_BITS - 1, _high(into))


def _unary(g: Emitter, unary: ir.Unary, into: Register) -> TwoWords:
    low, high = two_words(g, unary.operand, into)
    if unary.opcode is Opcode.NEG:
        return _difference(g, (ZERO, ZERO), (low, high), into)
    first = _target(g, into, high)
    g.emit(Opcode.NOT, ScalarType.U32, rd=first, ra=low)
    second = _target(g, into.second, first)
    g.emit(Opcode.NOT, ScalarType.U32, rd=second, ra=high)
    return first, second


def _binary(g: Emitter, binary: ir.Binary, into: Register, *, is_fresh: bool) -> TwoWords:
    """Compute an operation into a pair; a fresh pair may hold the first operand meanwhile."""
    match binary:
        case ir.Binary(opcode=Opcode.AND, left=left, right=ir.Join() as mask) if _is_known(mask):
            return _masked(g, two_words(g, left, into), mask, into)
        case ir.Binary(
            opcode=Opcode.SHR,
            type=ir.WideType.I64,
            left=ir.Binary(opcode=Opcode.SHL, left=value, right=ir.Immediate(word=left)),
            right=ir.Immediate(word=right),
        ) if 0 < left == right < WORD_BITS:
            return _sign_extended(g, two_words(g, value, into), left, into)
        case ir.Binary(opcode=Opcode.SHL, left=left, right=ir.Immediate(per_pe=None, word=count)):
            return _shifted_left(g, two_words(g, left, into), count, into)
        case ir.Binary(opcode=Opcode.SHR, left=left, right=ir.Immediate(per_pe=None, word=count)):
            shift = _RIGHT_SIGNED if binary.type.is_signed else _RIGHT
            return _shifted_right(g, two_words(g, left, into), count, shift, into)
        case _:
            operands = _operands(g, binary, into if is_fresh else None)
    match binary.opcode:
        case Opcode.ADD:
            return _sum(g, *operands, into)
        case Opcode.SUB:
            return _difference(g, *operands, into)
        case Opcode.AND | Opcode.OR | Opcode.XOR:
            return _bitwise(g, binary.opcode, *operands, into)
        case _:
            raise InternalError(f"{binary.opcode.name} of wide integers should be a call by now")


def _operands(
    g: Emitter, binary: ir.Binary, into: Register | None = None
) -> tuple[TwoWords, TwoWords]:
    """Compute both operands without overlap, the first perhaps into the pair `into`."""
    low, high = two_words(g, binary.left, into)
    if walk.has_effect(binary.right):
        low, high = _own(g, low), _own(g, high)
    return (low, high), two_words(g, binary.right)


def _own(g: Emitter, register: Register) -> Register:
    """Return a register with the same word that no call overwrites."""
    if register.function in (g.function, None):
        return register
    own = g.frame.allocate()
    g.move(register, own, 1)
    return own


# --- sums and differences ------------------------------------------------------------------------


def _sum(g: Emitter, left: TwoWords, right: TwoWords, into: Register) -> TwoWords:
    if left[0] == ZERO or right[0] == into:
        left, right = right, left
    (a_low, a_high), (b_low, b_high) = left, right
    if b_low == ZERO:
        return a_low, _word(g, Opcode.ADD, a_high, b_high, into.second, a_low)
    low = _target(g, into, b_low, a_high, b_high)
    g.emit(Opcode.ADD, ScalarType.U32, rd=low, ra=a_low, rb=b_low)
    carry = g.frame.allocate()
    g.emit(Opcode.LESS, ScalarType.U32, rd=carry, ra=low, rb=b_low)
    high = _word(g, Opcode.ADD, a_high, b_high, into.second, low)
    return low, _word(g, Opcode.ADD, high, carry, into.second, low)


def _difference(g: Emitter, left: TwoWords, right: TwoWords, into: Register) -> TwoWords:
    (a_low, a_high), (b_low, b_high) = left, right
    if b_low == ZERO:
        return a_low, _word(g, Opcode.SUB, a_high, b_high, into.second, a_low)
    borrow = g.frame.allocate()
    g.emit(Opcode.LESS, ScalarType.U32, rd=borrow, ra=a_low, rb=b_low)
    low = _target(g, into, a_high, b_high)
    g.emit(Opcode.SUB, ScalarType.U32, rd=low, ra=a_low, rb=b_low)
    high = _word(g, Opcode.SUB, a_high, b_high, into.second, low)
    return low, _word(g, Opcode.SUB, high, borrow, into.second, low)


def _word(
    g: Emitter,
    opcode: Opcode,
    a: Register,
    b: Register,
    wanted: Register | None,
    *still_read: Register,
) -> Register:
    """Compute one of two words, unless it equals one of the operands."""
    if b == ZERO:
        return ZERO if opcode is Opcode.AND else a
    if a == ZERO and opcode is not Opcode.SUB:
        return ZERO if opcode is Opcode.AND else b
    dest = _target(g, wanted, *still_read)
    g.emit(opcode, ScalarType.U32, rd=dest, ra=a, rb=b)
    return dest


# --- bits ----------------------------------------------------------------------------------------


def _bitwise(
    g: Emitter, opcode: Opcode, left: TwoWords, right: TwoWords, into: Register
) -> TwoWords:
    (a_low, a_high), (b_low, b_high) = left, right
    first = _word(g, opcode, a_low, b_low, into, a_high, b_high)
    return first, _word(g, opcode, a_high, b_high, into.second, first)


def _is_known(value: ir.Join) -> bool:
    return all(isinstance(w, ir.Immediate) and w.per_pe is None for w in (value.low, value.high))


def _masked(g: Emitter, value: TwoWords, mask: ir.Join, into: Register) -> TwoWords:
    """Return a number with a constant mask applied; a word whose mask is all ones stays."""
    low, high = value
    if not _has_all_bits(mask.low):
        low = _word(g, Opcode.AND, low, g.evaluate(mask.low), into, high)
    if not _has_all_bits(mask.high):
        high = _word(g, Opcode.AND, high, g.evaluate(mask.high), into.second, low)
    return low, high


def _has_all_bits(word: ir.Expression) -> bool:
    return isinstance(word, ir.Immediate) and word.word == _ONES


def _sign_extended(g: Emitter, value: TwoWords, count: int, into: Register) -> TwoWords:
    """Return a number of fewer than 64 bits, extended by its highest bit."""
    low, high = value
    moved = _shifted(g, _LEFT, high, count, into.second, low)
    return low, _shifted(g, _RIGHT_SIGNED, moved, count, into.second, low)


def _shifted_left(g: Emitter, value: TwoWords, count: int, into: Register) -> TwoWords:
    low, high = value
    if count == 0:
        return value
    if count >= NUM_BITS:
        return ZERO, ZERO
    if count >= WORD_BITS:
        return ZERO, _shifted(g, _LEFT, low, count - WORD_BITS, into.second)
    upper = _shifted(g, _LEFT, high, count, None)
    crossing = _shifted(g, _RIGHT, low, WORD_BITS - count, None)
    first = _shifted(g, _LEFT, low, count, into)
    return first, _word(g, Opcode.OR, upper, crossing, into.second, first)


def _shifted_right(
    g: Emitter, value: TwoWords, count: int, shift: Shift, into: Register
) -> TwoWords:
    """Shift right; `shift` is logical or arithmetic."""
    low, high = value
    if count == 0:
        return value
    if count >= WORD_BITS:
        first = ZERO
        if shift is _RIGHT_SIGNED or count < NUM_BITS:
            first = _shifted(g, shift, high, min(count - WORD_BITS, WORD_BITS - 1), into)
        if shift is _RIGHT:
            return first, ZERO
        return first, _shifted(g, shift, high, WORD_BITS - 1, into.second, first)
    lower = _shifted(g, _RIGHT, low, count, None)
    crossing = _shifted(g, _LEFT, high, WORD_BITS - count, None)
    second = _shifted(g, shift, high, count, into.second)
    return _word(g, Opcode.OR, lower, crossing, into, second), second


def _shifted(
    g: Emitter,
    shift: Shift,
    word: Register,
    count: int,
    wanted: Register | None,
    *still_read: Register,
) -> Register:
    """Shift a word by less than its width."""
    if count == 0 or word == ZERO:
        return word
    opcode, kind = shift
    return g.with_number(opcode, kind, word, count, _target(g, wanted, *still_read))


# --- what gives one word -------------------------------------------------------------------------


def compare(g: Emitter, binary: ir.Binary, dest: Register | None) -> Register:
    """Compute EQUAL … LESS_EQUAL of wide integers."""
    with g.frame.scope():
        if binary.opcode in (Opcode.EQUAL, Opcode.NOT_EQUAL):
            kind, opcode, ra, rb = ScalarType.U32, binary.opcode, unlike(g, binary), ZERO
        else:
            kind, opcode, ra, rb = _ordered(g, binary)
    dest = dest or g.frame.allocate()
    g.emit(opcode, kind, rd=dest, ra=ra, rb=rb)
    return dest


def unlike(g: Emitter, binary: ir.Binary) -> Register:
    """Compute a word that is zero if the operands are equal."""
    (a_low, a_high), (b_low, b_high) = _operands(g, binary)
    low = _word(g, Opcode.XOR, a_low, b_low, None)
    high = _word(g, Opcode.XOR, a_high, b_high, None)
    return _word(g, Opcode.OR, low, high, None)


def _ordered(g: Emitter, binary: ir.Binary) -> tuple[ScalarType, Opcode, Register, Register]:
    """Emit LESS or LESS_EQUAL except for its last operation, which is returned.

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
    g: Emitter, value: ir.Expression, target: ScalarType, dest: Register | None
) -> Register:
    """Compute a wide integer as one of at most 32 bits, or as a `bool`."""
    low, high = two_words(g, value)
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


# --- words ---------------------------------------------------------------------------------------


def _high(into: Register | None) -> Register | None:
    return None if into is None else into.second


def _target(g: Emitter, wanted: Register | None, *still_read: Register) -> Register:
    """Return the wanted register of a word, or a fresh one if the wanted one is still live."""
    return g.frame.allocate() if wanted is None or wanted in still_read else wanted


def _deliver(g: Emitter, value: TwoWords, dest: Register) -> None:
    """Move two words to a pair, in the order in which neither is overwritten."""
    low, high = value
    if high == dest and low != dest:
        if low == dest.second:
            low = g.frame.allocate()
            g.move(value[0], low, 1)
        g.move(high, dest.second, 1)
        g.move(low, dest, 1)
        return
    for source, into in ((low, dest), (high, dest.second)):
        if source != into:
            g.move(source, into, 1)

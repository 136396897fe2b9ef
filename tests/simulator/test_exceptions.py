"""Floating point exceptions that a program has unmasked: M147."""

from fractions import Fraction
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import SimulationError
from onewafer.image import DSD_OPERATIONS, NUM_FIELDS, DsdOperation, Field, Opcode, ScalarType
from onewafer.simulator.arithmetic import binary, canonical, conversion, dsd_element
from onewafer.simulator.arithmetic.compiled import float_to_single, single_to_float
from onewafer.simulator.arithmetic.exceptions import (
    DIVISION,
    INEXACT,
    INVALID,
    NAMES,
    OVERFLOW,
    RAISING,
    UNDERFLOW,
    can_raise,
    of_conversion,
    of_element,
    of_scalars,
)
from onewafer.simulator.arithmetic.floating import (
    HALF_SHIFT,
    float_to_half,
    fraction_bits,
    half_to_float,
)
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.reference import ReferenceEngine
from onewafer.simulator.reference.compute_element import watching
from tests.image.builder import make_image
from tests.simulator.assembly import RAMP, WSE3, Kernel, background, boot, route
from tests.simulator.cutting import cutting
from tests.simulator.feature_generation import FeatureBuilder, feature_programs
from tests.simulator.test_after_errors import assert_nothing_is_missing
from tests.simulator.test_engines_agree import LENIENT, assert_agreement, observe

MASK = 2 * 0x7F3B
F16, F32 = ScalarType.F16, ScalarType.F32
TO_WORD = {F16: partial(float_to_half, kind=F16), F32: float_to_single}


class Computing(Kernel):
    """Computes with some exceptions unmasked."""

    def __init__(self, *unmasked):
        super().__init__("computing")
        self.make_log(8)
        self.unmask_exceptions()
        self.function("main")
        self.write(0xFFFF ^ sum(unmasked))

    def write(self, word):
        value = self.immediate(ScalarType.U16, word)
        self.emit(Opcode.STORE, ScalarType.U16, ra=0, rb=value, imm=MASK)

    def compute(self, opcode, type_, *numbers):
        a, b = (self.immediate(ScalarType.U32, TO_WORD[type_](x)) for x in numbers)
        result = self.register()
        self.emit(opcode, type_, rd=result, ra=a, rb=b)
        return result


SCALARS = [
    (Opcode.DIV, F32, (1.0, 0.0), DIVISION),
    (Opcode.DIV, F16, (0.0, 0.0), INVALID),
    (Opcode.MUL, F16, (300.0, 300.0), OVERFLOW | INEXACT),
    (Opcode.MUL, F32, (2.0**-100, 2.0**-60), UNDERFLOW | INEXACT),
    (Opcode.MUL, F32, (2.0**-100, 2.0**-40), 0),
    (Opcode.ADD, F16, (2048.0, 1.0), INEXACT),
    (Opcode.SUB, F32, (3.0, 1.5), 0),
    (Opcode.SUB, F32, (float("inf"), float("inf")), INVALID),
    (Opcode.ADD, F32, (float("nan"), 1.0), 0),
    (Opcode.ADD, F32, (float("inf"), 1.0), 0),
]


@pytest.mark.parametrize(("opcode", "type_", "numbers", "raised"), SCALARS)
def test_exceptions_of_scalars(engine, opcode, type_, numbers, raised):
    """M147: each stops the program if it is unmasked, and only then."""
    for bit, name in NAMES.items():
        kernel = Computing(bit)
        kernel.compute(opcode, type_, *numbers)
        machine = boot(kernel.finish(), engine=engine, width=1)
        if raised & bit:
            with pytest.raises(SimulationError, match=name):
                machine.launch()
        else:
            machine.launch()


@given(st.sampled_from([t for t in ScalarType if t.is_float]), st.data())
def test_exceptions_agree_with_exact_arithmetic(type_, data):
    """M147: inexact is what the rounded result is not; tiny and inexact is underflow."""
    opcode = data.draw(st.sampled_from([Opcode.ADD, Opcode.SUB, Opcode.MUL]))
    words = [data.draw(st.integers(0, 2 ** (8 * type_.num_bytes) - 1)) for _ in range(2)]
    of_word = single_to_float if type_ is F32 else partial(half_to_float, kind=type_)
    a, b = map(of_word, words)
    word = binary(opcode, type_)(*words)
    result = of_word(word)
    shape = watching._SCALARS[opcode]
    found = watching.exceptions_of(watching._Shape(shape, (type_, type_), type_), words, word)
    if not all(x - x == 0 for x in (a, b)):
        assert found in (0, INVALID)
    elif result - result != 0:
        assert found == OVERFLOW | INEXACT
    else:
        is_exact = shape(Fraction(a), Fraction(b)) == Fraction(result)
        assert bool(found & INEXACT) == (not is_exact)


def test_exceptions_are_masked_by_a_register(engine):
    """M147: all are masked at first; a store says which are not."""
    kernel = Computing()
    for word in (0xFFFF, 0xFF7F):
        kernel.write(word)
        register = kernel.register()
        kernel.emit(Opcode.LOAD, ScalarType.U16, rd=register, ra=0, imm=MASK)
        kernel.log_register(register)
    kernel.write(0xFFFF)
    kernel.compute(Opcode.DIV, F32, 1.0, 0.0)
    assert boot(kernel.finish(), engine=engine, width=1).launch().log(0) == [0xFFFF, 0xFF7F]


@pytest.mark.parametrize("mask", [0xFFFF, 0xFF7F])
def test_exceptions_are_unmasked_from_the_start(engine, mask):
    """M147: the image may say which are not masked at first."""
    kernel = Kernel("divides")
    kernel.make_log()
    kernel.unmask_exceptions(mask)
    kernel.function("main")
    register = kernel.register()
    kernel.emit(Opcode.LOAD, ScalarType.U16, rd=register, ra=0, imm=MASK)
    kernel.log_register(register)
    one, zero = (kernel.immediate(ScalarType.U32, float_to_single(x)) for x in (1.0, 0.0))
    kernel.emit(Opcode.DIV, F32, rd=kernel.register(), ra=one, rb=zero)
    run = boot(kernel.finish(), engine=engine, width=1)
    if mask == 0xFFFF:
        assert run.launch().log(0) == [mask]
    else:
        with pytest.raises(SimulationError, match="FP_DIV_BY_0"):
            run.launch()


def test_exceptions_of_elements(engine):
    """M147: of an operation that works in the background, too."""
    kernel = Computing(INEXACT)
    base = kernel.data("x", F16, [1.0, 2048.0, 2.0, 1.0])
    first, second = kernel.vector(base, 2), kernel.vector(base + 4, 2)
    kernel.operate(DsdOperation.FADDH, first, first, second, config=background(3))
    kernel.spin(20)
    with pytest.raises(SimulationError, match="FP_INEXACT"):
        boot(kernel.finish(), engine=engine, width=1).launch()


def test_conversions_that_do_not_fit(engine):
    """M147: numbers that an integer cannot hold are invalid, fractions inexact."""
    for number, name in ((70000.0, "FP_INVALID"), (1.5, "FP_INEXACT")):
        kernel = Computing(INVALID, INEXACT)
        word = kernel.immediate(ScalarType.U32, float_to_single(number))
        kernel.emit(Opcode.CONVERT, F32, rd=kernel.register(), ra=word, imm=int(ScalarType.I16))
        with pytest.raises(SimulationError, match=name):
            boot(kernel.finish(), engine=engine, width=1).launch()


def words_of(type_, draw):
    """Draw a register word of a type: any, or one near which rounding goes wrong first."""
    if not type_.is_float:
        words = (0, 1, 2047, 2048, 2049, 65519, 65520, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFF00)
        low = st.sampled_from(words) | st.integers(0, 0xFFFF_FFFF)
        return canonical(draw(low), type_)
    digits, bits = 23 if type_ is F32 else fraction_bits(type_), 8 * type_.num_bytes
    if draw(st.booleans()):
        return draw(st.integers(0, (1 << bits) - 1))
    exponents = (0, 1, 2, 1 << bits - digits - 2, (1 << bits - digits - 1) - 1)
    most = (1 << digits) - 1
    fraction = draw(st.sampled_from((0, 1, 2, most - 1, most, 1 << digits - 1)))
    exponent = draw(st.sampled_from(exponents) | st.integers(0, exponents[-1]))
    exponent = min(exponent, exponents[-1])
    return draw(st.integers(0, 1)) << bits - 1 | exponent << digits | fraction


HALVES = [t for t in ScalarType if t.is_half]


@settings(max_examples=300)
@given(st.sampled_from(sorted(watching._ELEMENTS)), st.sampled_from(HALVES), st.data())
def test_exceptions_of_elements_agree_with_exact_arithmetic(operation, half, data):
    """M147: what the fast engine finds in f64 is what fractions say; i16 lie in low halves."""
    shape = watching._ELEMENTS[operation].of(half)
    words = [0 if type_ is None else words_of(type_, data.draw) for type_ in shape.operands]
    words = [
        word & 0xFFFF if type_ is ScalarType.I16 and data.draw(st.booleans()) else word
        for word, type_ in zip(words, shape.operands, strict=True)
    ]
    word = dsd_element(operation, half)(*words)
    assert operation in RAISING
    kind = int(operation) | (0 if half is F16 else int(half) << HALF_SHIFT)
    found = of_element(kind, *words, word)
    assert found == watching.exceptions_of(shape, words, word)


def test_the_same_operations_raise_exceptions():
    assert frozenset(watching._ELEMENTS) == RAISING


CONVERSIONS = [
    (Opcode.CONVERT, s, t)
    for s in ScalarType
    for t in ScalarType
    if s is t or not (s.is_half and t.is_half)
]
FLOATS = [(opcode, t, t) for opcode in watching._SCALARS for t in (*HALVES, F32)]
INTEGERS = [(opcode, ScalarType.I16, ScalarType.I16) for opcode in watching._SCALARS]


@settings(max_examples=400)
@given(st.sampled_from(CONVERSIONS + FLOATS + INTEGERS), st.data())
def test_exceptions_of_scalars_agree_with_exact_arithmetic(case, data):
    """M147: also of conversions, and of divisions."""
    opcode, source, target = case
    row = [0] * NUM_FIELDS
    row[Field.OPCODE], row[Field.TYPE], row[Field.IMM] = opcode, source, target
    shape = watching._shape(opcode, row, F16)
    assert (shape is not None) == can_raise(opcode, source, target)
    if shape is None:
        return
    words = [words_of(source, data.draw) for _ in shape.operands]
    if opcode is Opcode.CONVERT:
        word = conversion(source, target)(*words)
        found = of_conversion(source, target, *words, word)
    else:
        word = binary(opcode, source)(*words)
        found = of_scalars(opcode, source, *words, word)
    assert found == watching.exceptions_of(shape, words, word)


_LATER = (OVERFLOW, UNDERFLOW, INVALID, DIVISION)


class RaisingBuilder(FeatureBuilder):
    """Unmasks exceptions besides, and computes what raises them."""

    def __init__(self, draw, kernel, architecture):
        super().__init__(draw, kernel, architecture)
        if draw(st.integers(0, 7)):
            kernel.unmask_exceptions()
        self.half = kernel.half = draw(st.sampled_from(HALVES))

    def compute(self, item):
        """Change the mask, compute with extreme numbers, or do what others do."""
        kernel, draw = self.kernel, self.draw
        if draw(st.booleans()):
            some = st.sampled_from((0, *_LATER, sum(_LATER), 0xFF))
            value = kernel.immediate(ScalarType.U16, 0xFFFF ^ draw(some))
            kernel.emit(Opcode.STORE, ScalarType.U16, ra=0, rb=value, imm=MASK)
        match draw(st.integers(0, 4)):
            case 0 | 1:
                opcode, source, target = draw(
                    st.sampled_from(FLOATS) | st.sampled_from(CONVERSIONS)
                )
                source, target = self._own(source), self._own(target)
                a, b = (kernel.immediate(ScalarType.U32, words_of(source, draw)) for _ in range(2))
                result, imm = kernel.register(), int(target) if opcode is Opcode.CONVERT else 0
                kernel.emit(opcode, source, rd=result, ra=a, rb=0 if imm else b, imm=imm)
                kernel.log_register(result)
            case 2 | 3:
                self._elements(draw(st.sampled_from(sorted(RAISING))))
            case _:
                super().compute(item)

    def _own(self, type_):
        return self.half if type_.is_half else type_

    def _elements(self, kind):
        kernel, draw = self.kernel, self.draw
        type_ = draw(st.sampled_from((self.half, F32)))
        length = draw(st.integers(1, 6))
        words = [words_of(type_, draw) for _ in range(2 * length + 2)]
        wide = ScalarType.U16 if type_.is_half else ScalarType.U32
        base = kernel.data(f"extremes{kernel.pc}", wide, words + [0] * 4 * length)
        vectors = [kernel.vector(base + 4 * i, length) for i in range(3)]
        info = DSD_OPERATIONS[kind]
        scalar = None
        if info.scalar is not None:
            scalar = kernel.immediate(ScalarType.U32, words_of(self.half, draw))
        first = vectors[1] if info.src0 is not None else None
        kernel.operate(kind, vectors[0], first, vectors[2], scalar, config=self.config())


@settings(LENIENT, max_examples=150)
@given(feature_programs(RaisingBuilder), st.sampled_from([None, None, 1, 13]))
def test_exceptions_agree_on_both_engines(program, slices):
    """M147: which exception stops which program, where and when."""
    assert_agreement(*program, slices)


@pytest.mark.slow
def test_generated_programs_raise_exceptions():
    """Many do, and many go on without them."""
    seen = set()

    @settings(LENIENT, max_examples=200, derandomize=True, database=None)
    @given(feature_programs(RaisingBuilder))
    def look(program):
        architecture, image = program
        error = observe(FastEngine, image, architecture)["error"]
        seen.update(name for name in NAMES.values() if name in (error or ""))
        seen.add(error is None)

    look()
    assert seen >= {True, "FP_INEXACT", "FP_UNDERFLOW"}


def streaming(first):
    """Return a PE that sends itself numbers and adds them to others, with an inexact sum."""
    kernel = Kernel("streaming")
    kernel.unmask_exceptions()
    sent = kernel.data("sent", F32, [1.0] * 5)
    sums = kernel.data("sums", F32, [0.0] * first + [2.0**30] * (5 - first))
    kernel.function("main")
    value = kernel.immediate(ScalarType.U16, 0xFFFF ^ INEXACT)
    kernel.emit(Opcode.STORE, ScalarType.U16, ra=0, rb=value, imm=MASK)
    kernel.operate(DsdOperation.MOV32, kernel.outgoing(3, 5), src1=kernel.vector(sent, 5),
                   config=background(2))  # fmt: skip
    vector = kernel.vector(sums, 5)
    kernel.operate(DsdOperation.FADDS, vector, vector, kernel.incoming(3, 5), config=background(3))
    return WSE3, make_image(WSE3, kernel.finish(), routes={(0, 0, 3): route(RAMP, RAMP)})


@pytest.mark.parametrize("first", [0, 2, 4])
def test_elements_before_an_exception_are_done(first):
    """M2, M147: on both engines; the error names the cycle of the element."""
    assert_agreement(*streaming(first))
    assert assert_nothing_is_missing(streaming(first))


@pytest.mark.parametrize("cut", [None, 7])
def test_exceptions_of_an_operation_that_is_cut(cut):
    """M147: a checkpoint keeps what is not masked, and an operation its watch."""
    makers = cutting(FastEngine, ReferenceEngine), cutting(FastEngine)
    for make in makers:
        assert_agreement(*streaming(3), cut, make=make)


def test_operations_are_looked_at_in_the_16_bit_float_of_the_program():
    """M147, M148: 257 has nine significant bits, which bf16 does not hold."""
    row = [0] * NUM_FIELDS
    row[Field.TYPE] = DsdOperation.FADDH
    for half, raised in ((F16, 0), (ScalarType.BF16, INEXACT)):
        words = [float_to_half(value, half) for value in (256.0, 1.0, 0.0)]
        word = dsd_element(DsdOperation.FADDH, half)(*words)
        shape = watching._shape(Opcode.DSD, row, half)
        assert watching.exceptions_of(shape, words, word) == raised

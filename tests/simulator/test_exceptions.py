"""Floating point exceptions that a program has unmasked: M147."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import SimulationError
from onewafer.image import DsdOperation, Opcode, ScalarType, make_image
from onewafer.simulator.arithmetic import binary
from onewafer.simulator.arithmetic.compiled import float_to_single, single_to_float
from onewafer.simulator.arithmetic.floating import float_to_half, half_to_float
from onewafer.simulator.reference import exceptions
from onewafer.simulator.selection import select_engine
from tests.simulator.assembly import WSE3, Kernel, background, boot

MASK = 2 * 0x7F3B
F16, F32 = ScalarType.F16, ScalarType.F32
TO_WORD = {F16: float_to_half, F32: float_to_single}


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
    (Opcode.DIV, F32, (1.0, 0.0), exceptions.DIVISION),
    (Opcode.DIV, F16, (0.0, 0.0), exceptions.INVALID),
    (Opcode.MUL, F16, (300.0, 300.0), exceptions.OVERFLOW | exceptions.INEXACT),
    (Opcode.MUL, F32, (2.0**-100, 2.0**-60), exceptions.UNDERFLOW | exceptions.INEXACT),
    (Opcode.MUL, F32, (2.0**-100, 2.0**-40), 0),
    (Opcode.ADD, F16, (2048.0, 1.0), exceptions.INEXACT),
    (Opcode.SUB, F32, (3.0, 1.5), 0),
    (Opcode.SUB, F32, (float("inf"), float("inf")), exceptions.INVALID),
    (Opcode.ADD, F32, (float("nan"), 1.0), 0),
    (Opcode.ADD, F32, (float("inf"), 1.0), 0),
]


@pytest.mark.parametrize(("opcode", "type_", "numbers", "raised"), SCALARS)
def test_exceptions_of_scalars(opcode, type_, numbers, raised):
    """M147: each stops the program if it is unmasked, and only then."""
    for bit, name in exceptions.NAMES.items():
        kernel = Computing(bit)
        kernel.compute(opcode, type_, *numbers)
        machine = boot(kernel.finish(), engine="reference", width=1)
        if raised & bit:
            with pytest.raises(SimulationError, match=name):
                machine.launch()
        else:
            machine.launch()


@given(st.sampled_from([F16, F32]), st.data())
def test_exceptions_agree_with_exact_arithmetic(type_, data):
    """M147: inexact is what the rounded result is not; tiny and inexact is underflow."""
    opcode = data.draw(st.sampled_from([Opcode.ADD, Opcode.SUB, Opcode.MUL]))
    words = [data.draw(st.integers(0, 2 ** (16 if type_ is F16 else 32) - 1)) for _ in range(2)]
    of_word = half_to_float if type_ is F16 else single_to_float
    a, b = map(of_word, words)
    word = binary(opcode, type_)(*words)
    result = of_word(word)
    shape = exceptions._SCALARS[opcode]
    found = exceptions.exceptions_of(exceptions._Shape(shape, (type_, type_), type_), words, word)
    if not all(x - x == 0 for x in (a, b)):
        assert found in (0, exceptions.INVALID)
    elif result - result != 0:
        assert found == exceptions.OVERFLOW | exceptions.INEXACT
    else:
        is_exact = shape(Fraction(a), Fraction(b)) == Fraction(result)
        assert bool(found & exceptions.INEXACT) == (not is_exact)


def test_exceptions_are_masked_by_a_register():
    """M147: all are masked at first; a store says which are not."""
    kernel = Computing()
    for word in (0xFFFF, 0xFF7F):
        kernel.write(word)
        register = kernel.register()
        kernel.emit(Opcode.LOAD, ScalarType.U16, rd=register, ra=0, imm=MASK)
        kernel.log_register(register)
    kernel.write(0xFFFF)
    kernel.compute(Opcode.DIV, F32, 1.0, 0.0)
    assert boot(kernel.finish(), engine="reference", width=1).launch().log(0) == [0xFFFF, 0xFF7F]


def test_exceptions_of_elements():
    """M147: of an operation that works in the background, too."""
    kernel = Computing(exceptions.INEXACT)
    base = kernel.data("x", F16, [1.0, 2048.0, 2.0, 1.0])
    first, second = kernel.vector(base, 2), kernel.vector(base + 4, 2)
    kernel.operate(DsdOperation.FADDH, first, first, second, config=background(3))
    kernel.spin(20)
    with pytest.raises(SimulationError, match="FP_INEXACT"):
        boot(kernel.finish(), engine="reference", width=1).launch()


def test_conversions_that_do_not_fit():
    """M147: numbers that an integer cannot hold are invalid, fractions inexact."""
    for number, name in ((70000.0, "FP_INVALID"), (1.5, "FP_INEXACT")):
        kernel = Computing(exceptions.INVALID, exceptions.INEXACT)
        word = kernel.immediate(ScalarType.U32, float_to_single(number))
        kernel.emit(Opcode.CONVERT, F32, rd=kernel.register(), ra=word, imm=int(ScalarType.I16))
        with pytest.raises(SimulationError, match=name):
            boot(kernel.finish(), engine="reference", width=1).launch()


def test_reference_engine_runs_such_programs():
    """M147: the fast engine has no exceptions, and says so."""
    image = make_image(WSE3, Computing().finish())
    selection = select_engine("fast", image)
    assert (selection.name, "floating point exceptions" in selection.note) == ("reference", True)

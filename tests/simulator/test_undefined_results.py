"""What public text leaves open, M140 and M141: on both engines, against Python and NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.image import (
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    FifoBuffer,
    ScalarType,
)
from onewafer.simulator import ENGINES, Machine
from tests.simulator.assembly import (
    RAMP,
    WSE2,
    WSE3,
    Kernel,
    Pointer,
    Register,
    Vector,
    background,
    boot,
    route,
)

ADDC16 = DsdOperation.ADDC16
COLOR = 3
WORDS = st.one_of(st.sampled_from((0, 1, 0x7FFF, 0xFFFE, 0xFFFF)), st.integers(0, 0xFFFF))


def number(words):
    """Return the integer whose 16-bit digits these are, the lowest first."""
    return sum(word << 16 * i for i, word in enumerate(words))


def digits(value, count):
    return [value >> 16 * i & 0xFFFF for i in range(count)]


def sum_in_memory(engine, a, b, *, times=1, architecture=WSE3):
    """Run an addition of two numbers in memory so many times."""
    kernel = Kernel()
    n = len(a)
    first = kernel.data("a", ScalarType.U16, a)
    kernel.data("gap", ScalarType.U16, num_elements=n % 4 + 2)
    second = kernel.data("b", ScalarType.U16, b)
    total = kernel.data("sum", ScalarType.U16, num_elements=n)
    kernel.function("main")
    for _ in range(times):
        vectors = [kernel.vector(base, n) for base in (total, first, second)]
        kernel.operate(ADDC16, *vectors)
    return boot(kernel.finish(), engine=engine, architecture=architecture).launch()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=9), st.integers(1, 2))
def test_carry_goes_through_the_elements(pairs, times):
    """M140: one operation adds numbers of many words; the next one begins without a carry."""
    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    expected = digits(number(a) + number(b), len(pairs))
    for engine in sorted(ENGINES):
        run = sum_in_memory(engine, a, b, times=times)
        assert run.words("sum", num_bytes=2) == expected


@pytest.mark.parametrize(("architecture", "cycles"), [(WSE2, 16), (WSE3, 4)])
def test_rate_of_additions_with_carry(engine, architecture, cycles):
    """M32: one element a cycle on WSE-2, where others do four; as others on WSE-3."""
    run = sum_in_memory(engine, [1] * 16, [2] * 16, architecture=architecture)
    assert run.duration() == cycles


def stream_sum(engine, a, b, *, through_fifo):
    """Send a number to the own ramp, add another one as it arrives, and return the sum."""
    kernel = Kernel()
    n = len(a)
    sent, own = kernel.data("a", ScalarType.U16, a), kernel.data("b", ScalarType.U16, b)
    total = kernel.data("sum", ScalarType.U16, num_elements=n)
    ring = kernel.fifo(FifoBuffer(kernel.data("ring", ScalarType.U16, num_elements=2), 4))
    kernel.function("main")
    target = kernel.outgoing(COLOR, n, queue=3)
    kernel.operate(DsdOperation.MOV16, target, src1=kernel.vector(sent, n), config=background(3))
    source = kernel.incoming(COLOR, n)
    if through_fifo:
        fifo = kernel.dsd(DsdDescriptor(DsdKind.FIFO, fifo=ring))
        taken = Vector(kernel.dsd_value(fifo, extent=0, stride=0))
        kernel.operate(DsdOperation.MOV16, taken, src1=source, config=background(2))
        source = taken
    dest, vector = kernel.vector(total, n), kernel.vector(own, n)
    kernel.operate(ADDC16, dest, vector, source, config=background(1))
    routes = {(0, 0, COLOR): route(RAMP, RAMP)}
    run = boot(kernel.finish(), engine=engine, routes=routes).launch()
    return run.words("sum", num_bytes=2)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=9), st.booleans())
def test_carry_of_elements_from_the_fabric(pairs, through_fifo):
    """M140: the carry waits with the operation for the next wavelet, or element of a FIFO."""
    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    expected = digits(number(a) + number(b), len(pairs))
    for engine in sorted(ENGINES):
        assert stream_sum(engine, a, b, through_fifo=through_fifo) == expected


def test_carry_of_a_reduction(engine):
    """M37, M140: the running result of a reduction gets the carry of the sum before it."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U16, [0xFFFF, 1, 5])
    result = kernel.data("result", ScalarType.U16, [0])
    kernel.function("main")
    pointer = Pointer(kernel.immediate(ScalarType.U16, result))
    start = Register(kernel.immediate(ScalarType.U16, 2))
    kernel.operate(ADDC16, pointer, start, kernel.vector(base, 3))
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("result", num_bytes=2) == [2 + 0xFFFF + 1 + 1 + 5 & 0xFFFF]


@pytest.mark.parametrize("following", sorted(ENGINES))
def test_carry_is_kept_in_a_checkpoint(engine, following, tmp_path):
    """M140: an operation that is cut has its carry when it goes on, on the other engine, too."""
    kernel = Kernel()
    words = kernel.data("x", ScalarType.U16, [0xFFFF] * 4)
    total = kernel.data("sum", ScalarType.U16, num_elements=4)
    kernel.function("main")
    vectors = kernel.vector(total, 4), kernel.vector(words, 4), kernel.incoming(COLOR, 4)
    kernel.operate(ADDC16, *vectors, config=background(1))
    routes = {(0, 0, COLOR): route(RAMP, RAMP)}
    run = boot(kernel.finish(), engine=engine, routes=routes)
    machine = run.machine
    machine.inject(0, 0, COLOR, [1, 0])
    machine.launch("main", ())
    machine.run()
    assert run.words("sum", num_bytes=2) == [0, 0, 0, 0]
    machine.save_checkpoint(tmp_path / "checkpoint")
    resumed = Machine.from_checkpoint(tmp_path / "checkpoint", engine=following, architecture=WSE3)
    resumed.inject(0, 0, COLOR, [0, 7])
    resumed.run()
    symbol = resumed.symbol(0, 0, "sum")
    payload = resumed.peek(0, 0, symbol.address, symbol.num_bytes)
    assert payload == bytes([0, 0, 0, 0, 0, 0, 7, 0])


HALF_BITS = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=8)
SINGLE_BITS = st.lists(st.integers(0, 0xFFFF_FFFF), min_size=1, max_size=8)


def normalised(engine, operation, element, words):
    """Run an operation over bits of floats; return what it gives."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U16 if element == np.float16 else ScalarType.U32, words)
    kernel.function("main")
    kernel.operate(operation, kernel.vector(base, len(words)), src1=kernel.vector(base, len(words)))
    run = boot(kernel.finish(), engine=engine).launch()
    return run.words("x", num_bytes=np.dtype(element).itemsize)


@settings(max_examples=40, deadline=None)
@given(HALF_BITS, SINGLE_BITS)
def test_normalised_values_are_significands(halves, singles):
    """M141: what NumPy takes apart, twice its fraction; what has no significand stays."""
    for operation, element, bits, words in (
        (DsdOperation.FNORMH, np.float16, np.uint16, halves),
        (DsdOperation.FNORMS, np.float32, np.uint32, singles),
    ):
        values = np.array(words, bits).view(element)
        with np.errstate(invalid="ignore"):  # NumPy warns of signalling NaNs
            fractions = np.frexp(values)[0] * element(2)
        is_kept = (values == 0) | ~np.isfinite(values)
        expected = np.where(is_kept, np.array(words, bits), fractions.view(bits)).tolist()
        for engine in sorted(ENGINES):
            assert normalised(engine, operation, element, words) == expected

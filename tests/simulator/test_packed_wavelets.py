"""Fabric operands of which two elements share a wavelet: M150."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import SimulationError
from onewafer.image import DsdDescriptor, DsdKind, DsdOperation, FifoBuffer, ScalarType
from tests.simulator.assembly import (
    Kernel,
    Pointer,
    Register,
    Vector,
    boot,
    commands,
    eastward,
    receiver,
    talker,
)
from tests.simulator.generation import PeBuilder, programs
from tests.simulator.state.test_checkpoint import MAKERS, SLICES, assert_cuts_change_nothing
from tests.simulator.test_engines_agree import LENIENT, assert_agreement

COLOR = 3
MOV16, MOV32, ADD16 = DsdOperation.MOV16, DsdOperation.MOV32, DsdOperation.ADD16
U16, U32 = ScalarType.U16, ScalarType.U32
NUMBERS = [0x8001, 2, 0xFFFF, 4, 5]


def packing_sender(numbers, kind=MOV16, *, width=U16, packs=True):
    """Return a PE that sends numbers, in pairs if that is what `kind` has."""
    kernel = Kernel("sender")
    base = kernel.data("sent", width, numbers)
    kernel.function("main")
    target = kernel.outgoing(COLOR, len(numbers), packs=packs)
    kernel.operate(kind, target, src1=kernel.vector(base, len(numbers)))
    return kernel.finish()


def packing_receiver(extent, kind=MOV16, src0=None, *, packs=True, **options):
    """Return a PE that moves, or adds to 100, 101, …, what comes in pairs."""
    kernel = Kernel("receiver")
    base = kernel.data("received", U16, range(100, 100 + extent))
    kernel.function("main")
    vector = kernel.vector(base, extent)
    first = vector if src0 is None and kind is ADD16 else src0
    source = kernel.incoming(COLOR, extent, packs=packs)
    kernel.operate(kind, vector, first, source, **options)
    return kernel.finish()


def run_pair(left, right, engine):
    pair = {(0, 0): left, (1, 0): right}
    return boot(pair, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_first_of_two_is_the_low_half(engine, count):
    """M150: as in memory; the high half of a last one that is alone is 0."""
    run = run_pair(packing_sender(NUMBERS[:count]), receiver(COLOR, (count + 1) // 2), engine)
    padded = [*NUMBERS[:count], 0]
    words = [low | high << 16 for low, high in zip(padded[::2], padded[1::2], strict=False)]
    assert run.words("received", 1) == words


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", [MOV16, ADD16])
def test_pairs_are_taken_apart(engine, kind, count):
    """M150: an extent counts elements, also an odd one."""
    run = run_pair(packing_sender(NUMBERS[:count]), packing_receiver(count, kind), engine)
    added = range(100, 100 + count) if kind is ADD16 else [0] * count
    expected = [a + b & 0xFFFF for a, b in zip(added, NUMBERS, strict=False)]
    assert run.words("received", 1, num_bytes=2) == expected
    assert run.machine.statistics().dsd_elements.tolist() == [[count, count]]


def test_elements_of_32_bits_have_a_wavelet_each(engine):
    """M150: the mode says nothing of them."""
    numbers = [0x10002, 0x30004, 0x50006]
    run = run_pair(packing_sender(numbers, MOV32, width=U32), receiver(COLOR, 3), engine)
    assert run.words("received", 1) == numbers


def test_pair_takes_the_time_of_a_wavelet(engine):
    """M150: 40 elements of half a cycle go in 20 steps; one at a time in 40."""
    cycles = {
        packs: run_pair(
            packing_sender([7] * 40, packs=packs), packing_receiver(40, packs=packs), engine
        ).machine.cycle
        for packs in (False, True)
    }
    assert cycles[False] - cycles[True] == 20


def test_sum_of_pairs_goes_on_from_element_to_element(engine):
    """M37 and M150: both elements of a wavelet are added up, in order."""
    kernel = Kernel("receiver")
    total = kernel.data("total", U16, num_elements=1)
    kernel.function("main")
    start = Register(kernel.immediate(U16, 10))
    pointer = Pointer(kernel.immediate(U16, total))
    kernel.operate(ADD16, pointer, start, kernel.incoming(COLOR, 5, packs=True))
    run = run_pair(packing_sender(NUMBERS), kernel.finish(), engine)
    assert run.words("total", 1, num_bytes=2) == [10 + sum(NUMBERS) & 0xFFFF]


def test_pairs_go_through_one_pe(engine):
    """M150: from a packed source to a packed destination, wavelet for wavelet."""
    kernel = Kernel("relay")
    kernel.function("main")
    source = kernel.incoming(COLOR, 5, packs=True)
    kernel.operate(MOV16, kernel.outgoing(4, 5, queue=3, packs=True), src1=source)
    placed = {(0, 0): packing_sender(NUMBERS), (1, 0): kernel.finish(), (2, 0): receiver(4, 3)}
    routes = eastward(COLOR, 0, 1) | eastward(4, 1, 2)
    run = boot(placed, engine=engine, width=3, routes=routes).launch()
    assert run.words("received", 2) == [0x28001, 0x4FFFF, 5]


def single_output(kernel):
    return kernel.outgoing(4, 4, queue=3)


def wide_output(kernel):
    return kernel.outgoing(4, 4, queue=3, packs=True)


def ring_output(kernel):
    kernel.fifo(FifoBuffer(kernel.data("ring", U16, num_elements=8), 16))
    return Vector(
        kernel.dsd_value(kernel.dsd(DsdDescriptor(DsdKind.FIFO, fifo=0)), extent=0, stride=0)
    )


@pytest.mark.parametrize(
    ("make", "kind"),
    [(single_output, MOV16), (wide_output, DsdOperation.FH2S), (ring_output, MOV16)],
)
def test_other_operand_with_elements_of_its_own_is_an_error(engine, make, kind):
    """M150: pairs and single elements do not go together."""
    kernel = Kernel("relay")
    kernel.function("main")
    kernel.operate(kind, make(kernel), src1=kernel.incoming(COLOR, 4, packs=True), line=7)
    placed = {(0, 0): kernel.finish()}
    routes = eastward(4, 0, 1) | eastward(COLOR, 1, 0)
    with pytest.raises(SimulationError, match=r"two elements share a wavelet(.|\n)*:7"):
        boot(placed, engine=engine, width=2, routes=routes).launch()


@pytest.mark.parametrize(("kind", "data"), [(MOV16, 2 << 16 | 1), (MOV32, 1)])
def test_packed_operands_take_control_wavelets(engine, kind, data):
    """M95 and M150: as wavelets of two elements, or of one."""
    word = commands(0, ignore=False, entry=40, data=9)
    kernel = Kernel("receiver")
    base = kernel.data("received", U32, num_elements=2)
    kernel.function("main")
    num_elements = 4 if kind is MOV16 else 2
    source = kernel.incoming(COLOR, num_elements, packs=True)
    kernel.operate(kind, kernel.vector(base, num_elements), src1=source)
    run = run_pair(talker(COLOR, [data, (word,)]), kernel.finish(), engine)
    assert run.words("received", 1) == [data, word]


# --- random programs -----------------------------------------------------------------------------

_PACKED = (MOV16, ADD16, DsdOperation.FADDH, DsdOperation.FMACH, DsdOperation.ADDC16)


class PackingBuilder(PeBuilder):
    """Sends and receives 16-bit elements, in pairs or not: neither side knows of the other."""

    def send(self, item):
        queue, (color, num_words) = item
        kernel, draw = self.kernel, self.draw
        packs = draw(st.integers(0, 3)) > 0
        count = 2 * num_words - draw(st.integers(0, 1)) if packs else num_words
        target = kernel.outgoing(color, count, queue=queue, packs=packs)
        own = kernel.vector(self.memory, count, draw(st.sampled_from((1, 2, 0))))
        self._operate(target, own, own)

    def receive(self, item):
        queue, (color, num_words) = item
        kernel, draw = self.kernel, self.draw
        if draw(st.integers(0, 3)) == 0:
            super().receive(item)
            return
        count = 2 * num_words - draw(st.integers(0, 1))
        source = kernel.incoming(color, count, queue=queue, packs=True)
        vector = kernel.vector(self.memory, count)
        if draw(st.booleans()):
            self._operate(vector, vector, source)
            return
        pointer = Pointer(kernel.immediate(U16, self.result))
        start = Register(kernel.immediate(U16, 7))
        kernel.operate(ADD16, pointer, start, source, config=self.config())

    def _operate(self, dest, first, second):
        kind = self.draw(st.sampled_from(_PACKED))
        scalar = None
        if kind is DsdOperation.FMACH:
            scalar = self.kernel.immediate(U16, 0x3C00)
        first = None if kind is MOV16 else first
        self.kernel.operate(kind, dest, first, second, scalar, config=self.config())


@settings(LENIENT, max_examples=150)
@given(programs(PackingBuilder), st.sampled_from([None, None, 1, 13]))
def test_generated_programs_that_pack(program, slices):
    """M150: senders and receivers that pack, and that do not."""
    assert_agreement(*program, slices)


@settings(LENIENT, max_examples=9)
@given(programs(PackingBuilder), MAKERS, SLICES)
@pytest.mark.slow
def test_generated_programs_that_pack_may_be_cut(program, makers, slice_cycles):
    assert_cuts_change_nothing(program, makers, slice_cycles)


@pytest.mark.slow
@settings(LENIENT, max_examples=3000)
@given(programs(PackingBuilder), st.sampled_from([None, None, 1, 13]))
def test_many_generated_programs_that_pack(program, slices):
    assert_agreement(*program, slices)

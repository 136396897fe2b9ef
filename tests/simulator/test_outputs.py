"""What fabric destinations do besides: M46, M47."""

import pytest

from onewafer.errors import SimulationError
from onewafer.image import DsdDescriptor, DsdKind, DsdOperation, ScalarType
from tests.simulator.assembly import Kernel, Register, Vector, background, boot, eastward, receiver

COLOR = 3
MOV16, MOV32, ADD16 = DsdOperation.MOV16, DsdOperation.MOV32, DsdOperation.ADD16


def output(kernel, extent, *, index=0, **options):
    """Return a fabric destination with options of its descriptor."""
    kernel.queue(2, color=COLOR, is_input=False)
    dsd = kernel.dsd(DsdDescriptor(DsdKind.FABOUT, COLOR, 2, **options))
    return Vector(kernel.dsd_value(dsd, base=index, extent=extent, stride=0))


def receive(kernel, num_words, engine):
    programs = {(0, 0): kernel.finish(), (1, 0): receiver(COLOR, num_words)}
    routes = eastward(COLOR, 0, 1)
    return boot(programs, engine=engine, width=2, routes=routes).launch()


@pytest.mark.parametrize("index", [0, 7, 0xFFFF])
@pytest.mark.parametrize("kind", [MOV16, MOV32])
def test_index_goes_with_each_wavelet(engine, kind, index):
    """M46: the high half is the index, also of what a 32-bit operation sends."""
    kernel = Kernel("sender")
    base = kernel.data("sent", ScalarType.U32, [0x5000A, 0x6000B, 0x7000C])
    kernel.function("main")
    source = kernel.vector(base, 3, stride=1 if kind is MOV32 else 2)
    kernel.operate(kind, output(kernel, 3, index=index, has_index=True), src1=source)
    found = receive(kernel, 3, engine)
    assert found.words("received", 1) == [index << 16 | data for data in (10, 11, 12)]


def test_value_of_a_plain_destination_is_no_index(engine):
    """M46: only a DSD that says so has one."""
    kernel = Kernel("sender")
    kernel.function("main")
    word = Register(kernel.immediate(ScalarType.U16, 9))
    kernel.operate(MOV16, output(kernel, 1, index=5), src1=word)
    assert receive(kernel, 1, engine).words("received", 1) == [9]


@pytest.mark.parametrize("config", [None, background(2)])
@pytest.mark.parametrize("source", [0, 1])
def test_source_is_cleared(engine, source, config):
    """M47: what was sent is read before, elements between those of the source stay."""
    kernel = Kernel("sender")
    first = kernel.data("first", ScalarType.U16, [1, 2, 3, 4, 5, 6])
    second = kernel.data("second", ScalarType.U16, [10, 20, 30])
    kernel.function("main")
    operands = kernel.vector(first, 3, stride=2), kernel.vector(second, 3)
    kernel.operate(ADD16, output(kernel, 3, clears=source), *operands, config=config)
    found = receive(kernel, 3, engine)
    assert found.words("received", 1) == [11, 23, 35]
    cleared = [0, 2, 0, 4, 0, 6], [0, 0, 0]
    kept = [1, 2, 3, 4, 5, 6], [10, 20, 30]
    assert found.words("first", num_bytes=2) == (cleared if source == 0 else kept)[0]
    assert found.words("second", num_bytes=2) == (cleared if source == 1 else kept)[1]


def test_only_memory_is_cleared(engine):
    """M47: a scalar source has none."""
    kernel = Kernel("sender")
    kernel.function("main")
    word = Register(kernel.immediate(ScalarType.U32, 9))
    kernel.operate(MOV32, output(kernel, 2, clears=1), src1=word)
    assert receive(kernel, 2, engine).words("received", 1) == [9, 9]


def test_block_is_cleared(engine):
    """M47: a mem4d source is cleared where its loops lead."""
    kernel = Kernel("sender")
    base = kernel.data("block", ScalarType.U32, list(range(1, 9)))
    kernel.function("main")
    source = kernel.block(base, (2, 2), (4, 1))
    kernel.operate(MOV32, output(kernel, 4, clears=1), src1=source)
    found = receive(kernel, 4, engine)
    assert found.words("received", 1) == [1, 2, 5, 6]
    assert found.words("block") == [0, 0, 3, 4, 0, 0, 7, 8]


def test_operation_that_does_not_end_clears_nothing(engine):
    """M47: the zeros come with the last element."""
    kernel = Kernel("sender")
    base = kernel.data("sent", ScalarType.U32, [1, 2, 3])
    kernel.function("main")
    target = output(kernel, 0x7FFF, clears=1)
    source = kernel.vector(base, 0x7FFF, stride=0)
    kernel.operate(MOV32, target, src1=source, config=background(2))
    assert receive(kernel, 4, engine).words("sent") == [1, 2, 3]


def test_a_stray_source_stops_before_it_is_cleared(engine):
    """M47, M10: sources are read before they are cleared, so the reading is what is stray."""
    kernel = Kernel("sender")
    kernel.function("main")
    kernel.operate(MOV32, output(kernel, 1, clears=1), src1=kernel.vector(0xFFF0, 1))
    with pytest.raises(SimulationError, match="outside"):
        receive(kernel, 1, engine)

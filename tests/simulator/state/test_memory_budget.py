"""A simulation that cannot fit is refused before it starts, with the arithmetic."""

import re

import pytest

from onewafer.benchmarks.all_reduce import all_reduce
from onewafer.errors import SimulationError
from onewafer.host import Device
from onewafer.host.runs.limits import RunLimits
from onewafer.image import Opcode, ScalarType
from onewafer.settings import available_memory
from onewafer.simulator import Machine
from onewafer.simulator.state.memory_budget import (
    ENGINE_BYTES,
    NotEnoughMemoryError,
    memory_need,
)
from onewafer.simulator.state.sram import PAGE_BYTES
from tests.image.builder import make_image
from tests.simulator.assembly import WSE3, Kernel


def make_wafer(width, height, *, num_bytes):
    kernel = Kernel("data")
    kernel.data("values", ScalarType.U8, num_elements=num_bytes)
    kernel.function("main")
    kernel.emit(Opcode.RETURN)
    return make_image(WSE3, kernel.build(), width=width, height=height)


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_need_is_pes_times_state_and_pages(engine):
    need = memory_need(make_wafer(5, 4, num_bytes=2 * PAGE_BYTES), engine=engine)
    # The data do not begin at a page: they lie in three.
    assert need.total == 20 * (ENGINE_BYTES[engine] + 3 * PAGE_BYTES)


def test_pes_without_a_program_have_no_pages():
    kernel = Kernel("alone")
    kernel.data("values", ScalarType.U8, num_elements=8)
    kernel.function("main")
    image = make_image(WSE3, {(0, 0): kernel.build()}, width=10, height=10)
    assert memory_need(image, engine="fast").sram_bytes == PAGE_BYTES


def test_a_machine_that_does_not_fit_is_refused_with_the_arithmetic():
    image = make_wafer(8, 8, num_bytes=100)
    need = memory_need(image, engine="fast").total
    Machine(image, WSE3, engine="fast", memory_limit=need)
    with pytest.raises(NotEnoughMemoryError) as refusal:
        Machine(image, WSE3, engine="fast", memory_limit=need - 1)
    message = str(refusal.value)
    assert isinstance(refusal.value, SimulationError)
    pes, state, pages = (
        int(number.replace(",", ""))
        for number in re.search(r"([\d,]+) PEs × \(([\d,]+) B .* \+ ([\d,]+) B", message).groups()
    )
    assert pes * (state + pages) == need
    assert f"needs {need:,} B" in message
    assert f"{need - 1:,} B is allowed (ONEWAFER_MAX_MEMORY)" in message


def test_the_limit_of_a_device_reaches_its_machine():
    device = Device(make_wafer(4, 4, num_bytes=8), WSE3, limits=RunLimits(max_memory=1_000))
    with pytest.raises(NotEnoughMemoryError, match="1,000 B is allowed"):
        device.load()


@pytest.mark.slow
def test_a_whole_wafer_of_full_memory_fits_nowhere_small():
    need = memory_need(make_wafer(755, 1170, num_bytes=45_000), engine="fast").total
    assert need > 755 * 1170 * 45_000
    with pytest.raises(NotEnoughMemoryError, match="883,350 PEs"):
        Machine(make_wafer(755, 1170, num_bytes=45_000), WSE3, memory_limit=24 << 30)


def test_the_computer_has_memory():
    found = available_memory()
    assert found is None or found > 1 << 20


def test_what_the_fast_engine_keeps_for_a_pe_is_what_is_said():
    workload = all_reduce(64, 64, machine="wse3")
    machine = Machine(workload.compile(), workload.architecture(), engine="fast")
    arrays = machine._engine._arrays
    num_bytes = sum(array.nbytes for name, array in arrays._asdict().items() if name != "memory")
    assert ENGINE_BYTES["fast"] / 4 < num_bytes / (64 * 64) <= ENGINE_BYTES["fast"]

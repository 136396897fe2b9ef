"""SRAM takes the memory that is touched of it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import SimulationError
from onewafer.simulator.state.sram import PAGE_BYTES, allocate, nonzero_stretches

WAFER_PES, SRAM_BYTES = 900_000, 48 * 1024


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="how lazy it is, Linux tells")
def test_a_wafer_costs_only_the_pages_that_are_written():
    before = resident_bytes()
    memory = allocate(WAFER_PES, SRAM_BYTES)
    assert memory.shape == (WAFER_PES, SRAM_BYTES)
    memory[::1000, 5000] = 7
    written = WAFER_PES // 1000 * PAGE_BYTES
    assert memory[::500, 5000].tolist() == [7, 0] * (WAFER_PES // 1000)
    # Page tables and the interpreter take some; a huge page a PE would take 500 times as much.
    assert written <= resident_bytes() - before + PAGE_BYTES < 4 * written


def test_memory_is_zero_and_writable():
    memory = allocate(3, 100)
    assert not memory.any()
    memory[2, 99] = 1
    assert memory.sum() == 1


def test_no_address_space_is_an_error_that_says_so():
    with pytest.raises(SimulationError, match="no address space for"):
        allocate(1 << 40, 1 << 20)


sparse = st.lists(st.tuples(st.integers(0, 3 * PAGE_BYTES - 1), st.integers(1, 255)), max_size=8)


@given(sparse, st.integers(0, 2 * PAGE_BYTES))
def test_stretches_hold_all_that_is_not_zero(places, address):
    data = np.zeros(3 * PAGE_BYTES, np.uint8)
    for place, value in places:
        data[place] = value
    written = np.zeros_like(data)
    pages = []
    for first, end in nonzero_stretches(data, address):
        assert data[first]
        assert data[end - 1]
        written[first:end] = data[first:end]
        pages += [(address + first) // PAGE_BYTES, (address + end - 1) // PAGE_BYTES]
    assert (written == data).all()
    assert pages[::2] == pages[1::2] == sorted(set(pages))

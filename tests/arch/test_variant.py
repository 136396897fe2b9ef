"""Machines that differ from the catalog's in some numbers, by their names."""

from fractions import Fraction

import pytest

from onewafer import compile_csl
from onewafer.arch import load_architecture, variant_name
from onewafer.errors import ConfigurationError


def test_a_variant_has_its_numbers_and_all_others_of_the_machine():
    usual = load_architecture("wse3", profile="silicon")
    name = "wse3:elements_per_cycle.fmach=4,hop_cycles=1,memory_bytes=98304"
    found = load_architecture(name, profile="silicon")

    assert (found.name, found.generation) == (name, "wse3")
    assert (found.memory_bytes, found.timing.hop_cycles) == (98304, 1)
    assert found.timing.elements_per_cycle["fmach"] == Fraction(4)
    assert found.timing.elements_per_cycle["faddh"] == usual.timing.elements_per_cycle["faddh"]
    assert found.timing.ramp_cycles == usual.timing.ramp_cycles
    assert "hop_cycles=1" in found.title


def test_the_name_does_not_depend_on_the_order_of_changes():
    one = variant_name("wse3", {"memory_bytes": 98304, "hop_cycles": 1})
    assert one == variant_name("wse3", {"hop_cycles": 1, "memory_bytes": 98304})
    assert variant_name("wse3", {}) == "wse3"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("hop_cyles=1", "nearest: hop_cycles"),
        ("hop_cycles", "write FIELD=NUMBER"),
        ("hop_cycles=0", "from 1 to"),
        ("hop_cycles=1.5", "write a whole number"),
        ("memory_bytes=-3", "write a whole number"),
        ("memory_bytes=2147483648", "from 1 to 2,147,483,647"),
        ("num_colors=48", "no number 'num_colors' that can be changed"),
        ("elements_per_cycle.fmac=2", "nearest: fmac"),
        ("elements_per_cycle.fmach=fast", "write a positive rate"),
        ("io_bytes_per_second=nan", "write a positive number"),
        ("fabric_width=7", "has none for programs"),
    ],
)
def test_a_change_that_means_nothing_is_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        load_architecture(f"wse3:{changes}")


def test_a_system_stands_for_its_wafer_in_a_variant():
    assert load_architecture("cs3:hop_cycles=1") == load_architecture("wse3:hop_cycles=1")


def test_a_program_for_a_variant_is_one_for_its_machine():
    sources = {
        "layout.csl": 'layout { @comptime_assert(@is_arch("wse3"));'
        ' @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl"); }',
        "pe.csl": "",
    }
    assert compile_csl("layout.csl", arch="wse3:hop_cycles=1", sources=sources).arch == (
        "wse3:hop_cycles=1"
    )

"""Numbers of the machine in an architect's words."""

import pytest

from onewafer.arch import load_architecture
from onewafer.errors import ConfigurationError
from onewafer.mesh import largest_rectangle
from onewafer.sweep.inputs.machine_axes import machine_numbers, parse_machine_axis, variant_of


def machine(**inputs):
    parsed = {name: parse_machine_axis(name, value) for name, value in inputs.items()}
    changes = variant_of("wse3", parsed, profile="silicon").changes
    return load_architecture(f"wse3:{changes}" if changes else "wse3", profile="silicon")


def test_the_usual_number_of_pes_is_the_usual_wafer():
    usual = largest_rectangle(load_architecture("wse3"))
    assert largest_rectangle(machine(pes=usual[0] * usual[1])) == usual
    assert largest_rectangle(machine(pes="300x200")) == (300, 200)


def test_fewer_pes_have_the_proportions_of_the_wafer():
    width, height = largest_rectangle(machine(pes=100_000))
    usual = largest_rectangle(load_architecture("wse3"))
    assert width * height == pytest.approx(100_000, rel=0.01)
    assert width / height == pytest.approx(usual[0] / usual[1], rel=0.01)


def test_a_slower_hop_keeps_the_full_rate_of_links():
    timing = machine(hop_latency=5).timing
    assert timing.hop_cycles == timing.credit_cycles == 5
    assert timing.router_buffer_words >= timing.hop_cycles + timing.credit_cycles


def test_a_field_changes_nothing_else():
    timing, usual = (
        machine(hop_cycles=5).timing,
        load_architecture("wse3", profile="silicon").timing,
    )
    assert (timing.hop_cycles, timing.credit_cycles) == (5, usual.credit_cycles)


def test_what_filters_ask_is_what_the_point_has():
    inputs = {"sram": 98304, "link_width": 0.5, "pes": "300x200"}
    changes = variant_of("wse3", inputs, profile="silicon").changes
    found = machine_numbers("wse3", changes, profile="silicon")
    assert (found["sram"], found["link_width"], found["pes"]) == (98304, 0.5, 60000)


def test_two_names_of_one_number_contradict_each_other():
    with pytest.raises(ConfigurationError, match="sram and memory_bytes both set memory_bytes"):
        machine(sram="48KiB", memory_bytes=49152)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sram", "48 KB of it", "write bytes"),
        ("hop_latency", 0, "at least 1"),
        ("clock", "fast", "write a frequency"),
        ("link_width", 0, "wavelets a cycle"),
        ("pes", "300", "^pes = '300': write WIDTHxHEIGHT"),
        ("sram", "1e999GB", "^sram = '1e999GB': write bytes"),
        ("sram", "1e30", "^sram = 1[0-9]*: write a whole number of 18 digits at most"),
        ("hop_latency", 10**30, "^hop_latency = 10*: write a whole number of 18 digits at most"),
        ("memory_setup_cycles", 1 << 63, "^memory_setup_cycles: a whole number has 64 bits"),
    ],
)
def test_a_number_that_no_machine_has_is_refused(name, value, message):
    with pytest.raises(ConfigurationError, match=message):
        machine(**{name: value})

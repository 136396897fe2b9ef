"""Systems come from sourced files and fit the wafers that they are built around."""

import pytest

from onewafer.arch import (
    facts_in,
    load_architecture,
    load_wafer_system,
    wafer_system_names,
)
from onewafer.errors import ConfigurationError


@pytest.mark.parametrize("name", wafer_system_names())
def test_every_number_has_a_unit_and_a_source(name):
    for entry in facts_in("onewafer.arch.wafer_systems", name, "wafer system"):
        assert entry.unit, entry.path
        assert entry.source, entry.path


@pytest.mark.parametrize("name", wafer_system_names())
def test_the_clock_of_the_wafer_is_within_the_published_range(name):
    system = load_wafer_system(name)
    clock = load_architecture(system.wafer).clock_hertz

    assert system.slowest_clock_hertz <= clock <= system.fastest_clock_hertz
    assert system.idle_watts < system.busy_watts


def test_the_dense_peak_is_an_eighth_of_the_advertised_one():
    system = load_wafer_system("cs3")
    fastest = system.fastest_clock_hertz

    assert system.peak_flop_per_second(bits=16, clock_hertz=fastest) == pytest.approx(
        125e15 / 8, rel=0.02
    )
    assert system.peak_flop_per_second(bits=32, clock_hertz=fastest) == pytest.approx(1.98e15)


def test_an_unknown_system_is_refused_with_the_names_of_all():
    with pytest.raises(ConfigurationError, match=r"no wafer system 'cs9'.*: cs2, cs3"):
        load_wafer_system("cs9")

"""Machines come from sourced files, and mistakes in them are found."""

from dataclasses import fields
from fractions import Fraction

import pytest

from onewafer.arch import (
    Confidence,
    DataTaskKey,
    Timing,
    architecture_names,
    catalog_entries,
    load_architecture,
    sourced,
)
from onewafer.errors import ConfigurationError
from onewafer.image import CostClass, DsdOperation

MACHINES = [(name, profile) for name in architecture_names() for profile in ("sdk", "silicon")]


def test_published_facts():
    wse2, wse3 = load_architecture("wse2"), load_architecture("wse3")
    assert (wse2.fabric_width, wse2.fabric_height) == (757, 996)
    assert (wse3.fabric_width, wse3.fabric_height) == (762, 1172)
    assert wse2.memory_bytes == wse3.memory_bytes == 49152
    assert (len(wse2.input_queue_words), len(wse2.output_queue_words)) == (8, 6)
    assert (wse2.data_task_key, wse3.data_task_key) == (DataTaskKey.COLOR, DataTaskKey.INPUT_QUEUE)
    assert (wse2.timing.hop_cycles, wse3.timing.hop_cycles) == (1, 2)
    assert wse2.timing.ramp_cycles == 2


def test_silicon_differs_where_it_was_measured():
    sdk = load_architecture("wse3").timing
    silicon = load_architecture("wse3", profile="silicon").timing
    assert (silicon.link_window_words, silicon.link_window_cycles) == (8, 9)
    assert silicon.elements_per_cycle["mov16"] == Fraction(482, 100)
    assert silicon.hop_cycles == sdk.hop_cycles
    assert silicon.elements_per_cycle["fmacs"] == sdk.elements_per_cycle["fmacs"] == Fraction(1)


@pytest.mark.parametrize(("name", "profile"), MACHINES)
def test_every_number_has_a_source(name, profile):
    entries = catalog_entries(name, profile=profile)
    for entry in entries:
        assert entry.unit, entry.path
        assert entry.source, entry.path
        assert isinstance(entry.confidence, Confidence)
    paths = {entry.path.split(".", 2)[-1] for entry in entries if entry.path.startswith("timing")}
    for field in fields(Timing):
        assert any(p == field.name or p.startswith(f"{field.name}.") for p in paths), field.name


@pytest.mark.parametrize(("name", "profile"), MACHINES)
def test_tables_cover_the_instruction_table(name, profile):
    timing = load_architecture(name, profile=profile).timing
    assert set(timing.instruction_cycles) == {cost.name.lower() for cost in CostClass}
    assert set(timing.elements_per_cycle) == {operation.name.lower() for operation in DsdOperation}
    assert all(rate > 0 for rate in timing.elements_per_cycle.values())


@pytest.mark.parametrize(("name", "profile"), MACHINES)
def test_links_run_at_full_rate(name, profile):
    """M53: the buffers cover the way there and the credit's way back."""
    timing = load_architecture(name, profile=profile).timing
    assert timing.router_buffer_words >= timing.hop_cycles + timing.credit_cycles
    assert min(timing.hop_cycles, timing.credit_cycles, timing.ramp_cycles) >= 1


def test_unknown_machine():
    with pytest.raises(ConfigurationError, match=r"no machine 'wse9'.*: toy, wse2, wse3"):
        load_architecture("wse9")


def test_unknown_profile():
    with pytest.raises(ConfigurationError, match=r"no timing profile 'fast'; it has: sdk, silicon"):
        load_architecture("wse3", profile="fast")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (3, "facts.width is a bare value; write width = { value = …"),
        ({"value": 3, "unit": "PEs"}, "facts.width does not say its source and confidence"),
        (
            {"value": 3, "unit": "PEs", "source": "x", "confidence": "sure"},
            "facts.width: 'sure' is not a confidence",
        ),
    ],
)
def test_unsourced_numbers_are_refused(item, message):
    with pytest.raises(ConfigurationError) as caught:
        sourced.entries_of({"facts": {"width": item}}, "facts", "wsex")
    assert message in str(caught.value)

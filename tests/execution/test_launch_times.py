"""Cycles of launches that were not simulated, from those that were."""

import pytest

from onewafer.arch import load_architecture
from onewafer.execution.activity import Activity
from onewafer.execution.launch_times import LaunchTimes
from onewafer.graph import Slot
from onewafer.mesh import Launch, estimate, shard
from tests.mesh.models import llama
from tests.mesh.strategies import mlp

WSE3 = load_architecture("wse3")


def times_of(graph):
    return LaunchTimes(shard(graph, width=2, height=2, architecture=WSE3), WSE3)


def simulate(times, launch, ratio):
    cycles = round(times.closed_form(launch) * ratio)
    times.add(launch, Activity(cycles, cycles, wavelet_hops=1000))


def test_the_first_launch_of_a_shape_is_due_and_then_one_at_each_doubling_of_the_position():
    times = times_of(llama())
    due = []
    for position in range(3, 16):
        launch = Launch.at(position, 1)
        if times.is_due(launch):
            due.append(position + 1)
            simulate(times, launch, 1.0)
    assert due == [4, 8, 16]
    assert times.is_due(Launch.at(3, 2))
    assert times.is_due(Launch.at(1, 1))
    assert not times.is_due(Launch.at(9, 1))
    assert times.is_due(Launch((Slot(sequence=0, position=9, rows=1),), "another entry"))


def test_launches_without_a_position_are_due_once():
    times = times_of(mlp([6, 5, 3]))
    assert times.is_due(None)
    simulate(times, None, 1.5)
    assert not times.is_due(None)
    assert times.activity(None).cycles == pytest.approx(1.5 * times.closed_form(None), abs=1)


def test_what_was_simulated_is_given_back():
    times = times_of(llama())
    activity = Activity(12_345, 12_345, 678, 9_000, 678)
    times.add(Launch.at(4, 1), activity)
    assert times.activity(Launch.at(4, 1)) == activity


def test_between_two_positions_the_ratio_is_interpolated_and_beyond_them_kept():
    times = times_of(llama())
    simulate(times, Launch.at(3, 1), 1.0)
    simulate(times, Launch.at(7, 1), 1.2)

    def ratio(position):
        launch = Launch.at(position, 1)
        return times.activity(launch).cycles / times.closed_form(launch)

    expected = {0: 1.0, 3: 1.0, 4: 1.05, 5: 1.1, 6: 1.15, 7: 1.2, 11: 1.2}
    assert {at: ratio(at) for at in expected} == pytest.approx(expected, abs=1e-3)
    assert times.ratios() == pytest.approx((1.0, 1.2), abs=1e-3)


def test_other_counts_grow_with_the_cycles():
    times = times_of(llama())
    simulate(times, Launch.at(3, 1), 1.0)
    found = times.activity(Launch.at(6, 1))
    share = times.closed_form(Launch.at(6, 1)) / times.closed_form(Launch.at(3, 1))
    assert share > 1
    assert found.wavelet_hops == pytest.approx(1000 * share, abs=1)
    assert found.observed_cycles == found.cycles


def test_a_shape_that_was_never_simulated_has_its_closed_form_alone():
    times = times_of(llama())
    simulate(times, Launch.at(3, 1), 1.5)
    launch = Launch.at(0, 3)
    closed_form = estimate(times.program, WSE3, launch).cycles
    assert times.activity(launch) == Activity(cycles=closed_form)
    assert not times.has_shape(launch)


def test_positions_of_several_sequences_are_added_up():
    program = shard(llama(rows=4, layers=1), width=2, height=2, architecture=WSE3, sequences=3)
    times = LaunchTimes(program, WSE3)

    def launch(*positions):
        return Launch(tuple(Slot(index, at, 1) for index, at in enumerate(positions)))

    simulate(times, launch(3, 1), 1.1)  # by its end there are 6 positions
    assert [times.is_due(launch(*at)) for at in ((1, 3), (5, 4), (5, 5), (3, 0))] == [
        False,
        False,
        True,
        True,
    ]
    assert times.is_due(launch(3, 1, 1))
    other = launch(2, 4)
    assert times.expect(other) == pytest.approx(1.1 * times.closed_form(other), abs=1)

"""Axes, and the points that a study takes of them."""

import pytest

from onewafer.errors import ConfigurationError
from onewafer.sweep.inputs.axes import read_axis
from onewafer.sweep.inputs.plain import as_bytes, as_number, as_whole
from onewafer.sweep.inputs.sampling import Sample, Sampling


def axis(name, written, parse=as_whole):
    return read_axis(name, written, parse)


def test_a_grid_has_every_pair_and_the_last_axis_changes_fastest():
    axes = [axis("a", [1, 2]), axis("b", [3, 4, 3])]
    assert [*Sample().points(axes)] == [(1, 3), (1, 4), (2, 3), (2, 4)]


def test_a_range_is_cut_evenly_or_by_factors():
    even = axis("sram", {"from": "16KiB", "to": "64KiB", "count": 4}, as_bytes)
    factors = axis("n", {"from": 1, "to": 1000, "count": 4, "scale": "log"}, as_whole)
    parts = axis("density", {"from": 0.5, "to": 1.0, "count": 3}, as_number)

    assert even.values == (16384, 32768, 49152, 65536)
    assert factors.values == (1, 10, 100, 1000)
    assert parts.values == (0.5, 0.75, 1.0)


def test_a_list_takes_one_value_of_each_axis_for_each_point():
    axes = [axis("a", [1, 2, 3]), axis("b", [4, 5, 6]), axis("c", [7])]
    points = Sample(sampling=Sampling.LIST).points(axes)
    assert [*points] == [(1, 4, 7), (2, 5, 7), (3, 6, 7)]


def test_lists_of_different_lengths_are_refused():
    points = Sample(sampling=Sampling.LIST).points([axis("a", [1, 2, 3]), axis("b", [4, 5])])
    with pytest.raises(ConfigurationError, match=r"axes\.b has 2, another has 3"):
        next(points)


def test_a_latin_hypercube_has_one_point_in_each_part_of_each_axis():
    axes = [axis("x", {"from": 0.0, "to": 10.0}, as_number), axis("y", {"from": 100, "to": 200})]
    points = [*Sample(sampling=Sampling.LATIN, count=10, seed=3).points(axes)]

    assert sorted(int(x) for x, _ in points) == [*range(10)]
    assert all(isinstance(y, int) and 100 <= y <= 200 for _, y in points)
    assert [x for x, _ in points] != sorted(x for x, _ in points)


@pytest.mark.parametrize("sampling", [Sampling.RANDOM, Sampling.LATIN])
def test_chance_is_that_of_the_seed(sampling):
    axes = [axis("x", {"from": 0.0, "to": 1.0}, as_number), axis("y", [1, 2, 3])]
    one, same, other = (
        [*Sample(sampling=sampling, count=20, seed=seed).points(axes)] for seed in (1, 1, 2)
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "an axis without values leaves no points"),
        ({"from": 1}, "has no 'to'"),
        ({"from": 4, "to": 2}, "write the smaller number first"),
        ({"from": 0, "to": 2, "scale": "log"}, "above 0"),
        ({"from": 1, "to": 2, "scale": "cubic"}, '"linear" or "log"'),
        ({"from": 1, "to": 2, "steps": 3}, "no key in axes.a: 'steps'"),
        ({"from": 1, "to": 2, "count": 0}, "whole number of at least 1"),
    ],
)
def test_an_axis_that_means_nothing_is_refused(written, message):
    with pytest.raises(ConfigurationError, match=message):
        axis("a", written, as_number)


def test_a_grid_of_a_range_needs_a_count():
    with pytest.raises(ConfigurationError, match="write count = 5"):
        [*Sample().points([axis("a", {"from": 1, "to": 9})])]


def test_more_points_than_anyone_waits_for_are_refused():
    axes = [axis(name, {"from": 1, "to": 9000, "count": 9000}) for name in "ab"]
    with pytest.raises(ConfigurationError, match="81,000,000 points"):
        next(Sample().points(axes))

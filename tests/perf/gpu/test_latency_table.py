"""Measured factors: exact at measured points, geometric between them, constant beyond."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.perf.gpu.latency_table import Points, build_table


def points(*entries):
    columns = np.array(entries, float).T
    return Points(tuple(columns[:-1]), columns[-1])


def test_a_measured_point_is_its_measurement():
    measured = points((1, 16, 3.0), (4, 16, 6.0), (1, 64, 5.0), (4, 64, 20.0))
    formula = np.array([1.0, 2.0, 4.0, 8.0])
    table = build_table(measured, formula)

    assert table.factor(1, 16) == pytest.approx(3.0)
    assert table.factor(4, 64) == pytest.approx(2.5)


def test_half_way_on_a_logarithmic_axis_is_the_geometric_mean():
    table = build_table(points((1, 2.0), (4, 8.0)), np.ones(2))

    assert table.factor(2) == pytest.approx(4.0)


def test_beyond_the_grid_the_efficiency_of_its_edge_stays():
    table = build_table(points((1, 2.0), (4, 8.0)), np.ones(2))

    assert table.factor(0.1) == pytest.approx(2.0)
    assert table.factor(1000) == pytest.approx(8.0)


def test_of_two_kernels_of_one_size_the_faster_one_counts():
    table = build_table(points((1, 2.0), (1, 1.5), (4, 8.0)), np.ones(3))

    assert table.factor(1) == pytest.approx(1.5)


def test_what_was_not_measured_is_taken_from_the_nearest_point_before_it():
    table = build_table(points((1, 1, 2.0), (1, 4, 3.0), (2, 1, 5.0)), np.ones(3))

    assert table.factor(2, 4) == pytest.approx(5.0)


sizes = st.lists(st.integers(1, 10**6), min_size=2, max_size=6, unique=True)


@given(sizes, st.data())
def test_a_factor_lies_between_those_of_its_neighbours(axis, data):
    factors = data.draw(st.lists(st.floats(0.1, 10), min_size=len(axis), max_size=len(axis)))
    table = build_table(points(*zip(axis, factors, strict=True)), np.ones(len(axis)))
    factor = table.factor(data.draw(st.floats(0.5, 2e6)))

    assert min(factors) * (1 - 1e-9) <= factor <= max(factors) * (1 + 1e-9)

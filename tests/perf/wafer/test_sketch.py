"""Sketches: a fit is the nearest one without negative parts, and says what it was told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.perf.wafer.options import WaferOptions
from onewafer.perf.wafer.region import Regions
from onewafer.perf.wafer.sketch import Sketch, non_negative, spread
from onewafer.perf.wafer.system import machine
from onewafer.perf.wafer.workload import Load
from tests.perf.wafer.models import llama


@given(seed=st.integers(0, 1000), points=st.integers(3, 30), forms=st.integers(1, 6))
def test_no_step_to_any_side_is_nearer(seed, points, forms):
    """The conditions of Kuhn and Tucker: what is left points away from all that may grow."""
    random = np.random.default_rng(seed)
    matrix, wanted = random.uniform(0, 1, (points, forms)), random.uniform(-1, 1, points)

    found = non_negative(matrix, wanted)

    slopes = matrix.T @ (wanted - matrix @ found)
    assert (found >= 0).all()
    assert (slopes <= 1e-6 * points).all()
    assert np.abs(slopes[found > 1e-9]).max(initial=0.0) <= 1e-6 * points


@given(
    work=st.floats(1e3, 1e8),
    chain=st.floats(0.0, 20.0),
    fixed=st.floats(10.0, 1e4),
    rows=st.sampled_from([1, 2, 8, 64]),
)
def test_cycles_of_its_form_are_told_for_other_rectangles_and_rows(work, chain, fixed, rows):
    def cycles(count, width, height):
        return fixed + count * (work / (width * height) + chain * width)

    sketch = Sketch()
    for count in (1, 4, 16):
        for width, height in ((5, 9), (12, 80), (40, 40), (75, 20), (150, 400), (700, 300)):
            sketch.learn(count, (width, height), cycles(count, width, height))

    told = sketch.cycles(rows, np.array([(10, 10), (100, 60), (377, 390)]))

    expected = [cycles(rows, *sides) for sides in ((10, 10), (100, 60), (377, 390))]
    assert told == pytest.approx(expected, rel=1e-2)


def test_a_layer_is_sketched_as_its_programs_are():
    chip, options = machine("cs3", WaferOptions()), WaferOptions()
    model = llama(layers=4, features=512, heads=8, kv_heads=4, inner=1536)
    regions = Regions(model, Load(rows=4, capacity=256), machine=chip, options=options)
    sides = [(width, height) for width in (20, 47, 83, 151) for height in (31, 65, 130, 234)]
    cycles = [regions.cycles(((1, 1),), one) for one in sides]
    sketch = Sketch()
    for one, of_one in list(zip(sides, cycles, strict=True))[::2]:
        sketch.learn(4, one, of_one)

    told = sketch.cycles(4, np.array(sides))

    assert told == pytest.approx(cycles, rel=0.3)
    assert np.corrcoef(np.log(told), np.log(cycles))[0, 1] > 0.9


@settings(max_examples=30)
@given(count=st.integers(1, 60), most=st.integers(1, 80))
def test_a_spread_is_even_and_in_order(count, most):
    found = spread([*range(count)], most)

    assert len(found) == min(count, most)
    assert found == sorted(set(found))
    assert max(np.diff([*found, count]), default=1) <= -(-count // most) + 1

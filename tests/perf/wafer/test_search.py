"""The search for a rectangle that is alone on its wafer: nothing beside the one found is better."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onewafer.perf.wafer.options import WaferOptions
from onewafer.perf.wafer.rectangles import alone_on_wafer, beside
from onewafer.perf.wafer.search import explore
from onewafer.perf.wafer.system import machine


@given(
    best_sides=st.tuples(st.integers(1, 750), st.integers(1, 1000)),
    near=st.one_of(st.none(), st.just((86, 134)), st.just((3, 5))),
    most=st.floats(1.0, 50.0),
    seed=st.integers(0, 100),
    is_thorough=st.booleans(),
)
def test_nothing_beside_the_best_rectangle_is_better(best_sides, near, most, seed, is_thorough):
    chip, asked = machine("cs3", WaferOptions()), []

    def seconds(sides):
        asked.append(sides)
        distance = math.hypot(
            *(math.log(one / other) for one, other in zip(sides, best_sides, strict=True))
        )
        uneven = np.random.default_rng((seed, *sides)).uniform(0.0, 0.1)
        return math.inf if distance > most else distance + uneven

    found = explore(
        chip, WaferOptions(), seconds, least_bytes=2e8, near=near, is_thorough=is_thorough
    )

    best = min(found, key=lambda sides: found[sides])
    assert set(asked) == {*found}
    if near is not None:
        assert asked[0] == near
    if found[best] < math.inf:
        others = beside(best, chip, is_alone=True, reach=2 if is_thorough else 1)
        others = [one for one in others if is_thorough or one[0] == best[0] or one[1] == best[1]]
        assert all(found[sides] >= found[best] for sides in others)


def test_where_the_user_wants_a_rectangle_no_other_one_is_tried():
    options = WaferOptions(region=(40, 30))

    found = explore(
        machine("cs3", options),
        options,
        math.prod,
        least_bytes=2e8,
        near=(86, 134),
        is_thorough=True,
    )

    assert found == {(40, 30): 1200}


def test_rectangles_hold_what_they_must_and_the_whole_wafer_is_one():
    chip = machine("cs3", WaferOptions())
    found = alone_on_wafer(chip, 1e9)

    assert found[-1] == (755, 1170)
    assert all(w * h * chip.architecture.memory_bytes >= 1e9 for w, h in found)
    assert [*found] == sorted(found, key=math.prod)

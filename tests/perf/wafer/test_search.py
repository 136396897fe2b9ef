"""The search over regions: choices at many prices at once are those at each price."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onewafer.perf.wafer.options import WaferOptions
from onewafer.perf.wafer.search import _neighbours, _Table, explore, rectangles
from onewafer.perf.wafer.system import machine

POSITIVE = st.floats(1.0, 1e6)


def pick(table, price, cap):
    """Return the best choice at one price, looking at one after the other."""
    under = [at for at in range(len(table.cycles)) if table.slowest[at] <= cap]
    if not under:
        return int(np.argmin(table.slowest))
    return min(under, key=lambda at: table.cycles[at] + price * table.pes[at])


@given(
    choices=st.lists(st.tuples(POSITIVE, POSITIVE, POSITIVE), min_size=1, max_size=12),
    prices=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=5),
    cap=st.one_of(st.just(math.inf), POSITIVE),
)
def test_many_prices_at_once_are_each_by_itself(choices, prices, cap):
    table = _Table(*map(np.array, zip(*choices, strict=True)))

    assert table.pick(prices, cap) == [pick(table, price, cap) for price in prices]


@given(
    near=st.tuples(st.integers(1, 750), st.integers(1, 1000)),
    most=st.floats(1.0, 50.0),
    seed=st.integers(0, 100),
    is_pinned=st.booleans(),
)
def test_nothing_beside_the_best_rectangle_is_better(near, most, seed, is_pinned):
    chip, asked = machine("cs3", WaferOptions()), []
    first = rectangles(chip, least_bytes=2e8, is_alone=True, near=None)

    def seconds(sides):
        asked.append(sides)
        distance = math.hypot(
            *(math.log(one / other) for one, other in zip(sides, near, strict=True))
        )
        uneven = np.random.default_rng((seed, *sides)).uniform(0.0, 0.1)
        return math.inf if distance > most else distance + uneven

    found = explore(first, chip, seconds, is_pinned=is_pinned)

    best = min(found, key=lambda sides: found[sides])
    assert asked == [*found]  # each of them once
    assert asked[: len(first)] == [*first]
    beside = _neighbours(best, chip, is_alone=True)
    if is_pinned:
        assert len(found) == len(first)
    elif found[best] < math.inf:
        assert all(found[sides] >= found[best] for sides in beside)

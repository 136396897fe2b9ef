"""The search over regions: choices at many prices at once are those at each price."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onewafer.perf.wafer.search import _Table

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

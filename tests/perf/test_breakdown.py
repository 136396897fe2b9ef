"""The parts of a breakdown are its whole, however it is cut."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.perf.breakdown import Breakdown, Item, Limit, total

ITEMS = st.builds(
    Item,
    name=st.sampled_from(["attention", "MLP", "head"]),
    seconds=st.floats(0, 1e6),
    limit=st.sampled_from(Limit),
    is_cross_checked=st.booleans(),
)
BREAKDOWNS = st.lists(ITEMS, max_size=12).map(lambda items: Breakdown(tuple(items)))


@given(BREAKDOWNS)
def test_every_grouping_adds_up_to_the_total(breakdown):
    for key in (lambda item: item.name, lambda item: item.limit, lambda item: item):
        assert math.isclose(sum(breakdown.by(key).values()), breakdown.seconds, rel_tol=1e-12)


@given(st.lists(BREAKDOWNS, max_size=4))
def test_one_after_the_other_takes_the_sum(parts):
    assert math.isclose(
        total(parts).seconds, math.fsum(part.seconds for part in parts), rel_tol=1e-12
    )


@given(BREAKDOWNS)
def test_the_limit_is_that_of_most_of_the_time(breakdown):
    by_limit = breakdown.by(lambda item: item.limit)

    if breakdown.seconds > 0:
        assert by_limit[breakdown.limit] == max(by_limit.values())
    else:
        assert breakdown.limit is None


@given(BREAKDOWNS, st.integers(0, 4))
def test_the_largest_are_in_order_and_their_shares_are_of_the_whole(breakdown, count):
    largest = breakdown.largest(lambda item: item.name, count)
    shares = [share for _, share in largest]

    assert len(largest) == min(count, len(breakdown.by(lambda item: item.name)))
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1 + 1e-9


@given(BREAKDOWNS)
def test_merging_changes_no_total(breakdown):
    merged = breakdown.merged()
    kinds = [(item.name, item.limit, item.is_cross_checked) for item in merged.items]

    assert len({*kinds}) == len(kinds)
    assert all(item.seconds for item in merged.items)
    for key in (lambda item: item.name, lambda item: item.limit):
        before = {name: time for name, time in breakdown.by(key).items() if time}
        assert merged.by(key) == pytest.approx(before)


def test_twice_the_work_takes_twice_as_long_for_the_same_reasons():
    one = Breakdown(
        (
            Item(name="MLP", seconds=2.0, limit=Limit.HBM),
            Item(name="norms", seconds=1.0, limit=Limit.LAUNCH, is_cross_checked=False),
        )
    )

    assert one.scaled(2).seconds == 6.0
    assert one.scaled(2).limit is one.limit is Limit.HBM
    assert one.cross_checked_fraction == pytest.approx(2 / 3)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_time_is_a_number_that_is_not_negative(seconds):
    with pytest.raises(ValueError, match="takes"):
        Breakdown((Item(name="MLP", seconds=seconds, limit=Limit.HBM),))

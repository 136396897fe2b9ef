"""When PEs begin a step: vectors along the axes say the same as a number for each PE."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.mesh import Axis
from onewafer.mesh.operations.operation import Classes
from onewafer.mesh.program import HeadSegments
from onewafer.mesh.skew import Skew

TIMING = load_architecture("wse3").timing
STAGE = 2 * TIMING.ramp_cycles + TIMING.hop_cycles + 1
rectangles = st.tuples(st.integers(1, 6), st.integers(1, 6))
seeds = st.integers(0, 10**6)


def begin(rectangle, generator):
    """Return a skew without anything apart."""
    x, y = (generator.integers(0, 400, side) for side in rectangle)
    middles = [int(generator.integers(0, side // 2 + 1)) for side in rectangle]
    return Skew(x, y, middle_x=middles[0], middle_y=middles[1])


def divide(skew, axis, generator):
    """Divide the PEs along an axis into classes; return them and the shape of work by class."""
    along, across = (skew.x, skew.y) if axis is Axis.X else (skew.y, skew.x)
    distinct, classes = Classes.of(axis, generator.integers(0, 3, len(along)))
    return classes, (len(distinct), len(across))


def of_each_pe(cycles, classes):
    """Return the cycles of local work as `[y, x]`."""
    whole = cycles[classes.labels]
    return whole.T if classes.axis is Axis.X else whole


def follow(begins):
    """Return when the last PE of a chain can pass the first word on."""
    arrival = begins[0]
    for ready in begins[1:]:
        arrival = max(arrival + STAGE, ready)
    return arrival


def chain(times, axis, middle, words, costs):
    """Return the times after a chain by following it from PE to PE, `[y, x]`."""
    cycles, again = costs
    lines = times if axis is Axis.X else times.T
    result = np.empty_like(lines)
    for line, row in enumerate(lines):
        end = follow(row[middle:][::-1])
        if middle:
            end = max(end, follow(row[: middle + 1]) + again[line])
        result[line] = (end if words[line] else row.max()) + cycles[line]
    return result if axis is Axis.X else result.T


@given(rectangles, st.sampled_from(Axis), st.sampled_from(Axis), st.booleans(), seeds)
def test_an_all_reduce_waits_as_from_pe_to_pe(rectangle, divided, along, by_place, seed):
    generator = np.random.default_rng(seed)
    skew = begin(rectangle, generator)
    times = skew.y[:, np.newaxis] + skew.x
    classes, (num_classes, num_across) = divide(skew, divided, generator)
    for _ in range(2):
        cycles = generator.integers(0, 900, (num_classes, num_across if by_place else 1))
        skew, times = skew.after_local(cycles, classes), times + of_each_pe(cycles, classes)
        assert skew.latest == times.max()
    words = generator.integers(0, 2, len(skew.y if along is Axis.X else skew.x))
    sent = generator.integers(1, 99, len(words))
    again = generator.integers(0, 99, len(words))
    middle = skew.middle_x if along is Axis.X else skew.middle_y
    skew = skew.after_chain(along, words, sent, again, TIMING)
    times = chain(times, along, middle, words, (sent, again))
    assert skew.latest == times.max()
    lines = times if along is Axis.X else times.T
    hops = np.abs(np.arange(lines.shape[1]) - middle)
    travel = np.where(hops, hops * TIMING.hop_cycles + 2 * TIMING.ramp_cycles + 1, 0)
    skew = skew.after_broadcast(along, 50, TIMING)
    assert skew.latest == (lines + travel + 50).max()


def chains_of_heads(times, axis, roots, middle, costs):
    """Return the times after the chains to several roots, `[y, x]`: all as late as the latest."""
    cycles, again = costs
    lines = times if axis is Axis.X else times.T
    result = np.empty_like(lines)
    for line, row in enumerate(lines):
        ends = []
        for root in set(roots.tolist()):
            members = np.flatnonzero(roots == root)
            first, last = members[0], members[-1]
            ends.append(follow(row[root : last + 1][::-1]))
            before = follow(row[first : root + 1])
            ends.append(before + again[line] * (root == middle and root > first))
        result[line] = max(ends) + cycles[line]
    return result if axis is Axis.X else result.T


@given(rectangles, st.sampled_from(Axis), st.sampled_from(Axis), st.integers(1, 3), seeds)
def test_pes_of_a_head_wait_as_from_pe_to_pe(rectangle, divided, along, num_pes, seed):
    generator = np.random.default_rng(seed)
    skew = begin(rectangle, generator)
    classes, (num_classes, num_across) = divide(skew, divided, generator)
    cycles = generator.integers(0, 900, (num_classes, num_across))
    times = skew.y[:, np.newaxis] + skew.x + of_each_pe(cycles, classes)
    skew = skew.after_local(cycles, classes)
    size = len(skew.x if along is Axis.X else skew.y)
    middle = skew.middle_x if along is Axis.X else skew.middle_y
    roots = HeadSegments(along, num_pes, size // num_pes).roots(size, middle)
    sent, again = (generator.integers(1, 99, times.size // size) for _ in range(2))
    skew = skew.after_chain(along, 1, sent, again, TIMING, roots=roots)
    times = chains_of_heads(times, along, roots, middle, (sent, again))
    assert skew.latest == times.max()
    lines = times if along is Axis.X else times.T
    hops = np.abs(np.arange(size) - roots)
    travel = np.where(hops, hops * TIMING.hop_cycles + 2 * TIMING.ramp_cycles + 1, 0)
    assert (
        skew.after_broadcast(along, 50, TIMING, roots=roots).latest == (lines + travel + 50).max()
    )


@given(rectangles, st.integers(-500, 500), seeds)
def test_earlier_is_earlier_everywhere(rectangle, cycles, seed):
    skew = begin(rectangle, np.random.default_rng(seed))
    assert skew.earlier(cycles).latest == skew.latest - cycles
    assert skew.earlier(cycles).earlier(-cycles).key == skew.key


@pytest.mark.parametrize("late", [0, 3])
def test_who_is_late_decides_how_much_of_a_chain_is_left(late):
    """The PEs behind the late one have sent by then."""
    begins = np.zeros(8, np.int64)
    begins[late] = 10_000
    skew = Skew(begins, np.zeros(1, np.int64)).after_chain(Axis.X, 1, 0, 0, TIMING)
    assert skew.latest == 10_000 + late * STAGE


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_classes_are_the_distinct_rows(rows):
    distinct, classes = Classes.of(Axis.X, np.array(rows))

    assert distinct.tolist() == [list(row) for row in sorted(set(rows))]
    assert distinct[classes.labels].tolist() == [list(row) for row in rows]

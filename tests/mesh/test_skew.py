"""When PEs begin a step: vectors along the axes say the same as a number for each PE."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.mesh import Axis
from onewafer.mesh.chains import Chains
from onewafer.mesh.operation import Classes
from onewafer.mesh.skew import Skew

TIMING = load_architecture("wse3").timing
STAGE = 2 * TIMING.ramp_cycles + TIMING.hop_cycles + 1
rectangles = st.tuples(st.integers(1, 6), st.integers(1, 6))
seeds = st.integers(0, 10**6)


def begin(rectangle, generator):
    """Return a skew without anything apart."""
    x, y = (generator.integers(0, 400, side) for side in rectangle)
    return Skew(x, y)


def chains_along(skew, axis, generator, **heads):
    """Return the chains along an axis, to a middle in its first half."""
    size = len(skew.x if axis is Axis.X else skew.y)
    section = int(generator.choice([0, 2, 3]))
    return Chains(size, int(generator.integers(0, size // 2 + 1)), section, **heads)


def divide(skew, axis, generator):
    """Divide the PEs along an axis into classes; return them and the shape of work by class."""
    along, across = (skew.x, skew.y) if axis is Axis.X else (skew.y, skew.x)
    distinct, classes = Classes.of(axis, generator.integers(0, 3, len(along)))
    return classes, (len(distinct), len(across))


def of_each_pe(cycles, classes):
    """Return the cycles of local work as `[y, x]`."""
    whole = cycles[classes.labels]
    return whole.T if classes.axis is Axis.X else whole


def end_of_line(row, ways, again):
    """Return when the last of the chains of a line has come in, if PEs begin as `row` says.

    How long ways are, `test_chains` says.
    """
    return max(
        row[place] + ways.late[place] + wait * again
        for wait, places in ways.parts
        for place in places
    )


@given(rectangles, st.sampled_from(Axis), st.sampled_from(Axis), st.booleans(), seeds)
def test_an_all_reduce_waits_as_for_each_pe(rectangle, divided, along, by_place, seed):
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
    chains = chains_along(skew, along, generator)
    ways = chains.ways(TIMING, of_heads=False)
    skew = skew.after_chain(along, words, sent, again, ways)
    lines = times if along is Axis.X else times.T
    ends = [
        (end_of_line(row, ways, again[line]) if words[line] else row.max()) + sent[line]
        for line, row in enumerate(lines)
    ]
    assert skew.latest == max(ends)
    skew = skew.after_broadcast(along, 50, TIMING, chains.roots(of_heads=False))
    assert skew.latest == max(ends) + travel(np.arange(chains.size) - chains.middle).max() + 50


def travel(places):
    """Return the cycles of a broadcast over so many places."""
    hops = np.abs(places)
    return np.where(hops, hops * TIMING.hop_cycles + 2 * TIMING.ramp_cycles + 1, 0)


@given(rectangles, st.sampled_from(Axis), st.sampled_from(Axis), st.integers(1, 3), seeds)
def test_pes_of_a_head_wait_as_for_each_pe(rectangle, divided, along, num_pes, seed):
    generator = np.random.default_rng(seed)
    skew = begin(rectangle, generator)
    classes, (num_classes, num_across) = divide(skew, divided, generator)
    cycles = generator.integers(0, 900, (num_classes, num_across))
    times = skew.y[:, np.newaxis] + skew.x + of_each_pe(cycles, classes)
    skew = skew.after_local(cycles, classes)
    size = len(skew.x if along is Axis.X else skew.y)
    heads = {"head_pes": num_pes, "num_heads": size // num_pes}
    chains = chains_along(skew, along, generator, **heads)
    ways, roots = chains.ways(TIMING, of_heads=True), chains.roots(of_heads=True)
    sent, again = (generator.integers(1, 99, times.size // size) for _ in range(2))
    skew = skew.after_chain(along, 1, sent, again, ways)
    lines = times if along is Axis.X else times.T
    ends = [end_of_line(row, ways, again[line]) + sent[line] for line, row in enumerate(lines)]
    assert skew.latest == max(ends)
    skew = skew.after_broadcast(along, 50, TIMING, roots)
    assert skew.latest == max(ends) + travel(np.arange(size) - roots).max() + 50


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
    ways = Chains(8, 0).ways(TIMING, of_heads=False)
    skew = Skew(begins, np.zeros(1, np.int64)).after_chain(Axis.X, 1, 0, 0, ways)
    assert skew.latest == 10_000 + late * STAGE


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_classes_are_the_distinct_rows(rows):
    distinct, classes = Classes.of(Axis.X, np.array(rows))

    assert distinct.tolist() == [list(row) for row in sorted(set(rows))]
    assert distinct[classes.labels].tolist() == [list(row) for row in rows]

"""Chains in one phase and in two: their structure, their order, and the fabric's."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.mesh import arithmetic, estimate, shard
from onewafer.mesh.chains import Chains, reduce_along
from tests.mesh.collectives.row_of_pes import load_row
from tests.mesh.collectives.test_max_collective import BODY, LENGTH
from tests.mesh.fabric import run_on_fabric
from tests.mesh.strategies import assert_same_bits, mlp, random_arrays
from tests.mesh.test_fabric import check, check_delayed

ARCHITECTURES = {name: load_architecture(name) for name in ("wse2", "wse3")}
WSE3 = ARCHITECTURES["wse3"]


@st.composite
def chains(draw, *, has_heads=True):
    """Draw the chains of an axis, with a middle anywhere."""
    size = draw(st.integers(1, 24))
    head_pes = draw(st.integers(2, 9)) if has_heads and draw(st.booleans()) else 0
    num_heads = size // head_pes if head_pes else 0
    middle, section = (
        draw(st.integers(0, size - 1)),
        draw(st.integers(0, 9).filter(lambda n: n != 1)),
    )
    return Chains(size, middle, section, head_pes if num_heads else 0, num_heads)


def parents(chains, *, of_heads):
    """Return for each PE the one that it sends to, itself if it is a root, and in which phase."""
    roots = chains.roots(of_heads=of_heads).tolist()
    leaders = chains.leaders()
    found = []
    for place, root in enumerate(roots):
        step = 1 if place < root else -1
        if place == root:
            found.append((place, 0))
        elif leaders[place]:
            inner = range(place + step, root, step)
            found.append((next((p for p in inner if leaders[p]), root), 1))
        else:
            found.append((place + step, 0))
    return found


@given(chains(), st.booleans())
def test_every_pe_reaches_its_root_and_sections_are_short(chains, of_heads):
    sends_to = parents(chains, of_heads=of_heads)
    roots = chains.roots(of_heads=of_heads).tolist()
    for place, root in enumerate(roots):
        at, num_links, in_first = place, 0, 0
        while at != root:
            at, phase = sends_to[at]
            num_links += 1
            in_first += phase == 0
        assert num_links <= abs(place - root)
        assert chains.section == 0 or in_first < chains.section
    links = [(place, to) for place, (to, _) in enumerate(sends_to) if to != place]
    assert all(to in range(min(p, roots[p]), max(p, roots[p]) + 1) for p, to in links)


@given(chains(), st.integers(0, 10**6))
def test_a_sum_has_all_values_once(chains, seed):
    """In whole numbers, of which the order does not matter."""
    values = np.random.default_rng(seed).integers(-999, 999, (3, chains.size, 2))
    sums = values.copy()
    reduce_along(sums, chains.middle, chains.leaders(), np.add)
    assert np.array_equal(sums[:, chains.middle], values.sum(axis=1))


@given(chains(), st.booleans(), st.integers(0, 10**6))
def test_the_way_is_as_long_as_from_pe_to_pe(chains, of_heads, seed):
    """The last PE decides when a root has the last chain; a word more takes each adder longer."""
    generator = np.random.default_rng(seed)
    begins = generator.integers(0, 400, chains.size)
    again = int(generator.integers(0, 60))
    ways = chains.ways(WSE3.timing, of_heads=of_heads)
    late = {
        place: ways.late[place] + wait * again for wait, places in ways.parts for place in places
    }
    for root in set(chains.roots(of_heads=of_heads).tolist()):
        members = [p for p, r in enumerate(chains.roots(of_heads=of_heads).tolist()) if r == root]
        expected = follow(root, chains, begins, again, of_heads=of_heads)
        assert max(begins[place] + late[place] for place in members) == expected


def follow(place, chains, begins, again, *, of_heads):
    """Return when a PE has added its last chain, or can pass on the first word of it."""
    timing, sends_to = WSE3.timing, parents(chains, of_heads=of_heads)
    children = [child for child, (to, _) in enumerate(sends_to) if to == place != child]
    lasts = {
        child > place: sends_to[child][1]
        for child in sorted(children, key=lambda c: sends_to[c][1])
    }
    incoming = sorted(
        (sends_to[child][1] == lasts[child > place], child > place, child) for child in children
    )
    arrivals = [
        follow(child, chains, begins, again, of_heads=of_heads)
        + 2 * timing.ramp_cycles
        + 1
        + timing.hop_cycles * abs(child - place)
        for _, _, child in incoming
    ]
    later = again * max(len(arrivals) - 1, 0)
    own = begins[place] + later
    return reduce(
        max, (at + again * (len(arrivals) - 1 - index) for index, at in enumerate(arrivals)), own
    )


@settings(max_examples=12)
@given(chains(has_heads=False), st.sampled_from(sorted(ARCHITECTURES)), st.integers(0, 10**6))
def test_the_fabric_adds_in_the_order_of_the_reader(chains, architecture, seed):
    if chains.size == 1:
        return
    exports = {"values": "[*]f32", "largest": "fn()void"}
    body = BODY.replace("LENGTH", str(LENGTH)).replace("chain_max", "chain_reduce")
    device = load_row(
        ARCHITECTURES[architecture],
        chains.size,
        exports,
        body,
        middle=chains.middle,
        section=chains.section,
    )
    generator = np.random.default_rng(seed)
    for _ in range(3):  # the switches are back where they were
        values = generator.standard_normal((1, chains.size, LENGTH), np.float32)
        device.write("values", values)
        device.launch("largest")
        reduce_along(values, chains.middle, chains.leaders(), arithmetic.add)
        actual = device.read("values", LENGTH)
        assert_same_bits(actual, np.broadcast_to(values[:, [chains.middle]], actual.shape))


SECTIONS = {"middle_x": 4, "middle_y": 2, "section_x": 3, "section_y": 2}


def in_two_phases(graph, **changes):
    """Return a program on 11×7 PEs with leaders along both axes."""
    program = shard(graph, width=11, height=7, architecture=WSE3)
    return replace(program, **{**SECTIONS, **changes})


@settings(max_examples=4)
@given(st.integers(0, 1000), st.sampled_from(sorted(ARCHITECTURES)))
def test_no_delay_of_any_pe_changes_a_value(seed, architecture):
    graph = mlp([6, 5, 7, 6], batch=2, is_residual=True)
    check_delayed(in_two_phases(graph), ARCHITECTURES[architecture], seed)


@pytest.mark.parametrize("sections", [(0, 2), (2, 0), (4, 3)])
@pytest.mark.alternate
def test_the_closed_form_knows_both_phases(sections):
    graph = mlp([40, 30, 40], batch=2)
    program = in_two_phases(graph, section_x=sections[0], section_y=sections[1])
    inputs, parameters = (random_arrays(group, 1) for group in (graph.inputs, graph.parameters))
    cycles = run_on_fabric(program, WSE3, inputs, parameters).cycles
    assert abs(estimate(program, WSE3).cycles - cycles) <= 0.03 * cycles


def test_a_long_axis_is_cut_into_sections():
    graph = mlp([64, 8])
    program = shard(graph, width=64, height=1, architecture=WSE3)
    assert program.section_x > 1
    fewer = estimate(program, WSE3).cycles
    assert fewer < estimate(replace(program, section_x=0), WSE3).cycles
    check(graph, 64, 1, WSE3)

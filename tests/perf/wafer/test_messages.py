"""What blocks of feature maps tell each other takes what the formulas say, computed by hand."""

from dataclasses import replace
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.mesh import Waits
from onewafer.perf.wafer.feature_map_blocks import Exchange, Gathering, Halo
from onewafer.perf.wafer.messages import Groups

TIMING = load_architecture("wse3", profile="silicon").timing
GROUPS = Groups(grid=(4, 6), width=5, height=7, element_bytes=2, timing=TIMING, issue_cycles=40)
LINK = Fraction(9, 8)


def test_an_exchange_by_hand():
    # 4 × 3 own pixels, 8 features of each on a PE; a line above and below, two pixels on the left
    message = Exchange(y=Halo(4, 6, 1, 1), x=Halo(3, 5, 2, 0))
    rate = TIMING.elements_per_cycle["mov16"]
    west = 4 * 2 * 8 // 2  # wavelets of two f16: 4 lines of 2 pixels
    north = 5 * 1 * 8 // 2  # a line of 3 own pixels and the 2 that came
    expected = Waits(
        instructions=4 * (TIMING.memory_setup_cycles + TIMING.resume_cycles) + (2 + 4) * 40,
        memory=4 * ceil(3 * 8 / rate),
        travel=6 * TIMING.fabric_setup_cycles
        + (5 + 7) * TIMING.hop_cycles
        + 2 * (2 * TIMING.ramp_cycles + 1),
        wavelets=ceil(5 * west * LINK) + ceil(7 * north * LINK),
    )

    assert GROUPS.waits(message, 8) == expected


def test_wavelets_of_farther_blocks_pass_more_groups():
    near = GROUPS.waits(Exchange(y=Halo(1, 1), x=Halo(4, 8, 4, 0)), 8)
    far = GROUPS.waits(Exchange(y=Halo(1, 1), x=Halo(2, 6, 4, 0)), 8)

    assert near.wavelets == ceil(5 * 16 * LINK)
    assert far.wavelets == ceil((5 * 8 + 10 * 8) * LINK)
    assert far.travel - near.travel == 5 * TIMING.hop_cycles + 2 * TIMING.fabric_setup_cycles


def test_a_block_that_is_only_made_smaller_is_copied():
    waits = GROUPS.waits(Exchange(y=Halo(4, 3), x=Halo(2, 2)), 8)

    assert waits.travel == waits.wavelets == 0
    assert waits.memory == 4 * ceil(16 / TIMING.elements_per_cycle["mov16"])


def test_narrow_groups_wait_for_their_data_path():
    one = replace(GROUPS, width=1, height=1)
    waits = one.waits(Exchange(y=Halo(1, 1), x=Halo(4, 6, 1, 1)), 40)
    moved = 2 * (20 + 20)  # sent and received, both ways

    assert waits.wavelets == ceil(moved / TIMING.elements_per_cycle["mov32"])


def test_a_gathering_by_hand():
    waits = GROUPS.waits(Gathering(), 3)
    stop = 2 * TIMING.ramp_cycles + 1

    assert waits.instructions == 2 * 2 * 40
    assert waits.travel == (
        4 * TIMING.fabric_setup_cycles
        + (2 * 2 * 5 + 2 * 3 * 7) * TIMING.hop_cycles
        + (3 + 4) * stop
    )
    assert waits.wavelets == 2 * ceil(3 * 5 * LINK) + 2 * ceil(3 * 7 * LINK)
    assert replace(GROUPS, grid=(1, 1)).waits(Gathering(), 3) == Waits()


halos = st.builds(
    Halo, own=st.integers(1, 9), needed=st.integers(1, 20), before=st.integers(0, 9),
    after=st.integers(0, 9),
)  # fmt: skip
messages = st.one_of(st.builds(Exchange, y=halos, x=halos), st.just(Gathering()))


@given(messages, st.integers(1, 64), st.integers(1, 64))
def test_more_features_never_take_less(message, first, second):
    few, many = sorted((first, second))

    assert GROUPS.waits(message, few).cycles <= GROUPS.waits(message, many).cycles


@given(messages, st.integers(1, 64), st.integers(8, 32))
def test_faster_links_are_never_slower(message, columns, words):
    faster = replace(GROUPS, timing=replace(TIMING, link_window_words=words))

    assert faster.waits(message, columns).cycles <= GROUPS.waits(message, columns).cycles


@given(messages, st.integers(1, 64), st.integers(1, 4))
def test_faster_memory_is_never_slower(message, columns, factor):
    rates = {name: rate * factor for name, rate in TIMING.elements_per_cycle.items()}
    faster = replace(GROUPS, timing=replace(TIMING, elements_per_cycle=rates))

    assert faster.waits(message, columns).cycles <= GROUPS.waits(message, columns).cycles


@pytest.mark.parametrize("size", [2, 4])
def test_wider_numbers_are_more_wavelets(size):
    groups = replace(GROUPS, element_bytes=size)
    waits = groups.waits(Exchange(y=Halo(1, 1), x=Halo(4, 5, 1, 0)), 8)

    assert waits.wavelets == ceil(5 * 8 * size // 4 * LINK)

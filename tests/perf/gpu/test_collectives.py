"""Collectives by hand-computed cases, and what must hold for all sizes and groups."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_gpu
from onewafer.errors import ConfigurationError
from onewafer.perf.breakdown import Limit
from onewafer.perf.gpu.collectives import (
    Collective,
    Group,
    Link,
    collective_seconds,
    flat_seconds,
    network,
    nvlink,
    ring_seconds,
    tree_all_reduce_seconds,
)

H100 = load_gpu("h100")
LINK = Link(seconds=1e-6, bytes_per_second=1e9, limit=Limit.NVLINK)

collectives = st.sampled_from(Collective)
sizes = st.floats(1, 1e10)
groups = st.builds(Group, st.integers(1, 512), st.integers(1, 64))


def test_a_ring_all_reduce_sends_two_rounds_of_parts():
    # 4 GPUs, 4 MB: 6 steps of 1 µs + 1 MB / 1 GB/s
    assert ring_seconds(Collective.ALL_REDUCE, 4e6, 4, LINK) == pytest.approx(6 * (1e-6 + 1e-3))


def test_a_ring_gathers_in_one_round():
    assert ring_seconds(Collective.ALL_GATHER, 4e6, 4, LINK) == pytest.approx(3 * (1e-6 + 1e-3))
    assert ring_seconds(Collective.REDUCE_SCATTER, 4e6, 4, LINK) == pytest.approx(3.003e-3)


def test_all_to_all_keeps_a_part_and_sends_the_others_at_once():
    assert ring_seconds(Collective.ALL_TO_ALL, 4e6, 4, LINK) == pytest.approx(1e-6 + 3e-3)


def test_a_tree_needs_logarithmic_latency():
    # 8 GPUs: 3 levels up, 3 down; the bytes twice
    assert tree_all_reduce_seconds(8e3, 8, LINK) == pytest.approx(6e-6 + 16e-6)


def test_few_bytes_take_the_tree_and_many_the_ring():
    few, many = 1e3, 1e9

    assert flat_seconds(Collective.ALL_REDUCE, few, 64, LINK) == tree_all_reduce_seconds(
        few, 64, LINK
    )
    assert flat_seconds(Collective.ALL_REDUCE, many, 64, LINK) == ring_seconds(
        Collective.ALL_REDUCE, many, 64, LINK
    )


def test_two_domains_reduce_inside_then_across_then_gather():
    size = 64e6
    near, far = nvlink(H100), network(H100)
    inside = 2 * ring_seconds(Collective.REDUCE_SCATTER, size, 8, near)
    across = flat_seconds(Collective.ALL_REDUCE, size / 8, 2, far)

    seconds, limit = collective_seconds(Collective.ALL_REDUCE, size, group=Group(16), gpu=H100)

    assert seconds == pytest.approx(inside + across)
    assert limit is Limit.NVLINK


def test_a_stride_of_a_domain_goes_over_the_network_alone():
    seconds, limit = collective_seconds(
        Collective.ALL_REDUCE, 1e9, group=Group(4, stride=8), gpu=H100
    )

    assert seconds == flat_seconds(Collective.ALL_REDUCE, 1e9, 4, network(H100))
    assert limit is Limit.NETWORK


@given(collectives, sizes, st.integers(1, 64))
def test_one_gpu_communicates_with_nobody(collective, size, stride):
    seconds, _ = collective_seconds(collective, size, group=Group(1, stride), gpu=H100)

    assert seconds == 0


@given(collectives, sizes, groups, st.floats(1, 100), st.floats(1, 100))
def test_better_links_are_never_slower(collective, size, group, faster, nearer):
    better = replace(
        H100,
        link_bytes_per_second=H100.link_bytes_per_second * faster,
        network_bytes_per_second=H100.network_bytes_per_second * faster,
        link_seconds=H100.link_seconds / nearer,
        network_seconds=H100.network_seconds / nearer,
    )
    before, _ = collective_seconds(collective, size, group=group, gpu=H100)
    after, _ = collective_seconds(collective, size, group=group, gpu=better)

    assert after <= before


@given(collectives, sizes, groups, st.floats(1, 100))
def test_more_bytes_are_never_faster(collective, size, group, factor):
    small, _ = collective_seconds(collective, size, group=group, gpu=H100)
    large, _ = collective_seconds(collective, size * factor, group=group, gpu=H100)

    assert small <= large * (1 + 1e-12)


def test_an_empty_group_is_refused():
    with pytest.raises(ConfigurationError, match="group of 0 GPUs"):
        Group(0)

"""The time of collectives from latency and bandwidth: rings and trees over NVLink and a network.

In: bytes, a group of GPUs, a cluster. Out: seconds, and the link that limits them. The cost of a
message of S bytes is α + S / B (Hockney); ring and tree formulas as in Thakur, Rabenseifner and
Gropp, "Optimization of collective communication operations in MPICH" (2005), the double tree as in
Sanders, Speck and Träff (2009), which NCCL uses: both its halves together use the full bandwidth.

A group that spans domains reduces within each domain, then among corresponding GPUs of all domains,
then gathers within each domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, log2
from typing import TYPE_CHECKING, assert_never

from onewafer.errors import ConfigurationError
from onewafer.perf.breakdown import Limit

if TYPE_CHECKING:
    from onewafer.arch import Gpu


class Collective(StrEnum):
    """Collectives of a group of GPUs. S is the size of the whole tensor on one GPU."""

    ALL_REDUCE = "all-reduce"
    """Every GPU has S bytes and ends with their sum."""
    ALL_GATHER = "all-gather"
    """Every GPU has a part of S bytes and ends with all parts."""
    REDUCE_SCATTER = "reduce-scatter"
    """Every GPU has S bytes and ends with a part of their sum."""
    ALL_TO_ALL = "all-to-all"
    """Every GPU has S bytes, a part for each of the others."""
    SEND = "send"
    """One GPU sends S bytes to one other."""


@dataclass(frozen=True, slots=True)
class Link:
    """The connection from each GPU of a group to another one: α and B."""

    seconds: float
    """Latency: the time of a message without length."""
    bytes_per_second: float
    """Bandwidth of each GPU per direction, both directions at once."""
    limit: Limit


@dataclass(frozen=True, slots=True)
class Group:
    """GPUs that communicate: `size` of them, every `stride`-th of the cluster.

    Tensor parallelism takes neighbours (stride 1); data parallelism takes GPUs with the same part
    of the model (stride: GPUs of a replica).
    """

    size: int
    stride: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        if self.size < 1 or self.stride < 1:
            raise ConfigurationError(
                f"a group of {self.size} GPUs with stride {self.stride}; both must be at least 1"
            )

    def size_in_domain(self, gpu: Gpu) -> int:
        """Return the number of GPUs of the group in one domain."""
        return min(self.size, max(1, gpu.gpus_per_domain // self.stride))


def nvlink(gpu: Gpu) -> Link:
    """Return the link within a domain, at the bandwidth that collectives reach."""
    return Link(gpu.link_seconds, gpu.link_bytes_per_second * gpu.link_efficiency, Limit.NVLINK)


def network(gpu: Gpu) -> Link:
    """Return the link between domains."""
    return Link(gpu.network_seconds, gpu.network_bytes_per_second, Limit.NETWORK)


def ring_seconds(collective: Collective, size_bytes: float, num_gpus: int, link: Link) -> float:
    """Return the seconds of a collective on a ring, each step a message to the neighbour.

    An all-reduce takes 2 (n − 1) steps of S / n bytes, a gather or scatter n − 1.
    """
    if num_gpus == 1:
        return 0.0
    step = link.seconds + size_bytes / num_gpus / link.bytes_per_second
    match collective:
        case Collective.ALL_REDUCE:
            return 2 * (num_gpus - 1) * step
        case Collective.ALL_GATHER | Collective.REDUCE_SCATTER:
            return (num_gpus - 1) * step
        case Collective.ALL_TO_ALL:  # all messages are under way at the same time
            return link.seconds + (num_gpus - 1) * size_bytes / num_gpus / link.bytes_per_second
        case Collective.SEND:
            return link.seconds + size_bytes / link.bytes_per_second
        case _:
            assert_never(collective)


def tree_all_reduce_seconds(size_bytes: float, num_gpus: int, link: Link) -> float:
    """Return the seconds of an all-reduce on a double binary tree: up, then down again.

    2 ⌈log₂ n⌉ latencies and twice the bytes: better than a ring for many GPUs and few bytes.
    """
    if num_gpus == 1:
        return 0.0
    return 2 * (ceil(log2(num_gpus)) * link.seconds + size_bytes / link.bytes_per_second)


def flat_seconds(collective: Collective, size_bytes: float, num_gpus: int, link: Link) -> float:
    """Return the seconds of the better of ring and tree on links of one kind."""
    ring = ring_seconds(collective, size_bytes, num_gpus, link)
    if collective is not Collective.ALL_REDUCE:
        return ring
    return min(ring, tree_all_reduce_seconds(size_bytes, num_gpus, link))


def collective_seconds(
    collective: Collective, size_bytes: float, *, group: Group, gpu: Gpu
) -> tuple[float, Limit]:
    """Return the seconds of a collective of a group, and the link that takes most of them."""
    near, far = _split(collective, size_bytes, group=group, gpu=gpu)
    return near + far, Limit.NETWORK if far > near else Limit.NVLINK


def _split(
    collective: Collective, size_bytes: float, *, group: Group, gpu: Gpu
) -> tuple[float, float]:
    """Return the seconds within domains and those between them."""
    inside = group.size_in_domain(gpu)
    outside = -(-group.size // inside)
    near, far = nvlink(gpu), network(gpu)
    if outside == 1:
        return flat_seconds(collective, size_bytes, inside, near), 0.0
    match collective:
        case Collective.ALL_REDUCE:
            scatter = ring_seconds(Collective.REDUCE_SCATTER, size_bytes, inside, near)
            return 2 * scatter, flat_seconds(collective, size_bytes / inside, outside, far)
        case Collective.ALL_GATHER | Collective.REDUCE_SCATTER:
            across = ring_seconds(collective, size_bytes / inside, outside, far)
            return ring_seconds(collective, size_bytes, inside, near), across
        case Collective.ALL_TO_ALL:
            share = inside / group.size
            within = ring_seconds(collective, size_bytes * share, inside, near)
            return within, ring_seconds(collective, size_bytes, outside, far)
        case Collective.SEND:
            return 0.0, ring_seconds(collective, size_bytes, outside, far)
        case _:
            assert_never(collective)

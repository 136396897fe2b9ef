"""The power of GPUs during a step, from the share of time in which they are busy.

A GPU draws its thermal design power while arithmetic or memory is busy and its idle power while it
waits for others or for the engine; the rest of the node draws the same all the time. Decoding draws
less than the design power, so that this is an upper bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.perf.breakdown import Limit

if TYPE_CHECKING:
    from onewafer.arch import GpuCluster
    from onewafer.perf.breakdown import Breakdown

_BUSY = (Limit.COMPUTE, Limit.HBM)


def busy_share(breakdown: Breakdown) -> float:
    """Return the part of the time, 0 to 1, in which arithmetic or memory is busy."""
    total = breakdown.seconds
    by_limit = breakdown.by(lambda item: item.limit)
    return sum(by_limit.get(limit, 0.0) for limit in _BUSY) / total if total > 0 else 0.0


def watts(cluster: GpuCluster, num_busy: int, share: float) -> float:
    """Return the power of a cluster with some GPUs busy for a share of the time."""
    gpu = cluster.gpu
    busy = gpu.idle_watts + share * (gpu.busy_watts - gpu.idle_watts)
    idle = (cluster.count - num_busy) * gpu.idle_watts
    return num_busy * busy + idle + cluster.count * gpu.host_watts


def energy_basis(cluster: GpuCluster, share: float) -> str:
    """Say what the watts include."""
    gpu = cluster.gpu
    return (
        f"upper bound: {gpu.busy_watts:g} W a GPU (thermal design power, vendor) for the "
        f"{share:.0%} of the time in which arithmetic or memory is busy, {gpu.idle_watts:g} W else "
        f"(assumed), and {gpu.host_watts:g} W a GPU for the rest of its node (vendor)"
    )

"""Workloads without a wavelet: vector operations, and scalar code in short tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.benchmarks.communication import compare, pattern
from onewafer.benchmarks.workload import Workload
from onewafer.geometry import Rectangle
from onewafer.known_answers import check_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.benchmarks.benchmark import Sizes
    from onewafer.host import Device

_FACTOR = np.float32(3)  # as in axpy_pe.csl
_MULTIPLIER, _INCREMENT = np.uint16(25173), np.uint16(13849)  # as in scalar_tasks_pe.csl


def axpy(sizes: Sizes) -> Workload:
    """Return `result = 3·x + y`, `num_rounds` times on every PE."""
    width, height = sizes["width"], sizes["height"]
    x = pattern(height, width, sizes["num_elements"])
    y = x[::-1, ::-1, ::-1].copy()

    def prepare(device: Device) -> None:
        device.write("x", x)
        device.write("y", y)

    def check(device: Device) -> None:
        compare(device, _FACTOR * x + y, Rectangle(0, 0, width, height))

    return Workload(
        machine="wse2",
        entry="axpy.csl",
        params=dict(sizes),
        prepare=prepare,
        check=check,
    )


def scalar_tasks(sizes: Sizes) -> Workload:
    """Return the steps of a linear congruential generator, each in a task of its own."""
    width, height = sizes["width"], sizes["height"]
    seeds = np.arange(width * height, dtype=np.uint32).astype(np.uint16).reshape(height, width, 1)

    def prepare(device: Device) -> None:
        device.write("seed", seeds)

    def check(device: Device) -> None:
        check_bits("result", device.read("result", 2), _step(seeds[:, :, 0], sizes["num_steps"]))

    return Workload(
        machine="wse2",
        entry="scalar_tasks.csl",
        params=dict(sizes),
        prepare=prepare,
        check=check,
    )


def _step(seeds: NDArray[np.uint16], num_steps: int) -> NDArray[np.uint16]:
    """Return the last state and the number of odd states, `[height, width, 2]`."""
    state, num_odd = seeds, np.zeros_like(seeds)
    for _ in range(num_steps):
        state = state * _MULTIPLIER + _INCREMENT
        num_odd = num_odd + (state & np.uint16(1))
    return np.stack((state, num_odd), axis=2)

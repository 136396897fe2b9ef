"""Workloads that are mostly wavelets. Values are small whole numbers: every sum is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.benchmarks.workload import Workload
from onewafer.geometry import Rectangle
from onewafer.known_answers import check_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from onewafer.benchmarks.benchmark import Sizes
    from onewafer.host import Device

    Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """From `values` of all PEs, `[height, width, num_words]`, to `result` of those compared."""


def pattern(height: int, width: int, num_elements: int) -> NDArray[np.float32]:
    """Return `[height, width, num_elements]` of whole numbers from −8 to 8.

    >>> pattern(1, 2, 3).tolist()
    [[[-8.0, -1.0, 6.0], [-5.0, 2.0, -8.0]]]
    """
    y, x, i = np.ogrid[:height, :width, :num_elements]
    return ((3 * x + 5 * y + 7 * i) % 17 - 8).astype(np.float32)


def compare(device: Device, expected: NDArray[np.float32], rectangle: Rectangle) -> None:
    """Raise `WrongResultError` unless `result` of the PEs of a rectangle is `expected`."""
    found = device.read("result", expected.shape[2], rectangle)
    check_bits("result", found, expected, corner=(rectangle.x, rectangle.y))


def chain_reduce(sizes: Sizes) -> Workload:
    """Return the chain reduce along rows; `active_width` × `active_height` PEs of it have code."""
    width, height = sizes["width"], sizes["height"]
    active_width = sizes.get("active_width", width)
    active_height = sizes.get("active_height", height)
    return _workload(
        "chain_reduce",
        {**sizes, "active_width": active_width, "active_height": active_height},
        written=Rectangle(0, 0, active_width, active_height),
        compared=Rectangle(active_width - 1, 0, 1, active_height),
        answer=lambda values: values.sum(axis=1, keepdims=True),
    )


def flood(sizes: Sizes) -> Workload:
    """Return the multicast from the north-west PE to all others."""
    width, height = sizes["width"], sizes["height"]
    return _workload(
        "flood",
        sizes,
        written=Rectangle(0, 0, width, height),
        compared=Rectangle(0, 1, width, height - 1),
        answer=lambda values: np.broadcast_to(values[0, 0], values[1:].shape),
    )


def long_routes(sizes: Sizes) -> Workload:
    """Return the send from the first PE of every row to the last."""
    width, height = sizes["width"], sizes["height"]
    return _workload(
        "long_routes",
        sizes,
        written=Rectangle(0, 0, width, height),
        compared=Rectangle(width - 1, 0, 1, height),
        answer=lambda values: values[:, :1],
    )


def exchange(sizes: Sizes) -> Workload:
    """Return the exchange with the four neighbours."""
    whole = Rectangle(0, 0, sizes["width"], sizes["height"])
    return _workload("exchange", sizes, written=whole, compared=whole, answer=_add_neighbours)


def _add_neighbours(values: NDArray[np.float32]) -> NDArray[np.float32]:
    total = values.copy()
    total[:, 1:] += values[:, :-1]
    total[:, :-1] += values[:, 1:]
    total[1:] += values[:-1]
    total[:-1] += values[1:]
    return total


def _workload(
    name: str, sizes: Sizes, *, written: Rectangle, compared: Rectangle, answer: Answer
) -> Workload:
    num_words = sizes["num_words"]
    values = pattern(written.height, written.width, num_words)

    def prepare(device: Device) -> None:
        device.write("values", values, written)

    def check(device: Device) -> None:
        compare(device, answer(values), compared)

    return Workload(
        machine="wse2",
        entry=f"{name}.csl",
        params=dict(sizes),
        prepare=prepare,
        check=check,
    )

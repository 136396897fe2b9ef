"""A matrix times a vector, f16 elements and f32 sums, one block a PE: `programs/gemv.csl`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.benchmarks.variants import Variant
from onewafer.benchmarks.workload import Workload
from onewafer.geometry import Rectangle
from onewafer.known_answers import check_bits, check_bound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.host import Device

_VECTOR_SEED = 1 << 32
"""Rows of blocks have seeds below."""


def gemv(
    size: int,
    width: int,
    height: int,
    *,
    machine: str,
    variant: Variant = Variant.SAME,
) -> Workload:
    """Return y = A·x with A of `size` × `size` on `width` × `height` PEs, 2 or more each way.

    x goes down the columns, sums along the rows.

    Blocks are as large as the largest needs; the rest of the last ones is zero. Every element of y
    is the sum in the order of the fabric, bit for bit.
    """
    problem = _Problem(size, width, height, variant)
    return Workload(
        machine=machine,
        entry="gemv.csl",
        params={
            "width": width,
            "height": height,
            "rows": problem.rows,
            "columns": problem.columns,
            "kind": variant.number,
        },
        prepare=problem.write,
        check=problem.check,
    )


@dataclass(frozen=True, slots=True)
class _Problem:
    """One product: its input, generated on demand, and its answer."""

    size: int
    width: int
    height: int
    variant: Variant

    @property
    def rows(self) -> int:
        return -(-self.size // self.height)

    @property
    def columns(self) -> int:
        return -(-self.size // self.width)

    def vector(self) -> NDArray[np.float16]:
        """Return x, `[width, columns]`."""
        x = _uniform(_VECTOR_SEED, (self.width * self.columns,))
        x[self.size :] = 0
        return x.reshape(self.width, self.columns)

    def block_row(self, y: int) -> NDArray[np.float16]:
        """Return the blocks of row `y`, `[width, columns, rows]`."""
        blocks = _uniform(y, (self.width * self.columns, self.rows))
        blocks[self.size :] = 0
        blocks[:, max(0, self.size - y * self.rows) :] = 0
        return blocks.reshape(self.width, self.columns, self.rows)

    def write(self, device: Device) -> None:
        """Give every PE its block, and the first row the vector."""
        for y in range(self.height):
            blocks = self.block_row(y).reshape(1, self.width, -1)
            device.write("matrix", blocks, Rectangle(0, y, self.width, 1))
        device.write("vector", self.vector()[None], Rectangle(0, 0, self.width, 1))

    def check(self, device: Device) -> None:
        """Compare y, which the first column holds, with NumPy's result."""
        found = device.read("sums", self.rows, Rectangle(0, 0, 1, self.height))
        vector = self.vector()
        for y in range(self.height):
            blocks = self.block_row(y)
            expected = _multiply_as_the_fabric(blocks, vector)
            check_bits("sums", found[y : y + 1], expected[None, None], corner=(0, y))
            matrix = blocks.reshape(-1, self.rows).astype(np.float64)
            flat = vector.reshape(-1).astype(np.float64)
            check_bound(
                f"sums of row {y}",
                found[y, 0],
                flat @ matrix,
                magnitude=np.abs(flat) @ np.abs(matrix),
                num_additions=self.size,
            )
        places = self.variant.places(self.width, self.height)
        check_bits("place_copy", device.read("place_copy", 1), places[:, :, None])


def _uniform(seed: int, shape: tuple[int, ...]) -> NDArray[np.float16]:
    """Return numbers in [−1, 1) that depend only on the seed and the shape."""
    generator = np.random.default_rng(seed)  # noqa: TID251 - the same for ever
    integers = generator.integers(-(1 << 15), 1 << 15, shape, np.int16)
    return (integers.astype(np.float32) * np.float32(2.0**-15)).astype(np.float16)


def _multiply_as_the_fabric(
    blocks: NDArray[np.float16], vector: NDArray[np.float16]
) -> NDArray[np.float32]:
    """Return the sums of a row of PEs, `[rows]`: first in each PE, then from the east.

    A product of two f16 numbers is exact in f32.
    """
    sums = np.zeros((blocks.shape[0], blocks.shape[2]), np.float32)
    for j in range(blocks.shape[1]):
        sums += blocks[:, j].astype(np.float32) * vector[:, j, None].astype(np.float32)
    return np.add.accumulate(sums[::-1], axis=0)[-1]

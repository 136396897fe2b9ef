"""An all-reduce over all PEs of a rectangle: `programs/all_reduce.csl`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.benchmarks.variants import Variant
from onewafer.benchmarks.workload import Workload
from onewafer.known_answers import check_bits, check_bound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.host import Device


def all_reduce(
    width: int,
    height: int,
    *,
    machine: str,
    num_words: int = 16,
    variant: Variant = Variant.SAME,
) -> Workload:
    """Return the all-reduce of `num_words` f32 words on `width` × `height` PEs, 2 or more each way.

    Chains along the rows and the first column, one multicast back. Every value is the sum in the
    order of the fabric, bit for bit.
    """
    values = _Values(width, height, num_words, variant)
    return Workload(
        machine=machine,
        entry="all_reduce.csl",
        params={"width": width, "height": height, "num_words": num_words, "kind": variant.number},
        prepare=values.write,
        check=values.check,
    )


@dataclass(frozen=True, slots=True)
class _Values:
    """The input of one all-reduce and its answer."""

    width: int
    height: int
    num_words: int
    variant: Variant

    def input(self) -> NDArray[np.float32]:
        """Return `[height, width, num_words]`, uniform in [−1, 1)."""
        generator = np.random.default_rng(seed=1)  # noqa: TID251 - the same for ever
        shape = self.height, self.width, self.num_words
        return generator.random(shape, np.float32) * np.float32(2) - np.float32(1)

    def write(self, device: Device) -> None:
        device.write("values", self.input())

    def check(self, device: Device) -> None:
        found = device.read("sums", self.num_words)
        terms = self.input()
        terms[:, :, 0] += self.variant.places(self.width, self.height).astype(np.float32)
        check_bits("sums", found, np.broadcast_to(_sum_as_the_fabric(terms), found.shape))
        check_bound(
            "sums",
            found[0, 0],
            terms.sum(axis=(0, 1), dtype=np.float64),
            magnitude=np.abs(terms).sum(axis=(0, 1), dtype=np.float64),
            num_additions=self.width + self.height,
        )


def _sum_as_the_fabric(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the totals, `[num_words]`: rows from the east, then the column from the south."""
    rows = np.add.accumulate(terms[:, ::-1], axis=1)[:, -1]
    return np.add.accumulate(rows[::-1], axis=0)[-1]

"""Rooflines: the formula that measured factors multiply, and the time of unmeasured kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from onewafer.arch import entries_of, fitted, read_document

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.arch import Gpu

_FOLDER = "onewafer.perf.gpu"


@dataclass(frozen=True, slots=True)
class Roofline:
    """Shares of a GPU's peaks that unmeasured kernels reach."""

    compute_efficiency: float
    """Share of the peak that products with weights reach."""
    attention_efficiency: float
    memory_efficiency: float
    kernel_seconds: float
    """The shortest time of a kernel."""

    def ideal(
        self, flop: NDArray[np.float64], num_bytes: NDArray[np.float64], peak: float, gpu: Gpu
    ) -> NDArray[np.float64]:
        """Return the seconds at the peaks: the formula that measured factors multiply."""
        work = np.maximum(flop / peak, num_bytes / gpu.memory_bytes_per_second)
        return work + self.kernel_seconds


@lru_cache
def load_roofline() -> Roofline:
    """Return the stated efficiencies, from `roofline.toml`."""
    document = read_document(_FOLDER, "roofline", "table of efficiencies")
    known = {e.path.split(".", 1)[1]: e.value for e in entries_of(document, "facts", "roofline")}
    return Roofline(**fitted(known, Roofline, "roofline"))  # pyright: ignore[reportArgumentType]  # from TOML

"""Activity of a launch and memory of a PE: figures that executors give and reports add up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onewafer.execution.sampling import Spent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh import Purpose


@dataclass(frozen=True, slots=True)
class PeMemory:
    """Bytes of SRAM on the fullest PE, and which PE that is."""

    x: int | None
    """None (also y): nothing was compiled; the closed form is the same for all PEs."""
    y: int | None
    code_bytes: int
    """Instructions and the memcpy runtime."""
    weight_bytes: int
    activation_bytes: int
    """Inputs, results and outputs."""
    cache_bytes: int
    """Keys and values that stay from launch to launch."""
    buffer_bytes: int
    """All other memory: partial sums, schedule table, frames."""
    training_bytes: int = 0
    """Gradients, and the optimizer's state of each parameter."""
    kept_bytes: int = 0
    """Inputs of the layers that a backward pass computes again."""

    @property
    def total_bytes(self) -> int:
        """The sum of all parts."""
        return sum(num_bytes for _, num_bytes in self.parts())

    def parts(self) -> tuple[tuple[str, int], ...]:
        """Return the parts that are not empty, with their bytes."""
        parts = (
            ("code", self.code_bytes),
            ("weights", self.weight_bytes),
            ("gradients and moments", self.training_bytes),
            ("KV cache", self.cache_bytes),
            ("inputs of layers", self.kept_bytes),
            ("buffers", self.buffer_bytes),
            ("activations", self.activation_bytes),
        )
        return tuple((name, num_bytes) for name, num_bytes in parts if num_bytes)


@dataclass(frozen=True, slots=True)
class Activity:
    """Events on the fabric, in counts that add up over launches."""

    cycles: int = 0
    observed_cycles: int = 0
    """Cycles of the launches whose other counts are known: all but those in closed form."""
    wavelet_hops: int = 0
    busy_pe_cycles: int = 0
    """Main thread and data path cycles over all PEs, of each PE at most `cycles`."""
    link_wavelets: int = 0
    """Wavelets over links between PEs of the program."""
    spent: Mapping[Purpose, Spent] = field(default_factory=dict["Purpose", "Spent"])
    """Measured cycles by purpose; empty if they were not sampled."""

    def __add__(self, other: Activity) -> Activity:
        """Return the sum of both."""
        purposes = dict.fromkeys((*self.spent, *other.spent))
        return Activity(
            self.cycles + other.cycles,
            self.observed_cycles + other.observed_cycles,
            self.wavelet_hops + other.wavelet_hops,
            self.busy_pe_cycles + other.busy_pe_cycles,
            self.link_wavelets + other.link_wavelets,
            {p: self.spent.get(p, _NOTHING) + other.spent.get(p, _NOTHING) for p in purposes},
        )

    def of_all_cycles(self) -> Activity:
        """Return the counts as if all cycles had been observed, none if none were."""
        if not self.observed_cycles:
            return self
        return replace(
            self.scaled(self.cycles / self.observed_cycles),
            cycles=self.cycles,
            observed_cycles=self.cycles,
        )

    def scaled(self, factor: float) -> Activity:
        """Return the counts times a factor, rounded."""
        return Activity(
            round(self.cycles * factor),
            round(self.observed_cycles * factor),
            round(self.wavelet_hops * factor),
            round(self.busy_pe_cycles * factor),
            round(self.link_wavelets * factor),
            {purpose: spent.scaled(factor) for purpose, spent in self.spent.items()},
        )


_NOTHING = Spent(0.0, 0.0)

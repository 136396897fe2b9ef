"""The user's choices for wafers; all have defaults."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from onewafer.errors import ConfigurationError
from onewafer.perf.jobs import Goal, Precision
from onewafer.units import check_clock

_LEAST_DENSITY = 0.001
"""The least density: below it, products no longer determine the time."""


class Mode(StrEnum):
    """The layout of a model over wafers."""

    WHOLE = "whole wafer"
    """One rectangle a wafer, all of whose PEs compute the layers in sequence."""
    PIPELINE = "pipeline"
    """A region for each layer or a few; activations go from region to region."""
    STREAMING = "weight streaming"
    """Weights come from outside, layer by layer; activations and the KV cache stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaferOptions:
    """Choices for wafers."""

    precision: Precision = Precision.FP16
    profile: str = "silicon"
    """`silicon`, measured on real machines, or `sdk`, as the vendor's simulator has it."""
    clock_hertz: float | None = None
    """None: the usual clock of the wafer."""
    density: float = 1.0
    """Share of the weights of linear operations that are not zero, unstructured: only they are
    multiplied and stored."""
    mode: Mode | None = None
    """None: the best mode for the goal."""
    region: tuple[int, int] | None = None
    """Width and height of the regions of layers in PEs; None: the best ones."""
    goal: Goal = Goal.LATENCY
    variant: str = ""
    """Numbers of the wafer that differ from the catalog's: `hop_cycles=1,memory_bytes=98304`."""

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        if self.clock_hertz is not None:
            check_clock(self.clock_hertz)
        if not _LEAST_DENSITY <= self.density <= 1:
            raise ConfigurationError(
                f"a density of {self.density:g} is not possible; write {_LEAST_DENSITY:g} to 1, "
                "as 0.25 for weights of which three in four are zero, 1 for dense ones"
            )
        if self.precision not in (Precision.FP32, Precision.FP16, Precision.BF16):
            raise ConfigurationError(
                f"a wafer has no arithmetic for {self.precision}, and holds such weights in 16 "
                "bits; write fp16, bf16 or fp32"
            )
        if self.region is not None and min(self.region) < 1:
            raise ConfigurationError(
                f"a region of {self.region} PEs is not possible; write 160×160"
            )

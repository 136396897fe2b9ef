"""Conditions of measured serving runs that their rows do not state, from `conditions.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, cast

from onewafer.perf.gpu.kernels import NumberFormat
from onewafer.perf.gpu.steps import Formats

if TYPE_CHECKING:
    from onewafer.perf.gpu.serving_points import ServingPoint

_PRODUCTS = {
    "": NumberFormat.BF16,
    "bfloat16": NumberFormat.BF16,
    "fp8": NumberFormat.FP8,
    "fp8_block": NumberFormat.FP8_BLOCK,
    "nvfp4": NumberFormat.FP4,
}
_NARROW = (NumberFormat.FP8, NumberFormat.FP8_DYNAMIC, NumberFormat.FP4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Conditions of the runs of an origin, an engine and a GPU; an empty field matches all."""

    waves: float
    """Total requests of the run ÷ requests kept open."""
    source: str
    origin: str = ""
    """Prefix of the run's origin."""
    model: str = ""
    engine: str = ""
    gpu: str = ""
    length_share: float = 1.0
    """Mean ÷ nominal length of prompts and answers."""
    closed_slots: int = 0
    """Slots of the batch that the engine did not use."""
    cache: str = ""
    """Format of keys and values; empty: the usual one of the weights."""
    quantization: str = ""
    """Format of the products with weights, as the rows name it."""
    known_share: float = 0.0
    """The share of each prompt that was in the cache already."""
    has_block_scales: bool = False
    """True if fp8 weights have one scale for 128 × 128 weights, whatever the row says."""
    has_dynamic_scales: bool = False
    """True if fp8 products compute the scale of their rows at run time."""

    def fits(self, point: ServingPoint) -> bool:
        """Tell whether a run matches these conditions."""
        return (
            point.origin.startswith(self.origin)
            and self.model in ("", point.model)
            and self.engine in ("", point.engine)
            and self.gpu in ("", point.gpu)
            and self.quantization in ("", point.quantization)
        )

    def formats(self, point: ServingPoint) -> Formats:
        """Return the formats of weights and of the KV cache of a run."""
        products = _PRODUCTS[point.quantization]
        if products is NumberFormat.FP8 and self.has_dynamic_scales:
            products = NumberFormat.FP8_DYNAMIC
        if products is NumberFormat.FP8 and self.has_block_scales:
            products = NumberFormat.FP8_BLOCK
        usual = NumberFormat.FP8 if products in _NARROW else NumberFormat.BF16
        cache = NumberFormat(self.cache) if self.cache else usual
        return Formats(products=products, cache=cache)


@lru_cache
def all_conditions() -> tuple[Conditions, ...]:
    """Return the conditions, in the order in which they are tried."""
    text = resources.files("onewafer.perf.gpu").joinpath("conditions.toml").read_text("utf-8")
    entries = cast("list[dict[str, object]]", tomllib.loads(text)["condition"])
    return tuple(Conditions(**entry) for entry in entries)  # pyright: ignore[reportArgumentType]  # from TOML


def conditions_of(point: ServingPoint) -> Conditions:
    """Return the conditions of a run."""
    return next(conditions for conditions in all_conditions() if conditions.fits(point))

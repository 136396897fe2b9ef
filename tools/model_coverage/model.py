"""One model class to try: its name, what differs from its standard configuration, its arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Group(StrEnum):
    """The kind of model."""

    DECODER = "transformers: decoders"
    ENCODER = "transformers: encoders"
    ENCODER_DECODER = "transformers: encoder-decoders"
    VISION = "transformers: vision"
    AUDIO = "transformers: audio"
    SEVERAL = "transformers: several kinds of input"
    TIMM = "timm"


USUAL_RECTANGLE = (4, 4)
"""Width and height in PEs that most models get."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Random whole numbers from 2 up to, but without, `below` (0 and 1 are often special)."""

    shape: tuple[int, ...]
    below: int = 64


@dataclass(frozen=True, slots=True)
class Floats:
    """Random numbers, normally distributed."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """One class of a library, or one entry of timm's registry."""

    name: str
    group: Group
    config: Mapping[str, object]
    """Overrides of the standard configuration; for timm, keywords of the model."""
    inputs: Mapping[str, Tokens | Floats]
    keywords: Mapping[str, object] = field(default_factory=dict[str, object])
    """Further keywords of the call."""
    rectangle: tuple[int, int] = USUAL_RECTANGLE

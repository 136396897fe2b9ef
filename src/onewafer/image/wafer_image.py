"""Contract 1: the compiled program for a rectangle, compiler → simulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from onewafer.image.route import NUM_COLORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.image.program import SymbolKind, TileProgram
    from onewafer.image.route import ColorConfig
    from onewafer.image.scalar import ScalarType


FIRST_SYMBOL_ID = NUM_COLORS
"""Id of the first exported name; smaller ids are colors."""


@dataclass(frozen=True, slots=True)
class Export:
    """A name the host may use: `@export_name`."""

    name: str
    kind: SymbolKind
    element: ScalarType | None
    """VARIABLE: element type."""
    is_mutable: bool
    argument_types: tuple[ScalarType, ...] = ()


@dataclass(frozen=True, slots=True)
class WaferImage:
    """A compiled program. PE arrays are indexed `[y, x]` and program-relative."""

    arch: str
    width: int
    height: int
    fabric_width: int
    fabric_height: int
    offset_x: int
    """Fabric coordinates of program PE (0, 0)."""
    offset_y: int
    programs: tuple[TileProgram, ...]
    program_of_pe: NDArray[np.int16]
    """`[height, width]`; −1: no code."""
    color_configs: tuple[ColorConfig, ...]
    """The distinct configurations."""
    config_of_color: NDArray[np.int16]
    """`[height, width, 24]` → `color_configs`; −1: the router does not know the color."""
    exports: tuple[Export, ...] = ()
    uses_memcpy: bool = True
    params: dict[str, str] = field(default_factory=dict[str, str])
    """Params of the command line, for `out.json`."""
    colors: dict[str, str] = field(default_factory=dict[str, str])
    color_names: dict[str, str] = field(default_factory=dict[str, str])
    """Names of colors in the file with the layout: name → number, for people."""

    @property
    def pair_swaps(self) -> NDArray[np.uint8]:
        """`[height, width, colors]`: mask of the ports at which a color comes in as the other one.

        A router swaps both colors of a pair if either is configured so.
        """
        masks = np.array([*(config.swap_mask for config in self.color_configs), 0], np.uint8)
        swaps: NDArray[np.uint8] = masks[self.config_of_color]
        return swaps | swaps[:, :, np.arange(NUM_COLORS) ^ 1]

    def names_of_color(self, color: int) -> tuple[str, ...]:
        """Return the name of a color for people; empty if it has none."""
        given = {**self.color_names, **self.colors}
        return tuple(sorted(name for name, number in given.items() if int(number, 0) == color))

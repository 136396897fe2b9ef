"""Routes that leave the rectangle: wavelets on them are lost, other copies go on (M57)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import SwitchPosition

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.image import ColorConfig, WaferImage

_LINKS = (Direction.WEST, Direction.EAST, Direction.SOUTH, Direction.NORTH)


def without_exits(image: WaferImage) -> WaferImage:
    """Cut routes at the rim of the rectangle; return the image itself if none leads out.

    Routes of a PE whose program reaches their registers stay, for it may read and set them:
    wavelets that leave by such a route wait.
    """
    exits = _exits(image)
    y, x, color = np.nonzero(exits)
    if not len(y):
        return image
    kinds: dict[tuple[int, int], int] = {}
    numbers = [
        kinds.setdefault(pair, len(image.color_configs) + len(kinds))
        for pair in zip(
            image.config_of_color[y, x, color].tolist(), exits[y, x, color].tolist(), strict=True
        )
    ]
    more = [_ending(image.color_configs[config], mask) for config, mask in kinds]
    config_of_color = image.config_of_color.copy()
    config_of_color[y, x, color] = numbers
    return replace(
        image, color_configs=(*image.color_configs, *more), config_of_color=config_of_color
    )


def _exits(image: WaferImage) -> NDArray[np.uint8]:
    """Return the directions in which each color leaves at each PE, `[height, width, colors]`."""
    masks = np.array([*map(_transmit, image.color_configs), 0], np.uint8)
    exits: NDArray[np.uint8] = masks[image.config_of_color]
    reaches = np.array([*(program.reaches_registers for program in image.programs), False])
    exits[reaches[image.program_of_pe]] = 0
    outward = np.zeros((image.height, image.width, 1), np.uint8)
    for direction in _LINKS:
        dx, dy = direction.step
        column = {-1: 0, 1: image.width - 1}.get(dx)
        row = {-1: 0, 1: image.height - 1}.get(dy)
        place = (slice(None), column) if column is not None else (row, slice(None))
        outward[place] |= 1 << direction
    return exits & outward


def _transmit(config: ColorConfig) -> int:
    transmit = 0
    for position in config.positions:
        if position is not None:
            transmit |= position.tx
    return transmit


def _ending(config: ColorConfig, exits: int) -> ColorConfig:
    positions = (
        None if position is None else SwitchPosition(position.rx, position.tx & ~exits)
        for position in config.positions
    )
    return replace(config, positions=tuple(positions))

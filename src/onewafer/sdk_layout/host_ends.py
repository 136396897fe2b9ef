"""The ends of streams on the fabric: PEs without a program where the host is connected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.sdk_layout.artifacts import stream_ports

if TYPE_CHECKING:
    from onewafer.image import WaferImage
    from onewafer.sdk_layout.fabric_plan import FabricPlan


def mark_host_ends(image: WaferImage, plan: FabricPlan) -> WaferImage:
    """Return the image with the host connected at the PEs where streams begin and end."""
    configs, numbers = list(image.color_configs), image.config_of_color.copy()
    for port in stream_ports(plan):
        config = configs[int(numbers[port.y, port.x, port.color])]
        configs.append(replace(config, from_host=port.is_input, to_host=not port.is_input))
        numbers[port.y, port.x, port.color] = len(configs) - 1
    return replace(image, color_configs=tuple(configs), config_of_color=numbers)

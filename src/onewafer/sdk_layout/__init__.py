"""`SdkLayout`: a host script builds the layout of a program, without a layout block.

regions, ports, links      `code_region`, `link`        what the script says
nets                       `nets`                       which colors are one
routes                     `router`, `path_search`      which PEs each lane crosses
values                     `color_allocation`           which color is which number
CSL                        `csl_text`                   the layout block, then `onewafer.csl`
artifacts                  `artifacts`                  the folder that `SdkRuntime` opens
"""

from __future__ import annotations

from onewafer.sdk_layout.artifacts import SdkCompileArtifacts
from onewafer.sdk_layout.code_region import CodeRegion, PortHandle
from onewafer.sdk_layout.color import Color
from onewafer.sdk_layout.layout import FP16TYPE, SdkLayout
from onewafer.sdk_layout.routing import (
    Edge,
    EdgeRouteInfo,
    Route,
    RoutingPosition,
    get_edge_routing,
)

__all__ = [
    "FP16TYPE",
    "CodeRegion",
    "Color",
    "Edge",
    "EdgeRouteInfo",
    "PortHandle",
    "Route",
    "RoutingPosition",
    "SdkCompileArtifacts",
    "SdkLayout",
    "get_edge_routing",
]

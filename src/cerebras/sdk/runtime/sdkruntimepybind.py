"""The SDK's host API under the name that SDK programs import.

See `onewafer.host` (running) and `onewafer.sdk_layout` (building).
"""

from __future__ import annotations

from onewafer.host import (
    MemcpyDataType,
    MemcpyOrder,
    SdkExecutionPlatform,
    SdkRuntime,
    SdkTarget,
    SimfabConfig,
    Task,
    get_platform,
    get_simulator,
    get_system,
)
from onewafer.sdk_layout import (
    FP16TYPE,
    CodeRegion,
    Color,
    Edge,
    EdgeRouteInfo,
    PortHandle,
    Route,
    RoutingPosition,
    SdkCompileArtifacts,
    SdkLayout,
    get_edge_routing,
)

__all__ = [
    "FP16TYPE",
    "CodeRegion",
    "Color",
    "Edge",
    "EdgeRouteInfo",
    "MemcpyDataType",
    "MemcpyOrder",
    "PortHandle",
    "Route",
    "RoutingPosition",
    "SdkCompileArtifacts",
    "SdkExecutionPlatform",
    "SdkLayout",
    "SdkRuntime",
    "SdkTarget",
    "SimfabConfig",
    "Task",
    "get_edge_routing",
    "get_platform",
    "get_simulator",
    "get_system",
]

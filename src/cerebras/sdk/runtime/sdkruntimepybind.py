"""The SDK's host runtime under the name that SDK programs import; see `onewafer.host`."""

from __future__ import annotations

from typing import NoReturn

from onewafer.host import MemcpyDataType, MemcpyOrder, SdkRuntime, Task

__all__ = ["MemcpyDataType", "MemcpyOrder", "SdkRuntime", "Task"]

_NOT_YET = frozenset(
    {
        "Color",
        "Edge",
        "Route",
        "RoutingPosition",
        "SdkLayout",
        "SdkTarget",
        "SimfabConfig",
        "get_edge_routing",
        "get_platform",
    }
)


def __getattr__(name: str) -> NoReturn:
    if name in _NOT_YET:
        # Not AttributeError: the import statement would replace its text.
        raise ImportError(
            f"onewafer does not have {name} yet: programs built with SdkLayout cannot run; "
            f"those compiled by cslc can",
            name=__name__,
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The SDK's view of a finished run under the name that SDK programs import; see `onewafer.host`."""

from __future__ import annotations

from onewafer.host import DebugUtil

debug_util = DebugUtil

__all__ = ["debug_util"]

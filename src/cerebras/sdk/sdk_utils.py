"""Array helpers under the name that SDK programs import; see `onewafer.host`."""

from __future__ import annotations

from onewafer.host import input_array_to_u32, memcpy_view

__all__ = ["input_array_to_u32", "memcpy_view"]

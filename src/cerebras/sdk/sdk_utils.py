"""Array and timing functions under the name that SDK programs import; see `onewafer.host`."""

from __future__ import annotations

from onewafer.host import (
    calculate_cycles,
    float_to_hex,
    input_array_to_u32,
    make_u48,
    memcpy_view,
    sub_ts,
)

__all__ = [
    "calculate_cycles",
    "float_to_hex",
    "input_array_to_u32",
    "make_u48",
    "memcpy_view",
    "sub_ts",
]

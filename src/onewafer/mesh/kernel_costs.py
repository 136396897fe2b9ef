"""What the kernels cost, read from `kernel_costs.json`.

`python tools/kernel_costs.py` compiles the kernels and writes that file from their listing.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.graph import DataType


@cache
def _table() -> dict[str, dict[str, int]]:
    path = resources.files("onewafer.mesh") / "kernel_costs.json"
    return json.loads(path.read_text(encoding="utf-8"))


def kernel_bytes(dtype: DataType) -> int:
    """Return the bytes of code, frames and constants of a program with all kinds of operations."""
    return _table()[dtype]["bytes"]

"""What the kernels cost, read from `kernel_costs.json`.

`python tools/kernel_costs.py` compiles the kernels and writes that file from their listing: how
many instructions of each cost class a kernel executes once, and for every round of each of its
loops. What an instruction costs is for `arch` to say.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import DataType
    from onewafer.mesh.entry import Kind

Counts = dict[str, int]
"""Instructions by lower-case name of `image.CostClass`, taken branches as `branch_taken`;
synchronous DSD operations by lower-case name of `image.DsdOperation` and, in brackets, the product
of sizes that is their length: `fmacs(columns)`."""

Sizes = dict[str, int]
"""Sizes of an operation by name, as `MeshOperation.sizes` gives them."""

KernelCost = dict[str, Counts]
"""Counts of one step of the state machine, from the start of the task to its end, by the product of
sizes that says how often they are executed: `1`, `rows`, `rows*inner`.

Tests for other kinds are not in it. A collective counts up to the issue of its fabric operation.
"""


@dataclass(frozen=True, slots=True)
class KernelCosts:
    """All kernels for one dtype."""

    num_bytes: int
    """Code, frames and constants of a program with all kinds of operations."""
    launch: Counts
    """The exported function that starts the state machine."""
    test: Counts
    """The state machine asks for a kind, and it is another one."""
    kinds: Mapping[str, KernelCost]
    """By lower-case name of `entry.Kind`."""

    def of(self, kind: Kind) -> KernelCost:
        """Return the counts of a kind."""
        return self.kinds[kind.name.lower()]


def product(names: str, sizes: Mapping[str, int]) -> int:
    """Return the product of sizes that are named as in the file.

    >>> product("rows*inner", {"rows": 3, "inner": 5}), product("1", {})
    (15, 1)
    """
    return math.prod(sizes[name] for name in names.split("*") if name != "1")


@cache
def kernel_costs(dtype: DataType) -> KernelCosts:
    """Return the committed counts for a dtype."""
    path = resources.files("onewafer.mesh") / "kernel_costs.json"
    table = json.loads(path.read_text(encoding="utf-8"))[dtype]
    return KernelCosts(**table)

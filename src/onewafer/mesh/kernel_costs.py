"""What the kernels cost, read from `kernel_costs.json`.

`python tools/kernel_costs.py` compiles the kernels and writes that file from their listing: how
many instructions of each cost class a kernel executes per call, per row and per inner step. What an
instruction costs is for `arch` to say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import DataType
    from onewafer.mesh.schedule import Kind

Counts = dict[str, int]
"""Instructions by lower-case name of `image.CostClass`, taken branches as `branch_taken`;
synchronous DSD operations by lower-case name of `image.DsdOperation`."""


@dataclass(frozen=True, slots=True)
class KernelCost:
    """Counts of one step of the state machine, from the start of the task to its end.

    Tests for other kinds are not in it. A collective counts up to the issue of its fabric
    operation. DSD operations in `call` cover the whole block, those in `row` and `inner` one row.
    """

    call: Counts
    """Once."""
    row: Counts
    """For every row of the result."""
    inner: Counts
    """For every row of the result and every row of the weight."""


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
    """By lower-case name of `schedule.Kind`."""

    def of(self, kind: Kind) -> KernelCost:
        """Return the counts of a kind."""
        return self.kinds[kind.name.lower()]


@cache
def kernel_costs(dtype: DataType) -> KernelCosts:
    """Return the committed counts for a dtype."""
    path = resources.files("onewafer.mesh") / "kernel_costs.json"
    table = json.loads(path.read_text(encoding="utf-8"))[dtype]
    kinds = {name: KernelCost(**counts) for name, counts in table["kinds"].items()}
    return KernelCosts(table["num_bytes"], table["launch"], table["test"], kinds)

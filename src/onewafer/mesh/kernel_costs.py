"""The costs of the kernels, read from `kernel_costs.json`.

`python tools/kernel_costs.py` compiles the kernels and writes that file from their listing: how
many instructions of each cost class a kernel executes once, and in every iteration of each of its
loops. The cycles of an instruction are in `arch`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache, reduce
from importlib import resources
from typing import TYPE_CHECKING, TypeAlias

from onewafer.mesh.blocks import RowKind
from onewafer.mesh.kinds import num_questions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from onewafer.graph import DataType
    from onewafer.mesh.kinds import Kind

Counts = dict[str, int]
"""The number of instructions, by lower-case name of `image.CostClass`; taken branches are
`branch_taken`, starts of map loops `map_begin`, synchronous DSD operations texts of
`VectorOperation`."""

Size: TypeAlias = "int | NDArray[np.int64]"
"""A size of an operation, or an array of sizes as `MeshOperation.sizes` returns them."""

KernelCost = dict[str, Counts]
"""Counts of one step of the state machine, from the start of the task to its end. The key is the
product of sizes that says how often the instructions run: `1`, `rows`, `rows*inner`.

The comparisons that find the step's kind are not included. A collective counts up to the issue of
its fabric operation.
"""


@dataclass(frozen=True, slots=True)
class VectorOperation:
    """The properties of a synchronous DSD operation that decide how long it takes.

    >>> VectorOperation.parse("fmuls(columns)(stride 2)(mapped)")
    VectorOperation(name='fmuls', length='columns', stride='2', is_reduction=False, is_mapped=True)
    """

    name: str
    """Lower-case name of `image.DsdOperation`."""
    length: str
    """The number of elements, as a product of sizes."""
    stride: str = "1"
    """The largest stride of its operands, a product of sizes or a number."""
    is_reduction: bool = False
    """True if the result is one scalar."""
    is_mapped: bool = False
    """True if it is part of a map loop, which has set it up before."""

    @classmethod
    def parse(cls, text: str) -> VectorOperation:
        """Return the operation with this text, the inverse of `str`."""
        name, length, *rest = text.removesuffix(")").replace(")(", "(").split("(")
        stride = next((part.removeprefix("stride ") for part in rest if " " in part), "1")
        return cls(name, length, stride, "reduction" in rest, "mapped" in rest)

    def __str__(self) -> str:
        """Return the text of the operation in the file."""
        stride = "" if self.stride == "1" else f"(stride {self.stride})"
        reduction = "(reduction)" if self.is_reduction else ""
        mapped = "(mapped)" if self.is_mapped else ""
        return f"{self.name}({self.length}){stride}{reduction}{mapped}"


@dataclass(frozen=True, slots=True)
class Part:
    """Code or constants that a program has if it has any of these kinds."""

    kinds: tuple[str, ...]
    """Names of kinds; empty: every program has the part."""
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes of registers that a step of one kind needs."""

    own_bytes: int
    """Bytes of the state machine itself."""
    called_bytes: int
    """Bytes of the functions that it calls, which follow its own."""

    def joined(self, other: Frame) -> Frame:
        """Return the smallest frame that is large enough for both."""
        called = max(self.called_bytes, other.called_bytes)
        return Frame(max(self.own_bytes, other.own_bytes), called)


@dataclass(frozen=True, slots=True)
class KernelCosts:
    """The costs of all kernels for one dtype and one kind of rows."""

    parts: tuple[Part, ...]
    """Code and constants."""
    frames: Mapping[str, Frame]
    """The frame of each kind, by its name."""
    question_bytes: int
    """Bytes of code for one comparison of the state machine (`kinds.num_questions`)."""
    launch: Counts
    """Counts of the exported function that starts the state machine."""
    below: Counts
    """Counts of a comparison in the state machine's search for a kind, if the kind is below."""
    above: Counts
    """Counts of the same comparison, if the kind is not below."""
    second_chain: Counts
    """Counts that the middle of an axis adds for the second of two chains."""
    kinds: Mapping[str, KernelCost]
    """The costs of each kind, by its name."""

    def num_bytes(self, kinds: Iterable[Kind]) -> int:
        """Return the bytes of code, frame and constants for these kinds; an upper bound."""
        asked = frozenset(kinds)
        names = {kind.name for kind in asked}
        questions = num_questions(asked) * self.question_bytes
        frame = reduce(Frame.joined, (self.frames[name] for name in names), Frame(0, 0))
        parts = sum(
            part.num_bytes
            for part in self.parts
            if not part.kinds or not names.isdisjoint(part.kinds)
        )
        return questions + frame.own_bytes + frame.called_bytes + parts

    def of(self, kind: Kind) -> KernelCost:
        """Return the costs of a kind."""
        return self.kinds[kind.name]


def product(names: str, sizes: Mapping[str, Size]) -> Size:
    """Return a product of sizes, given their names in the format of the file.

    >>> product("rows*inner", {"rows": 3, "inner": 5}), product("1", {})
    (15, 1)
    """
    return math.prod(int(name) if name.isdigit() else sizes[name] for name in names.split("*"))


def table_name(dtype: DataType, *, rows: RowKind) -> str:
    """Return the name in the file of the table for a dtype and a kind of rows."""
    return str(dtype) if rows is RowKind.INDEPENDENT else f"{dtype} {rows}"


@cache
def kernel_costs(dtype: DataType, *, rows: RowKind = RowKind.INDEPENDENT) -> KernelCosts:
    """Return the costs in the file for a dtype and a kind of rows."""
    path = resources.files("onewafer.mesh") / "kernel_costs.json"
    tables = json.loads(path.read_text(encoding="utf-8"))
    table = tables[table_name(dtype, rows=rows)]
    parts = tuple(Part(tuple(part["kinds"]), part["num_bytes"]) for part in table["parts"])
    frames = {kind: Frame(**frame) for kind, frame in table["frames"].items()}
    others = {name: value for name, value in table.items() if name not in {"parts", "frames"}}
    return KernelCosts(parts, frames, **others)

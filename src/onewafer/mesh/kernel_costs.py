"""The costs of the kernels, read from `kernel_costs.json`.

`python tools/kernel_costs.py` compiles the kernels and writes that file from their listing: how
many instructions of each cost class a kernel executes once, and for every round of each of its
loops. What an instruction costs is for `arch` to say.
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
"""Instructions by lower-case name of `image.CostClass`, taken branches as `branch_taken`,
beginnings of map loops as `map_begin`, synchronous DSD operations as texts of `VectorOperation`."""

Size: TypeAlias = "int | NDArray[np.int64]"
"""A size of an operation, or an array of it as `MeshOperation.sizes` gives them."""

KernelCost = dict[str, Counts]
"""Counts of one step of the state machine, from the start of the task to its end, by the product of
sizes that says how often they are executed: `1`, `rows`, `rows*inner`.

Tests for other kinds are not in it. A collective counts up to the issue of its fabric operation.
"""


@dataclass(frozen=True, slots=True)
class VectorOperation:
    """A synchronous DSD operation, as far as its time depends on it.

    >>> VectorOperation.parse("fmuls(columns)(stride 2)(mapped)")
    VectorOperation(name='fmuls', length='columns', stride='2', is_reduction=False, is_mapped=True)
    """

    name: str
    """Lower-case name of `image.DsdOperation`."""
    length: str
    """Product of sizes."""
    stride: str = "1"
    """The largest one among its operands, a product of sizes or a number."""
    is_reduction: bool = False
    """True if it puts all elements into one scalar."""
    is_mapped: bool = False
    """True if it is part of a map loop, and has been set up before."""

    @classmethod
    def parse(cls, text: str) -> VectorOperation:
        """Undo `str`."""
        name, length, *rest = text.removesuffix(")").replace(")(", "(").split("(")
        stride = next((part.removeprefix("stride ") for part in rest if " " in part), "1")
        return cls(name, length, stride, "reduction" in rest, "mapped" in rest)

    def __str__(self) -> str:
        """Return its name in the file."""
        stride = "" if self.stride == "1" else f"(stride {self.stride})"
        reduction = "(reduction)" if self.is_reduction else ""
        mapped = "(mapped)" if self.is_mapped else ""
        return f"{self.name}({self.length}){stride}{reduction}{mapped}"


@dataclass(frozen=True, slots=True)
class Part:
    """Code or constants that a program has if it has one of some kinds."""

    kinds: tuple[str, ...]
    """Names of kinds of steps; none: every program has it."""
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Frame:
    """Registers that a step of a kind needs, in bytes."""

    own_bytes: int
    """Bytes of the state machine itself."""
    called_bytes: int
    """Bytes of the functions that it calls, placed behind it."""

    def joined(self, other: Frame) -> Frame:
        """Return a frame that is large enough for both."""
        called = max(self.called_bytes, other.called_bytes)
        return Frame(max(self.own_bytes, other.own_bytes), called)


@dataclass(frozen=True, slots=True)
class KernelCosts:
    """All kernels for one dtype."""

    parts: tuple[Part, ...]
    """Code and constants."""
    frames: Mapping[str, Frame]
    """Values by the name of a kind of steps."""
    question_bytes: int
    """Code for a question of the state machine (`kinds.num_questions`)."""
    launch: Counts
    """The exported function that starts the state machine."""
    below: Counts
    """The state machine asks whether a kind is below another one, and it is."""
    above: Counts
    """The state machine asks whether a kind is below another one, and it is not."""
    second_chain: Counts
    """Additional instructions in the middle of an axis, to add the second of two chains."""
    kinds: Mapping[str, KernelCost]
    """Values by the name of a kind of steps."""

    def num_bytes(self, kinds: Iterable[Kind]) -> int:
        """Return the bytes of a program with these kinds; an upper bound."""
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
        """Return the counts of a kind."""
        return self.kinds[kind.name]


def product(names: str, sizes: Mapping[str, Size]) -> Size:
    """Return the product of sizes that are named as in the file.

    >>> product("rows*inner", {"rows": 3, "inner": 5}), product("1", {})
    (15, 1)
    """
    return math.prod(int(name) if name.isdigit() else sizes[name] for name in names.split("*"))


def table_name(dtype: DataType, *, rows: RowKind) -> str:
    """Return the name of a table in the file."""
    return str(dtype) if rows is RowKind.INDEPENDENT else f"{dtype} {rows}"


@cache
def kernel_costs(dtype: DataType, *, rows: RowKind = RowKind.INDEPENDENT) -> KernelCosts:
    """Return the committed counts for a dtype, and for programs whose rows are of one kind."""
    path = resources.files("onewafer.mesh") / "kernel_costs.json"
    tables = json.loads(path.read_text(encoding="utf-8"))
    table = tables[table_name(dtype, rows=rows)]
    parts = tuple(Part(tuple(part["kinds"]), part["num_bytes"]) for part in table["parts"])
    frames = {kind: Frame(**frame) for kind, frame in table["frames"].items()}
    others = {name: value for name, value in table.items() if name not in {"parts", "frames"}}
    return KernelCosts(parts, frames, **others)

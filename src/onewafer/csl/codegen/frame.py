"""The register frame of a function: where callers put parameters, and slots on a stack above."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.csl.codegen.object_code import Register
from onewafer.image import ScalarType

if TYPE_CHECKING:
    from collections.abc import Generator

    from onewafer.csl import ir


@dataclass(slots=True)
class Frame:
    """Slots `[0, top)` are in use; `num_slots` is the maximum, `peak` that since `watch`."""

    function: ir.Function
    top: int = 0
    num_slots: int = 0
    peak: int = 0

    def allocate(self, width: int = 1) -> Register:
        """Return `width` fresh slots; they live until the enclosing `scope` ends."""
        register = Register(self.function, self.top)
        self.top += width
        self.num_slots = max(self.num_slots, self.top)
        self.peak = max(self.peak, self.top)
        return register

    @contextmanager
    def scope(self) -> Generator[None]:
        """Free, at the end, the slots that were allocated inside."""
        top = self.top
        try:
            yield
        finally:
            self.top = top

    @contextmanager
    def watch(self) -> Generator[None]:
        """Measure `peak` of the code inside this context only."""
        peak, self.peak = self.peak, self.top
        try:
            yield
        finally:
            self.peak = max(peak, self.peak)


def num_registers(type_: ir.ValueType) -> int:
    """Return how many registers a value of a type takes."""
    return 1 if isinstance(type_, ScalarType) else 2


@dataclass(slots=True)
class FrameLayout:
    """The registers of a function's result and parameters."""

    result: Register
    parameters: tuple[Register, ...]
    num_slots: int


def lay_out_frame(function: ir.Function) -> FrameLayout:
    """Put the result first, then the parameters."""
    top = 0 if function.result is None else num_registers(function.result)
    parameters: list[Register] = []
    for parameter in function.parameters:
        parameters.append(Register(function, top))
        top += num_registers(parameter.type)
    return FrameLayout(Register(function, 0), tuple(parameters), top)

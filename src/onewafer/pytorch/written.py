"""Buffers that a call writes besides its result, as batch norm writes running statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.lowering import External, Origin, Running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Written:
    """A buffer that a call writes, and its new value."""

    buffer: External
    value: External | Running
    """A result that the host computes, or that follows from an output of the graph."""

    @classmethod
    def of(cls, buffer: External, value: object) -> Written:
        """Return the write of a value; raise UnsupportedOperationError if the wafer cannot."""
        is_buffer = buffer.origin is Origin.BUFFER
        match value:
            case External() if is_buffer:
                return cls(buffer, value)
            case Running() if is_buffer and value.buffer is buffer:
                return cls(buffer, value)
            case _:
                pass
        raise UnsupportedOperationError(f"the module writes its argument {buffer.name!r}")

    @property
    def output(self) -> str | None:
        """The output of the graph that it needs; None: it needs none."""
        return self.value.found.name if isinstance(self.value, Running) else None

    def bind(self, leaves: Sequence[object], known: dict[int, torch.Tensor]) -> BoundWrite:
        """Return the write of the call with these leaves."""
        buffer = self.buffer.find(leaves, known)
        if isinstance(self.value, Running):
            return BoundWrite(buffer, self.value)
        return BoundWrite(buffer, self.value.find(leaves, known))


@dataclass(frozen=True, slots=True)
class BoundWrite:
    """The write of a buffer in one call."""

    buffer: torch.Tensor
    value: torch.Tensor | Running

    def take_place(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Write it, once the outputs of the graph are there."""
        self.buffer.data.copy_(self._made_of(outputs))  # as PyTorch does: it is no edit

    def _made_of(self, outputs: Mapping[str, NDArray[Any]]) -> torch.Tensor:
        if isinstance(self.value, torch.Tensor):
            return self.value
        running = self.value
        found = torch.tensor(outputs[running.found.name]).reshape(self.buffer.shape)
        own = running.momentum * (running.correction * found)
        return own + (1 - running.momentum) * self.buffer

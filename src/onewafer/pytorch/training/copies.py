"""Copies of tensors, which show edits through `.data` or NumPy: nothing else does."""

from __future__ import annotations

from operator import eq, is_, methodcaller
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SMALL = 1 << 16
"""The most elements whose bytes are compared in less time than a call of PyTorch takes."""
_ADDRESS = methodcaller("data_ptr")


class Copy:
    """A tensor, and a copy of its elements."""

    __slots__ = ("_elements", "address", "noted", "now", "tensor")

    def __init__(self, tensor: torch.Tensor) -> None:
        """Take the tensor; nothing is copied yet."""
        self.tensor = tensor
        self.address = -1
        """The address of its elements when they were copied."""
        self.now: memoryview | None = None
        """The memory of the tensor, where bytes are compared; None: PyTorch compares."""
        self.noted: Any = bytearray()
        """The copied bytes in that case."""
        self._elements: torch.Tensor | None = None
        """The copied tensor in the other case."""

    def take(self) -> None:
        """Copy the present elements."""
        tensor = self.tensor
        if tensor.data_ptr() != self.address:
            self.address, self._elements = tensor.data_ptr(), None
            self.now = _memory_of(tensor)
            self.noted = bytearray(b"" if self.now is None else self.now)
        elif self.now is not None:
            memoryview(self.noted)[:] = self.now
        if self.now is not None:
            return
        if self._elements is None:
            self._elements = tensor.detach().clone()
        else:
            self._elements.copy_(tensor.detach())

    def is_same(self) -> bool:
        """Tell whether the tensor still has the copied elements."""
        if self.tensor.data_ptr() != self.address:
            return False
        if self.now is not None:
            return self.noted == self.now
        return self._elements is not None and torch.equal(self.tensor, self._elements)

    def elements(self) -> torch.Tensor:
        """Return the copied elements."""
        if self._elements is not None:
            return self._elements
        noted = torch.frombuffer(bytearray(self.noted), dtype=self.tensor.dtype)
        return noted.reshape(self.tensor.shape)


class Copies:
    """Tensors and copies of their elements, compared without a loop in Python."""

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        """Take the tensors; nothing is copied yet."""
        self._by_id = {id(tensor): Copy(tensor) for tensor in tensors}
        self._large: list[Copy] = []
        self._small: list[torch.Tensor] = []
        """The tensors of which bytes are compared."""
        self._addresses: list[int] = []
        self._noted: list[object] = []
        self._now: list[memoryview] = []

    def take(self) -> None:
        """Copy the present elements."""
        for copy in self._by_id.values():
            copy.take()
        self._sort()

    def take_some(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copy the elements of some of the tensors; unknown tensors are passed over."""
        for tensor in tensors:
            copy = self._by_id.get(id(tensor))
            if copy is not None:
                before = copy.address
                copy.take()
                if copy.address != before:
                    self._sort()

    def _sort(self) -> None:
        copies = [*self._by_id.values()]
        self._large = [copy for copy in copies if copy.now is None]
        small = [copy for copy in copies if copy.now is not None]
        self._small = [copy.tensor for copy in small]
        self._addresses = [copy.address for copy in small]
        self._noted = [copy.noted for copy in small]
        self._now = [copy.now for copy in small if copy.now is not None]

    def are_same(self) -> bool:
        """Tell whether all tensors still have the copied elements."""
        if [*map(_ADDRESS, self._small)] != self._addresses:
            return False
        return all(map(eq, self._noted, self._now)) and all(copy.is_same() for copy in self._large)

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the copy of a tensor."""
        return self._by_id[id(tensor)].elements()


class Zeros:
    """A cache of the tensors that are 0, since reading all elements takes long."""

    def __init__(self) -> None:
        """Know no tensor yet."""
        self._known: Sequence[torch.Tensor] = ()
        self._large: Sequence[torch.Tensor] = ()
        """The large ones, which are not copied."""
        self._copies = Copies(())

    def among(self, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Return the tensors of which all elements are 0."""
        are_known = len(tensors) == len(self._known) and all(map(is_, tensors, self._known))
        if are_known and self._copies.are_same() and not any(map(_has_others, self._large)):
            return tensors
        zeros = [tensor for tensor in tensors if not _has_others(tensor)]
        self._known, self._large = zeros, [each for each in zeros if each.numel() > SMALL]
        self._copies = Copies(each for each in zeros if each.numel() <= SMALL)
        self._copies.take()
        return zeros


def _has_others(tensor: torch.Tensor) -> bool:
    """Tell whether an element is not 0, or may be; `torch.any` takes 20 ns for each."""
    if tensor.layout is not torch.strided:
        return True
    return bool(np.count_nonzero(tensor.numpy(force=True)))


def _memory_of(tensor: torch.Tensor) -> memoryview | None:
    """Return the memory of a tensor; None: it is large, or has gaps."""
    if not 0 < tensor.numel() <= SMALL or not tensor.is_contiguous():
        return None
    return memoryview(cast("Any", tensor.numpy(force=True))).cast("B")

"""Tensors that stay on a wafer, and which of them have changed since they were written.

A tensor has changed if its version has; its owner counts that up with every change. Where the owner
gives no version, all bits are compared: a write through `.data` or NumPy leaves no other trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onewafer.execution.arrays import is_same

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from onewafer.execution.arrays import Arrays


class ResidentTensors:
    """The tensors of one program, as they were written last."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        """Tensors that were given without a version."""
        self._versions: dict[str, int] = {}
        self._names: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """The tensors that have been written, those that are forgotten included."""
        return frozenset(self._names)

    def changed(self, tensors: Arrays, versions: Mapping[str, int]) -> Arrays:
        """Return the tensors that are new or have changed."""
        return {
            name: array
            for name, array in tensors.items()
            if (
                self._versions.get(name) != versions[name]
                if name in versions
                else not is_same(array, self._arrays.get(name))
            )
        }

    def forget(self, names: Iterable[str]) -> None:
        """Forget the elements of tensors: the wafer may have them or others."""
        for name in names:
            self._arrays.pop(name, None)
            self._versions.pop(name, None)

    def note(self, written: Arrays, versions: Mapping[str, int]) -> None:
        """Remember what was written."""
        self.forget(written)
        self._names |= written.keys()
        for name, array in written.items():
            if name in versions:
                self._versions[name] = versions[name]
            else:
                self._arrays[name] = array.copy()

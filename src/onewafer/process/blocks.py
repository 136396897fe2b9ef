"""`with` blocks that patch a library: nested, in several threads, closed in any order.

PyTorch has one `nn.Module.__call__` and one `torch.compile` for the whole process, so a patch is
for the whole process, too. It stays until the last block is closed.
"""

from __future__ import annotations

import functools
import threading
from contextlib import contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Function = Callable[..., Any]

_Value = TypeVar("_Value")


class OpenBlocks(Generic[_Value]):
    """A stack of values, one for each open block.

    A thread sees the value of the last block that it opened. A thread without a block of its own,
    such as a worker that a script starts, sees the last of all threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: tuple[tuple[int, _Value], ...] = ()
        """Thread and value of each open block; replaced at a change, so reading needs no lock."""

    @property
    def current(self) -> _Value | None:
        """The value that this thread sees; None: no block is open."""
        blocks = self._open
        if len(blocks) == 1:  # for speed
            return blocks[0][1]
        thread = threading.get_ident()
        own = (value for opener, value in reversed(blocks) if opener == thread)
        return next(own, blocks[-1][1] if blocks else None)

    @contextmanager
    def open(self, value: _Value) -> Generator[None]:
        """Make a value the current one inside the block."""
        block = threading.get_ident(), value
        with self._lock:
            self._open = (*self._open, block)
        try:
            yield
        finally:
            with self._lock:
                self._open = tuple(other for other in self._open if other is not block)


def with_globals_of(original: Function, ours: Function) -> Function:
    """Return a function of ours with the globals, the name and the attributes of another one.

    TorchScript reads the source of the original, and looks up its names in our globals.
    """
    assert isinstance(ours, FunctionType), "it is one of ours"  # invariant
    found = FunctionType(
        ours.__code__, original.__globals__, original.__name__, None, ours.__closure__
    )
    return functools.update_wrapper(found, original)


class Replacement:
    """A patch of an attribute of a library, in place while at least one block needs it."""

    def __init__(self, owner: object, name: str, make: Callable[[Function], Function]) -> None:
        """Patch `owner.name`; `make` gets the original and returns its replacement."""
        self._owner, self._name, self._make = owner, name, make
        self._lock = threading.Lock()
        self._num_blocks = 0
        self._original = self._ours = vars(owner)[name]

    @property
    def is_needed(self) -> bool:
        """True if a block that needs the patch is open."""
        return self._num_blocks > 0

    @contextmanager
    def in_place(self) -> Generator[Function]:
        """Keep the patch in place inside the block; yield the original.

        If other code has patched the attribute since, its patch stays and may go on calling ours:
        while no block is open, ours must act as the original does.
        """
        with self._lock:
            if not self._num_blocks:
                self._original = vars(self._owner)[self._name]
                self._ours = self._make(self._original)
                setattr(self._owner, self._name, self._ours)
            self._num_blocks += 1
            original = self._original
        try:
            yield original
        finally:
            with self._lock:
                self._num_blocks -= 1
                if not self._num_blocks and vars(self._owner)[self._name] is self._ours:
                    setattr(self._owner, self._name, self._original)

"""The issued operations of a script, and streams to the host that are incomplete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from onewafer.host.device.streams import Reception
    from onewafer.host.program.host_buffer import BufferFormat


@dataclass(frozen=True, slots=True)
class Arriving:
    """A stream to the host that was issued and not yet stored in its array."""

    reception: Reception
    layout: BufferFormat
    dest: NDArray[Any]
    file: Path | None = None
    """The file to write the array to, if the array is not the caller's."""

    def store(self) -> None:
        """Store the wavelets in the array, and write its file, if any.

        Raises:
            HostError: the file cannot be written.
        """
        self.layout.store(self.reception.words, self.dest)
        if self.file is not None:
            write_file(self.file, self.dest.astype("<u4").tobytes())


@dataclass(frozen=True, slots=True)
class Task:
    """The handle of an issued operation."""

    number: int
    """Position in issue order."""


class Tasks:
    """The operations of one runtime."""

    def __init__(self) -> None:
        self.arriving: dict[int, Arriving] = {}
        """Task number → its incomplete stream."""
        self._num_tasks = 0

    def issued(self) -> Task:
        """Return a handle for the operation that has just been executed."""
        self.store_arrived()
        self._num_tasks += 1
        return Task(self._num_tasks - 1)

    def begun(self, arriving: Arriving) -> Task:
        """Register a stream that has just been issued; return its handle."""
        self.arriving[self._num_tasks] = arriving
        return self.issued()

    def store_arrived(self) -> None:
        """Store all streams that are complete."""
        for number, arriving in [*self.arriving.items()]:
            if arriving.reception.is_complete:
                arriving.store()
                del self.arriving[number]

    def number_of(self, task: object) -> int:
        """Return the number of a script's task argument."""
        if not isinstance(task, Task):
            raise HostError(
                f"{task!r} is not a task: pass what launch, a copy, send or receive returned"
            )
        if not 0 <= task.number < self._num_tasks:
            raise HostError(f"task {task.number} was not issued by this runtime")
        return task.number


def write_file(file: Path, content: bytes) -> None:
    """Write a file; raise a HostError if that fails."""
    try:
        file.write_bytes(content)
    except OSError as error:
        raise HostError(f"{file}: {error.strerror or error}") from None

"""The ports of an `SdkLayout`'s streams to the host: `streams.json` in the program's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from onewafer.errors import HostError
from onewafer.files.field_types import FieldTypes
from onewafer.files.foreign_bytes import DAMAGES
from onewafer.geometry import Rectangle
from onewafer.host.program.exports import suggest
from onewafer.host.program.host_buffer import BufferFormat, MemcpyDataType, MemcpyOrder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FILE_NAME = "streams.json"


@dataclass(frozen=True, slots=True)
class StreamPort:
    """The wafer's end of a stream: a color at a PE, in coordinates of the program."""

    name: str
    x: int
    y: int
    color: int
    is_input: bool
    """True if the host sends."""
    size: int | None = None
    """Wavelets of one use of the stream; None: the program does not state them."""

    @property
    def rectangle(self) -> Rectangle:
        """The rectangle of this one PE."""
        return Rectangle(self.x, self.y, 1, 1)

    def layout(self, num_wavelets: int) -> BufferFormat:
        """Return the format of a host array of `num_wavelets` words."""
        return BufferFormat(
            self.rectangle, num_wavelets, MemcpyDataType.MEMCPY_32BIT, MemcpyOrder.ROW_MAJOR
        )


_NO_STREAMS = (
    "the program has no streams, which SdkLayout makes; a program with a layout block streams to "
    "colors: memcpy_h2d(color, …, streaming=True)"
)


@dataclass(frozen=True, slots=True)
class StreamTable:
    """The streams of a program, by name and by number."""

    ports: tuple[StreamPort, ...]

    def number(self, name: str) -> int:
        """Return the number of a stream.

        Raises:
            HostError: there is none of this name.
        """
        names = tuple(port.name for port in self.ports)
        if not names:
            raise HostError(_NO_STREAMS)
        if name not in names:
            raise HostError(f"the program has no stream {name!r}; {suggest(name, names)}")
        return names.index(name)

    def find(self, port: str | int, *, is_input: bool) -> StreamPort:
        """Return a stream by its name or number.

        Raises:
            HostError: there is none, or it has the other direction.
        """
        if isinstance(port, str):
            port = self.number(port)
        if not self.ports:
            raise HostError(_NO_STREAMS)
        if not 0 <= port < len(self.ports):
            raise HostError(f"the program has no stream {port}: it has {len(self.ports)}")
        found = self.ports[port]
        if found.is_input is not is_input:
            call, way = ("send", "sends to") if found.is_input else ("receive", "receives from")
            raise HostError(f"the host {way} stream {found.name!r}: use {call}")
        return found

    def describe(self, offset_x: int, offset_y: int) -> list[str]:
        """Return a line for each stream; the offsets are the program's position on the fabric."""
        return [
            f"{number} {port.name}: {'to' if port.is_input else 'from'} the program, color "
            f"{port.color}, at PE ({port.x + offset_x}, {port.y + offset_y})"
            for number, port in enumerate(self.ports)
        ]

    def describe_sent(self, num_sent: Mapping[str, int]) -> str:
        """Return the number of wavelets sent to each stream, a line each, for messages."""
        lines: list[str] = []
        for port in self.ports:
            if port.is_input:
                takes = "" if port.size is None else f"; its port takes {port.size} in one use"
                number = num_sent.get(port.name, 0)
                lines.append(f"  the host has sent {number} to stream {port.name!r}{takes}")
        return "\n".join(lines)


def first_elements(array: NDArray[Any], number: int) -> NDArray[Any]:
    """Return a view of the first elements of an array.

    Raises:
        HostError: the array has more elements and is not contiguous.
    """
    if not 0 < number < np.size(array):
        return array
    if not array.flags.c_contiguous:
        raise HostError(
            f"{number} wavelets of an array of {array.size} that is not contiguous: pass an array "
            f"of {number}"
        )
    return array.reshape(-1)[:number]


def save_stream_ports(ports: Sequence[StreamPort], folder: Path) -> None:
    """Write `streams.json` into a folder.

    Raises:
        OSError: the folder cannot be written.
    """
    text = json.dumps([asdict(port) for port in ports], indent=2)
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def load_stream_ports(folder: Path) -> StreamTable:
    """Return the streams of a program's folder; a folder written by `cslc` has none."""
    path = folder / FILE_NAME
    if not path.is_file():
        return StreamTable(())
    try:
        ports = tuple(_read_port(fields) for fields in json.loads(path.read_text(encoding="utf-8")))
    except DAMAGES as error:
        raise HostError(f"{path} is damaged; build the program again") from error
    return StreamTable(ports)


def _read_port(fields: dict[str, object]) -> StreamPort:
    _FIELD_TYPES.check(StreamPort, fields)
    return StreamPort(**cast("dict[str, Any]", fields))


_FIELD_TYPES = FieldTypes((StreamPort,))

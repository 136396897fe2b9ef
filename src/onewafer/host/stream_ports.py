"""Where streams of a compiled layout meet the host: `streams.json` in the program's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE_NAME = "streams.json"


@dataclass(frozen=True, slots=True)
class StreamPort:
    """One end of a stream: a color at a PE, program-relative."""

    name: str
    x: int
    y: int
    color: int
    is_input: bool
    """Whether the host sends."""


def save_stream_ports(ports: Sequence[StreamPort], folder: Path) -> None:
    """Write `streams.json` into a folder.

    Raises:
        OSError: the folder cannot be written.
    """
    text = json.dumps([asdict(port) for port in ports], indent=2)
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def load_stream_ports(folder: Path) -> tuple[StreamPort, ...]:
    """Return the streams of a folder; none if `cslc` wrote it."""
    path = folder / FILE_NAME
    if not path.is_file():
        return ()
    return tuple(StreamPort(**fields) for fields in json.loads(path.read_text(encoding="utf-8")))

"""Recordings on disk: a Parquet file with a row for each PE, which pandas and Polars read.

    pandas.read_parquet("run.parquet")          polars.read_parquet("run.parquet")

In: a header, columns, spans, an image, source texts. Out: one file. The rest is in the file's
metadata, as text:

    onewafer          JSON: format, version, onewafer (the version that wrote it), header
    onewafer.image    the two files of a wafer image, deflated, base64, with a blank between them
    onewafer.sources  JSON, path → text; deflated, base64
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from onewafer.errors import ConfigurationError, ImageError, RecordingError
from onewafer.files.foreign_bytes import DAMAGES, inflate
from onewafer.files.whole_files import check_file, whole_file
from onewafer.image import decode_image, encode_image
from onewafer.recording.list_columns import (
    MOVE_COLUMNS,
    SPAN_COLUMNS,
    Lists,
    lists_in,
    lists_of,
)
from onewafer.recording.run import WINDOW_COUNTERS, WINDOW_STEP, RunHeader, column_of_window
from onewafer.recording.spans import Moves, Spans
from onewafer.settings import available_memory
from onewafer.terminal import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from onewafer.image import WaferImage

FORMAT: Final = "onewafer recording"
VERSION: Final = 2
_HEADER, _IMAGE, _SOURCES = b"onewafer", b"onewafer.image", b"onewafer.sources"
_MAGIC: Final = b"PAR1"
_LEVEL: Final = 3
"""The level of deflating: routes of a whole wafer are 42 MB of few different numbers."""
_MOST_IMAGE_BYTES: Final = 1 << 32
_MOST_SOURCE_BYTES: Final = 1 << 28


def require_arrow() -> None:
    """Raise ConfigurationError where PyArrow is not installed."""
    if find_spec("pyarrow") is None:
        raise ConfigurationError(
            "a recording is a Parquet file, which needs PyArrow; it is not installed: "
            "pip install 'onewafer[view]'"
        )


def load_arrow() -> None:
    """Load PyArrow now, which takes half a second, and not when the first file is written.

    It loads pandas, if that is installed, when it first takes an array.
    """
    _parquet()
    _arrow().array(np.zeros(1))


def _arrow() -> Any:  # noqa: ANN401  # PyArrow has no types
    require_arrow()
    return import_module("pyarrow")


def _parquet() -> Any:  # noqa: ANN401  # likewise
    require_arrow()
    return import_module("pyarrow.parquet")


def write_recording(
    path: Path,
    header: RunHeader,
    columns: Mapping[str, NDArray[Any]],
    *,
    image: WaferImage,
    sources: Mapping[str, str],
    traced: Sequence[Spans | Moves] = (),
) -> None:
    """Write a recording, whole or not at all; `columns` have a number for each PE, in any shape.

    `traced` are the spans and moves of a run that was traced.

    Raises:
        ConfigurationError: PyArrow is not installed.
        OSError: the file cannot be written.
    """
    from onewafer import __version__  # noqa: PLC0415  # the package imports this module

    pa = _arrow()
    place = np.indices((header.height, header.width), dtype=np.int32).reshape(2, -1)
    encoded = encode_image(image)
    about = {
        "format": FORMAT,
        "version": VERSION,
        "onewafer": __version__,
        "header": header.to_record(),
    }
    metadata = {
        _HEADER: json.dumps(about).encode(),
        _IMAGE: b" ".join(map(_deflated, (encoded.structure, encoded.arrays))),
        _SOURCES: _deflated(json.dumps(dict(sources)).encode()),
    }
    arrays = {"x": place[1], "y": place[0]} | {n: c.reshape(-1) for n, c in columns.items()}
    table = {name: pa.array(column) for name, column in arrays.items()}
    for lists in traced:
        table |= lists_of(lists, pa)
    table = pa.table(table)
    with (
        whole_file(path) as target,
        _parquet().ParquetWriter(
            target,
            table.schema,
            compression="zstd",
            write_page_checksum=True,
            store_schema=False,  # the columns define it
        ) as writer,
    ):
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)


class RecordingFile:
    """A recording on disk; columns, image and sources are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            ConfigurationError: PyArrow is not installed.
            RecordingError: there is no such file, it is cut or damaged, or it is no recording, or
                one of another version.
        """
        self.path = path
        metadata = self._open()
        self.header = self._read_header(metadata)
        self._metadata = metadata

    def _open(self) -> Mapping[bytes, bytes]:
        try:
            check_file(self.path)
            with self.path.open("rb") as file:
                begins = file.read(len(_MAGIC))
                file.seek(-min(len(_MAGIC), self.path.stat().st_size), 2)
                ends = file.read()
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror or error}") from None
        if begins != _MAGIC:
            raise RecordingError(f"{self.path}: this is no recording of a run; {_HOW}")
        if ends != _MAGIC:
            raise RecordingError(f"{self.path}: the file is cut: its end is missing; {_AGAIN}")
        try:
            self._file = _parquet().ParquetFile(self.path, page_checksum_verification=True)
            names = self._file.schema_arrow.names
            metadata = self._file.metadata.metadata
        except (OSError, _arrow().ArrowException, *DAMAGES) as error:
            raise self._damaged(error) from error
        self.is_traced = {*SPAN_COLUMNS, *MOVE_COLUMNS} <= set(names)
        """True if there are spans and moves."""
        lists = (*SPAN_COLUMNS, *MOVE_COLUMNS)
        self.columns: tuple[str, ...] = tuple(n for n in names if n not in lists)
        """The columns with a number a PE."""
        return cast("Mapping[bytes, bytes]", metadata or {})

    def _read_header(self, metadata: Mapping[bytes, bytes]) -> RunHeader:
        try:
            about = json.loads(metadata.get(_HEADER, b"{}"))
            is_ours = about.get("format") == FORMAT
            version = about.get("version")
        except DAMAGES as error:
            raise self._damaged(error) from error
        if not is_ours:
            raise RecordingError(f"{self.path}: this Parquet file is no recording of a run; {_HOW}")
        if version != VERSION:
            raise RecordingError(
                f"{self.path}: this recording has format version {quoted(str(version))}, written "
                f"by onewafer {quoted(str(about.get('onewafer')))}; this onewafer reads version "
                f"{VERSION}: record the run again, or view it with the onewafer that wrote it"
            )
        try:
            header = RunHeader.from_record(about["header"])
        except DAMAGES as error:
            raise self._damaged(error) from error
        missing = sorted(_needed(header).difference(self.columns))
        if missing:
            raise self._damaged(ValueError(f"no column {missing[0]}"))
        num_rows = int(self._file.metadata.num_rows)
        if num_rows != header.num_pes:
            raise self._damaged(ValueError(f"{num_rows:,} rows for {header.num_pes:,} PEs"))
        return header

    def column(self, name: str) -> NDArray[Any]:
        """Return a column, `[y, x]`.

        Raises:
            KeyError: there is no such column.
            RecordingError: it is damaged.
        """
        if name not in self.columns:
            raise KeyError(name)
        try:
            values = self._file.read(columns=[name]).column(0).to_numpy()
            found = np.asarray(values)
            if found.dtype.kind not in "iuf":
                raise ValueError(f"column {name} holds {found.dtype}")
            if not np.isfinite(found).all():
                raise ValueError(f"column {name} holds what is no number")
            return found.reshape(self.header.height, self.header.width)
        except (OSError, _arrow().ArrowException, *DAMAGES) as error:
            raise self._damaged(error) from error

    @cached_property
    def spans(self) -> Spans | None:
        """Tasks, operations and waits by PE; None: the run was not traced.

        Raises:
            RecordingError: they are damaged.
        """
        return self._traced(Spans)

    @cached_property
    def moves(self) -> Moves | None:
        """Wavelets by PE; None: the run was not traced.

        Raises:
            RecordingError: they are damaged.
        """
        return self._traced(Moves)

    def _traced(self, kind: type[Lists]) -> Lists | None:
        if not self.is_traced:
            return None
        try:
            return lists_in(kind, self._lists, self.header.num_pes)
        except (OSError, AttributeError, _arrow().ArrowException, *DAMAGES) as error:
            raise self._damaged(error) from error

    def _lists(self, name: str) -> Any:  # noqa: ANN401  # PyArrow has no types
        return self._file.read(columns=[name]).column(0).combine_chunks()

    def row(self, x: int, y: int) -> dict[str, int | float]:
        """Return the value of every column at a PE."""
        return {name: self._cached(name)[y, x].item() for name in self.columns}

    def _cached(self, name: str) -> NDArray[Any]:
        if name not in self._columns:
            self._columns[name] = self.column(name)
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        return {}

    @cached_property
    def image(self) -> WaferImage:
        """The program.

        Raises:
            RecordingError: it is damaged, or of another version.
        """
        try:
            structure, arrays = (
                _inflated(text, most_bytes=_most(_MOST_IMAGE_BYTES))
                for text in self._metadata[_IMAGE].split(b" ")
            )
            image = decode_image(structure, arrays, self.path)
        except ImageError as error:
            raise RecordingError(f"{error}; {_AGAIN}") from error
        except DAMAGES as error:
            raise self._damaged(error) from error
        if (image.width, image.height) != (self.header.width, self.header.height):
            raise self._damaged(ValueError(f"an image of {image.width}×{image.height} PEs"))
        return image

    @cached_property
    def sources(self) -> Mapping[str, str]:
        """The texts of the program's files, by path.

        Raises:
            RecordingError: they are damaged.
        """
        try:
            payload = _inflated(
                self._metadata.get(_SOURCES, _deflated(b"{}")), most_bytes=_most(_MOST_SOURCE_BYTES)
            )
            return {str(path): str(text) for path, text in json.loads(payload).items()}
        except DAMAGES as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> RecordingError:
        reason = quoted(str(error).partition("\n")[0] or type(error).__name__)
        return RecordingError(f"{self.path}: the recording is damaged ({reason}); {_AGAIN}")


_HOW: Final = "`onewafer run --record FILE` and `cs_python --record FILE` write one"
_AGAIN: Final = "record the run again"


def _needed(header: RunHeader) -> set[str]:
    """Return the columns that a recording with this header must have."""
    counters = (*WINDOW_COUNTERS, WINDOW_STEP) if header.operations else WINDOW_COUNTERS
    windows = range(len(header.windows))
    sampled = {column_of_window(number, name) for number in windows for name in counters}
    return {"x", "y", "program"} | sampled


def _most(limit: int) -> int:
    """Return a limit on inflated bytes: `limit`, or less if memory is short."""
    available = available_memory()
    return limit if available is None else min(limit, available)


def _deflated(payload: bytes) -> bytes:
    return b64encode(zlib.compress(payload, _LEVEL))


def _inflated(text: bytes, *, most_bytes: int) -> bytes:
    return inflate(b64decode(text, validate=True), most_bytes=most_bytes)

"""Wafer images on disk: `image.json` for the structure, `arrays.npz` for the arrays.

In: an image. Out: two files whose bytes depend on the image alone. The JSON holds values as

    value := null | bool | int | str | [value, …]            (a list is a tuple)
           | {"type": class name, field: value, …}            (a dataclass)
           | {"enum": "Class.NAME"} | {"array": key in arrays.npz} | {"map": {str: str, …}}

under a header that says the format, its version and a checksum of all the rest.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np

from onewafer.errors import ImageError, InternalError
from onewafer.files.field_types import FieldTypes
from onewafer.files.foreign_bytes import DAMAGES, parse_array, read_member
from onewafer.files.whole_files import check_file, whole_file
from onewafer.image.program import (
    DsdConfig,
    DsdDescriptor,
    DsdKind,
    FifoAction,
    FifoBuffer,
    Patch,
    PatchTarget,
    QueueBinding,
    Rotation,
    Section,
    SectionKind,
    SourceLocation,
    Symbol,
    SymbolKind,
    Task,
    TaskKind,
    TileProgram,
)
from onewafer.image.route import ColorConfig, CounterFilter, PopMode, RangeFilter, SwitchPosition
from onewafer.image.scalar import ScalarType
from onewafer.image.wafer_image import Export, WaferImage
from onewafer.terminal import cut, quoted

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = "onewafer image"
VERSION = 14
STRUCTURE_FILE = "image.json"
ARRAYS_FILE = "arrays.npz"

_CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        ColorConfig,
        CounterFilter,
        DsdConfig,
        DsdDescriptor,
        Export,
        FifoBuffer,
        Patch,
        QueueBinding,
        RangeFilter,
        Rotation,
        Section,
        SourceLocation,
        SwitchPosition,
        Symbol,
        Task,
        TileProgram,
        WaferImage,
    )
}
_ENUMS: dict[str, type[Enum]] = {
    cls.__name__: cls
    for cls in (
        DsdKind,
        FifoAction,
        PatchTarget,
        PopMode,
        ScalarType,
        SectionKind,
        SymbolKind,
        TaskKind,
    )
}
_FIELD_TYPES = FieldTypes((*_CLASSES.values(), *_ENUMS.values()))


# --- saving --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """An image as the contents of its two files."""

    structure: bytes
    arrays: bytes
    checksum: str
    """A checksum of the image: equal images have equal ones."""


def save(image: WaferImage, folder: Path) -> None:
    """Write `image` into `folder`, which is made if it is missing; older files are replaced."""
    encoded = encode_image(image)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ((ARRAYS_FILE, encoded.arrays), (STRUCTURE_FILE, encoded.structure)):
        with whole_file(folder / name) as target:
            target.write_bytes(content)


def encode_image(image: WaferImage) -> ImageBytes:
    """Return the files of an image."""
    writer = _Writer({}, {})
    body = json.dumps(writer.encode(image), separators=(",", ":"), sort_keys=True)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **writer.arrays)
    arrays = buffer.getvalue()
    checksum = _checksum(body, arrays)
    header = json.dumps(
        {"format": FORMAT, "version": VERSION, "checksum": checksum}, sort_keys=True
    )
    return ImageBytes(f"{header}\n{body}\n".encode(), arrays, checksum)


def _checksum(body: str, arrays: bytes) -> str:
    return hashlib.sha256(body.encode() + b"\n" + arrays).hexdigest()


@dataclass(frozen=True, slots=True)
class _Writer:
    """Turns values into JSON and collects the arrays on the way."""

    arrays: dict[str, NDArray[Any]]
    places: dict[SourceLocation, object]

    def encode(self, value: object) -> object:
        match value:
            case None | bool() | str():
                return value
            case Enum():
                return {"enum": f"{type(value).__name__}.{value.name}"}
            case int() | np.integer():
                return int(value)
            case tuple():
                return [self.encode(item) for item in cast("tuple[object, ...]", value)]
            case dict():
                return {"map": cast("dict[str, str]", value)}
            case np.ndarray():
                return {"array": self._keep(cast("NDArray[Any]", value))}
            case SourceLocation():
                # Many instructions share a location, and locations are most of an image.
                known = self.places.get(value)
                if known is None:
                    known = self.places[value] = self._encode_structure(value)
                return known
            case _ if _is_structure(value):
                return self._encode_structure(value)
            case _:
                raise InternalError(f"an image holds a {type(value).__name__}")

    def _encode_structure(self, value: Any) -> dict[str, object]:  # noqa: ANN401 - any dataclass
        encoded: dict[str, object] = {"type": type(value).__name__}
        for name in _field_names(cast("type[Any]", type(value))):
            part = getattr(value, name)
            # Most values are numbers and strings, which need no further checks.
            encoded[name] = part if type(part) in _PLAIN else self.encode(part)
        return encoded

    def _keep(self, array: NDArray[Any]) -> str:
        key = f"a{len(self.arrays)}"
        self.arrays[key] = np.ascontiguousarray(array)
        return key


_PLAIN = frozenset({int, str, bool, type(None)})


@cache
def _field_names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


def _is_structure(value: object) -> TypeGuard[Any]:
    return is_dataclass(value) and type(value).__name__ in _CLASSES


# --- loading -------------------------------------------------------------------------------------


def load(folder: Path) -> WaferImage:
    """Read the image that `save` wrote into `folder`; an `ImageError` says why it cannot be."""
    structure, arrays = _read(folder / STRUCTURE_FILE), _read(folder / ARRAYS_FILE)
    return decode_image(structure, arrays, folder)


def decode_image(structure: bytes, arrays: bytes, folder: Path) -> WaferImage:
    """Return the image in two files; errors name `folder` as their place."""
    header, _, body = structure.decode("utf-8", errors="replace").partition("\n")
    body = body.removesuffix("\n")
    checksum = _read_header(header, folder / STRUCTURE_FILE)
    if checksum != _checksum(body, arrays):
        raise ImageError(f"{folder}: the image is damaged (its checksum differs); compile it again")
    try:
        image = _Reader(_read_arrays(arrays)).decode(json.loads(body))
    except DAMAGES as error:
        reason = quoted(str(error) or type(error).__name__)
        raise ImageError(f"{folder}: the image is damaged ({reason}); compile it again") from error
    if not isinstance(image, WaferImage):
        raise ImageError(f"{folder}: the files hold no wafer image; compile it again")
    return image


def _read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            name.removesuffix(".npy"): parse_array(read_member(archive, name))
            for name in archive.namelist()
        }


def _read(path: Path) -> bytes:
    try:
        check_file(path)
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(
            f"{path}: {reason}; an image is a folder with {STRUCTURE_FILE} and {ARRAYS_FILE}"
        ) from error


def _read_header(line: str, path: Path) -> str:
    """Return the checksum that the header promises."""
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    match header:
        case {"format": str(name), "version": int(version), "checksum": str(checksum)}:
            if name == FORMAT and version == VERSION:
                return checksum
            if name == FORMAT:
                age = "newer" if version > VERSION else "older"
                raise ImageError(
                    f"{path}: format version {version} is {age} than the version {VERSION} of "
                    "this onewafer; compile the program again, or use the onewafer that wrote it"
                )
        case _:
            pass
    raise ImageError(f"{path}: this is not a {FORMAT}")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns JSON back into values."""

    arrays: dict[str, NDArray[Any]]

    def decode(self, value: object) -> object:
        match value:
            case None | bool() | str() | int():
                return value
            case list():
                return tuple(self.decode(item) for item in cast("list[object]", value))
            case {"enum": str(name)}:
                class_name, _, member = name.partition(".")
                return _ENUMS[class_name][member]
            case {"map": dict()}:
                return cast("dict[str, object]", value)["map"]
            case {"array": str(key)}:
                return self.arrays[key]
            case {"type": str(name)}:
                pairs = cast("dict[str, object]", value).items()
                arguments = {key: self.decode(item) for key, item in pairs if key != "type"}
                _FIELD_TYPES.check(_CLASSES[name], arguments)
                return _CLASSES[name](**arguments)
            case _:
                raise ValueError(f"unknown form {cut(repr(value))}")

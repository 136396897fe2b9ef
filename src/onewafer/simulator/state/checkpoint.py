"""Checkpoints: a running machine in one file, from which any engine can continue.

In: a snapshot, the image and the architecture. Out: a zip archive that NumPy can open.

    header.json                format, version, onewafer, image checksum, arch, profile, a digest of
                               every number of the architecture, engine, current call, cycle, end
    image.json, image.npz      the program, so that the file is self-contained
    table.NAME.npy             the tables of `snapshot`
    stalls.npy
    state.NAME.npy             an array of `MachineState`: whole, or its blocks that are not all
                               zero; then .blocks has their numbers

Every member has a checksum (the archive's), and nothing in it is code. A file is written under
another name and then renamed, so that a file of the final name is complete.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer import __version__
from onewafer.arch import load_architecture
from onewafer.errors import CheckpointError, ConfigurationError, ImageError
from onewafer.files.foreign_bytes import DAMAGES, parse_array, read_member
from onewafer.files.whole_files import whole_file
from onewafer.image import decode_image, encode_image
from onewafer.simulator.state.loading import check_program, num_fifos, num_rotations
from onewafer.simulator.state.schema import MachineState, make_state
from onewafer.simulator.state.snapshot import COLUMNS, Snapshot, dtype_of
from onewafer.simulator.state.soundness import check_snapshot
from onewafer.simulator.state.statistics import StallReason
from onewafer.terminal import quoted

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import WaferImage

FORMAT = "onewafer checkpoint"
VERSION = 9
_BLOCK_BYTES = 512
_CHUNK_BLOCKS = 1 << 16
"""Blocks that are compared in one step: 32 MiB."""
_COMPRESSION = 1
"""Fast compression is enough: most bytes are zeros."""


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """The description of a checkpoint."""

    image_checksum: str
    arch: str
    profile: str
    architecture_digest: str
    """A digest of all numbers of the architecture."""
    engine: str
    """The engine that wrote the file; any engine can continue."""
    what: str
    """The running call, for people: "the launch of 'main'"."""
    cycle: int
    end: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A machine that can be restored."""

    header: CheckpointHeader
    image: WaferImage
    architecture: Architecture
    snapshot: Snapshot


# --- writing -------------------------------------------------------------------------------------


def write_checkpoint(
    path: Path,
    snapshot: Snapshot,
    image: WaferImage,
    architecture: Architecture,
    *,
    engine: str,
    what: str,
) -> None:
    """Write a file, completely or not at all; an older one of that name is replaced.

    Raises:
        OSError: it cannot be written.
    """
    encoded = encode_image(image)
    header = CheckpointHeader(
        image_checksum=encoded.checksum,
        arch=architecture.name,
        profile=architecture.profile,
        architecture_digest=_digest(architecture),
        engine=engine,
        what=what,
        cycle=snapshot.cycle,
        end=snapshot.end,
    )
    versions = {"format": FORMAT, "version": VERSION, "onewafer": __version__}
    with (
        whole_file(path) as target,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive,
    ):
        archive.writestr("header.json", json.dumps({**versions, **asdict(header)}, indent=1))
        archive.writestr("image.json", encoded.structure)
        archive.writestr("image.npz", encoded.arrays)
        for name, table in snapshot.tables.items():
            _write_array(archive, f"table.{name}", table)
        _write_array(archive, "stalls", snapshot.stalls)
        for field in fields(MachineState):
            _write_blocks(archive, f"state.{field.name}", getattr(snapshot.state, field.name))


def _digest(architecture: Architecture) -> str:
    return hashlib.sha256(repr(architecture).encode()).hexdigest()


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def _write_blocks(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Write an array whole if it is small, else only the blocks that are not all zero."""
    if not _has_blocks(array):
        _write_array(archive, name, array)
        return
    blocks = _blocks_of(array)
    used = [
        start + np.flatnonzero(blocks[start : start + _CHUNK_BLOCKS].any(axis=1))
        for start in range(0, len(blocks), _CHUNK_BLOCKS)
    ]
    numbers = np.concatenate(used).astype(np.int64)
    _write_array(archive, f"{name}.blocks", numbers)
    _write_array(archive, name, blocks[numbers])


def _has_blocks(array: NDArray[Any]) -> bool:
    return array.nbytes > _BLOCK_BYTES and not array.nbytes % _BLOCK_BYTES


def _blocks_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the bytes of an array, `[block, byte]`: a view."""
    return array.reshape(-1).view(np.uint8).reshape(-1, _BLOCK_BYTES)


# --- reading -------------------------------------------------------------------------------------


def read_checkpoint(path: Path, architecture: Architecture | None = None) -> Checkpoint:
    """Read a file that `write_checkpoint` wrote.

    Without an architecture, the catalog's machine of that name is used.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it belongs to another version of
            onewafer or other numbers of the machine.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise CheckpointError(f"{path}: this is not a file, so it is not a checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            header = _read_header(read_member(archive, "header.json"), path)
            machine = _find_architecture(header, architecture, path)
            structure, arrays = (read_member(archive, f"image.{e}") for e in ("json", "npz"))
            image = decode_image(structure, arrays, path)
            check_program(image, machine)
            snapshot = _read_snapshot(archive, header, image, machine)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from None
    except (*DAMAGES, ImageError) as error:
        if not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path}: this is not a whole checkpoint") from None
        raise _damaged(path, error) from error
    return Checkpoint(header, image, machine, snapshot)


def check_image(checkpoint: Checkpoint, image: WaferImage, path: Path) -> None:
    """Raise `CheckpointError` if a checkpoint belongs to another program."""
    if encode_image(image).checksum != checkpoint.header.image_checksum:
        raise CheckpointError(
            f"{path}: the checkpoint is of another program than the image, or of another "
            "compilation of it"
        )


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = quoted(str(error) or type(error).__name__)
    return CheckpointError(f"{path}: the checkpoint is damaged ({reason})")


def _read_header(payload: bytes, path: Path) -> CheckpointHeader:
    match json.loads(payload):
        case {"format": str(name), "version": int(version), "onewafer": str(release), **rest} if (
            name == FORMAT
        ):
            if version != VERSION or release != __version__:
                raise CheckpointError(
                    f"{path}: onewafer {release} wrote this checkpoint (format {version}), and "
                    f"this is onewafer {__version__} (format {VERSION}), whose machine "
                    "may take other cycles: go on with the one that wrote it"
                )
            header = CheckpointHeader(**rest)
            _check_header(header)
            return header
        case _:
            raise CheckpointError(f"{path}: this is not a {FORMAT}")


def _check_header(header: CheckpointHeader) -> None:
    for field in fields(CheckpointHeader):
        kind = int if field.name in ("cycle", "end") else str
        if type(getattr(header, field.name)) is not kind:
            raise ValueError(f"the header's {field.name} is not of type {kind.__name__}")


def _find_architecture(
    header: CheckpointHeader, given: Architecture | None, path: Path
) -> Architecture:
    try:
        found = given or load_architecture(header.arch, profile=header.profile)
    except ConfigurationError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if (found.name, found.profile) != (header.arch, header.profile):
        raise CheckpointError(
            f"{path}: the checkpoint is of machine {header.arch} ({header.profile}), "
            f"not of {found.name} ({found.profile})"
        )
    if _digest(found) != header.architecture_digest:
        raise CheckpointError(
            f"{path}: the machine {header.arch} ({header.profile}) has other numbers here than "
            "where the checkpoint was written, so the cycles would not be the same"
        )
    return found


def _read_snapshot(
    archive: zipfile.ZipFile,
    header: CheckpointHeader,
    image: WaferImage,
    architecture: Architecture,
) -> Snapshot:
    stalls = _read_array(archive, "stalls")
    if stalls.ndim != 2 or stalls.shape[1] != len(StallReason):  # noqa: PLR2004  # a matrix
        raise ValueError(f"stalls of shape {stalls.shape}")
    snapshot = Snapshot(
        cycle=header.cycle,
        end=header.end,
        state=_read_state(archive, image, architecture),
        stalls=stalls,
        **{name: _read_table(archive, name) for name in COLUMNS},
    )
    check_snapshot(snapshot, image)
    return snapshot


def _read_state(
    archive: zipfile.ZipFile, image: WaferImage, architecture: Architecture
) -> MachineState:
    state = make_state(
        image.width * image.height,
        memory_bytes=architecture.memory_bytes,
        num_registers=max((program.num_registers for program in image.programs), default=1),
        num_dsrs=architecture.num_dsrs,
        num_rotations=num_rotations(image),
        num_fifos=num_fifos(image),
    )
    for field in fields(MachineState):
        _fill(archive, f"state.{field.name}", getattr(state, field.name))
    return state


def _fill(archive: zipfile.ZipFile, name: str, target: NDArray[Any]) -> None:
    """Fill an array of zeros with the blocks that `_write_blocks` wrote."""
    blocks = _read_array(archive, name)
    if not _has_blocks(target):
        if (blocks.shape, blocks.dtype) != (target.shape, target.dtype):
            raise ValueError(f"{name} is not {target.dtype} of shape {target.shape}")
        target[...] = blocks
        return
    numbers = _read_array(archive, f"{name}.blocks")
    if numbers.shape != blocks.shape[:1] or (numbers < 0).any():
        raise ValueError(f"{name} has other blocks than it says")
    _blocks_of(target)[numbers] = blocks


def _read_table(archive: zipfile.ZipFile, name: str) -> NDArray[np.void]:
    table = _read_array(archive, f"table.{name}")
    if table.dtype != dtype_of(name) or table.ndim != 1:
        raise ValueError(f"the table {name} has other columns")
    return table


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    return parse_array(read_member(archive, f"{name}.npy"))

"""Files that onewafer reads, taken apart into JSON values and arrays, for `fuzz_files.py`."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, DiskFiles, compile_program
from onewafer.graph import DataType, Graph, Linear, Tensor, from_json, to_json, verify_graph
from onewafer.host import Recorded, RunRecorder, convert_trace
from onewafer.host.program.core_file import FILE_NAME, Core, save_core
from onewafer.host.program.stream_ports import load_stream_ports
from onewafer.host.runs.tracing import make_header
from onewafer.image import files as image_files
from onewafer.image import load, route_table, save
from onewafer.perf.gpu import read_profile
from onewafer.recording import RecordingFile, SourceTexts
from onewafer.simulator import Machine
from onewafer.trace import Detail
from onewafer.trace.formats import TraceWriter, read_trace
from onewafer.trace.formats.binary import MAGIC
from onewafer.viewer.page_parts import PageParts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from onewafer.image import WaferImage

    Array = NDArray[Any]
    Document = dict[str, Any]
    """Parts of files by name: JSON values, arrays, or bytes."""

pa: Any = import_module("pyarrow")  # it has no types
pq: Any = import_module("pyarrow.parquet")
ROOT = Path(__file__).parents[1]
_CYCLES = 200
"""Cycles for which an image is run, once it has been read."""
_MEMORY = 1 << 30
"""Bytes that its simulation may take."""
_ENGINE = "reference"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file, or of folder."""

    make: Callable[[Path], Document]
    """Return the parts of a valid one; a folder is there for what is needed on the way."""
    pack: Callable[[Document], dict[str, bytes]]
    """Return files by name, with the checksums that make their readers go on."""
    read: Callable[[Path], object]
    """Read the files of a folder, and use what they hold."""


def nested(depth: int) -> str:
    """Return a text that becomes lists inside one another, deeper than `json.dumps` goes."""
    return f"\0nested{depth}"


def _to_json(value: object) -> bytes:
    text = json.dumps(value)
    deep = re.sub(
        r'"\\u0000nested(\d+)"', lambda found: "[" * int(found[1]) + "]" * int(found[1]), text
    )
    return deep.encode("utf-8", errors="surrogatepass")


def _to_npy(part: Array | bytes) -> bytes:
    """Return an array as a `.npy` file; bytes are one already."""
    if isinstance(part, bytes):
        return part
    file = io.BytesIO()
    np.lib.format.write_array(file, part, allow_pickle=False)
    return file.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


# --- images --------------------------------------------------------------------------------------


def _image() -> WaferImage:
    options = CompileOptions(
        entry="layout.csl",
        architecture=load_architecture("wse3"),
        params={"block_size": "4"},
        uses_memcpy=True,
    )
    return compile_program(options, DiskFiles(ROOT / "examples" / "csl" / "axpy-sum"))


def _make_image(folder: Path) -> Document:
    save(_image(), folder)
    return _unpack_image(
        (folder / image_files.STRUCTURE_FILE).read_bytes(),
        (folder / image_files.ARRAYS_FILE).read_bytes(),
    )


def _unpack_image(structure: bytes, arrays: bytes) -> Document:
    with np.load(io.BytesIO(arrays)) as archive:
        parts: Document = {f"array {name}": archive[name] for name in archive.files}
    return {"structure": json.loads(structure.partition(b"\n")[2]), **parts}


def _pack_image(document: Document) -> dict[str, bytes]:
    body = _to_json(document["structure"])
    arrays = _zip(
        {
            f"{name.removeprefix('array ')}.npy": _to_npy(part)
            for name, part in document.items()
            if name.startswith("array ")
        }
    )
    checksum = hashlib.sha256(body + b"\n" + arrays).hexdigest()
    head = {"format": image_files.FORMAT, "version": image_files.VERSION, "checksum": checksum}
    return {
        image_files.STRUCTURE_FILE: _to_json(head) + b"\n" + body + b"\n",
        image_files.ARRAYS_FILE: arrays,
    }


def _read_image(folder: Path) -> None:
    image = load(folder)
    architecture = load_architecture(image.arch)
    machine = Machine(image, architecture, engine=_ENGINE, memory_limit=_MEMORY)
    route_table(image)
    machine.run(max_cycles=_CYCLES)
    for export in image.exports:
        if export.kind.name == "FUNCTION":
            machine.launch(export.name, [1] * len(export.argument_types))
    machine.run(max_cycles=_CYCLES)


# --- checkpoints ---------------------------------------------------------------------------------

_CHECKPOINT = "run.checkpoint"


def _make_checkpoint(folder: Path) -> Document:
    machine = Machine(_image(), load_architecture("wse3"), engine=_ENGINE)
    machine.run()
    machine.launch("axpy_sum", [1])
    machine.run(max_cycles=40)
    machine.save_checkpoint(folder / _CHECKPOINT)
    with zipfile.ZipFile(folder / _CHECKPOINT) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    image = _unpack_image(members.pop("image.json"), members.pop("image.npz"))
    return {
        "header": json.loads(members.pop("header.json")),
        **{f"member {name}": np.load(io.BytesIO(content)) for name, content in members.items()},
        **image,
    }


def _pack_checkpoint(document: Document) -> dict[str, bytes]:
    image = _pack_image(document)
    members = {
        "header.json": _to_json(document["header"]),
        "image.json": image[image_files.STRUCTURE_FILE],
        "image.npz": image[image_files.ARRAYS_FILE],
    }
    for name, part in document.items():
        if name.startswith("member "):
            members[name.removeprefix("member ")] = _to_npy(part)
    return {_CHECKPOINT: _zip(members)}


def _read_checkpoint(folder: Path) -> None:
    path = folder / _CHECKPOINT
    machine = Machine.from_checkpoint(path, engine=_ENGINE, memory_limit=_MEMORY)
    machine.run(max_cycles=_CYCLES)
    machine.statistics()


# --- traces --------------------------------------------------------------------------------------

_TRACE = "run.wafer-trace"


def _make_trace(folder: Path) -> Document:
    image, architecture, detail = _image(), load_architecture("wse3"), Detail.INSTRUCTIONS
    with (folder / _TRACE).open("wb") as file:
        writer = TraceWriter(file, make_header(image, architecture, detail=detail))
        machine = Machine(image, architecture, engine=_ENGINE, sink=writer, detail=detail)
        machine.run()
        machine.launch("axpy_sum", [1])
        machine.run()
        writer.end(machine.cycle, is_well=True)
    content, trace = (folder / _TRACE).read_bytes(), read_trace(folder / _TRACE)
    (length,) = struct.unpack_from("<I", content, len(MAGIC))
    start = len(MAGIC) + 4
    header = json.loads(zlib.decompress(content[start : start + length]))
    return {"header": header, "rows": trace.rows, "end": np.array([trace.end_cycle, 1])}


def _pack_trace(document: Document) -> dict[str, bytes]:
    """Pack the rows as the writer does, behind a header that it would not write."""
    header = zlib.compress(_to_json(document["header"]))
    rows, end = document["rows"], document["end"]
    if not all(isinstance(part, np.ndarray) for part in (rows, end)):
        rows, end = np.zeros((0, 6), np.int64), np.zeros(2, np.int64)
    file = io.BytesIO()
    writer = _Chunks(file)
    for start in range(0, len(rows), _CHUNK_EVENTS):
        writer.write(rows[start : start + _CHUNK_EVENTS])
    last = [int(number) & (1 << 62) - 1 for number in end.reshape(-1)[:2]]
    writer.end(*[*last, 0, 0][:2])
    start = MAGIC + struct.pack("<I", len(header)) + header
    return {_TRACE: start + file.getvalue()}


class _Chunks:
    """Writes chunks of events as docs of `trace.formats.binary` say, whatever the numbers are."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def write(self, rows: Array) -> None:
        table = np.zeros((len(rows), len(_COLUMNS)), np.int64)
        columns = min(rows.shape[1] if rows.ndim > 1 else 0, len(_COLUMNS))
        table[:, :columns] = rows.reshape(len(rows), -1)[:, :columns]
        table[1:, 0] -= table[:-1, 0].copy()
        planes = b"".join(
            table[:, i].astype(dtype).view(np.uint8).reshape(len(table), -1).T.tobytes()
            for i, dtype in enumerate(_COLUMNS)
        )
        payload = zlib.compress(planes)
        self._head(len(table), len(payload), 0, 0)
        self._file.write(payload)

    def end(self, cycle: int, is_well: int) -> None:
        self._head(0, 0, cycle, is_well)

    def _head(self, *numbers: int) -> None:
        packed = struct.pack("<IIqq", *numbers)
        self._file.write(packed + struct.pack("<I", zlib.crc32(packed)))


_COLUMNS = ("<i8", "<u2", "<u2", "u1", "<i8", "<i8")
_CHUNK_EVENTS = 1 << 14


def _read_trace(folder: Path) -> None:
    targets = [folder / "run.perfetto-trace", folder / "run.log"]
    for line in convert_trace(folder / _TRACE, targets):
        line.encode("utf-8", errors="surrogateescape")


# --- recordings ----------------------------------------------------------------------------------

_RECORDING = "run.parquet"
_COLUMN = "column."
_KEYS = ("onewafer.image", "onewafer.sources")


def _make_recording(folder: Path) -> Document:
    path, image = folder / _RECORDING, _image()
    subject = Recorded("axpy", SourceTexts({"pe_program.csl": "fn f() void {}"}))
    recorder = RunRecorder(path, subject, str)
    machine = Machine(image, load_architecture("wse3"), engine=_ENGINE)
    recorder.loaded(machine, lambda: 0.0)
    machine.run()
    recorder.finish()
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    columns = {_COLUMN + name: table.column(name).to_numpy() for name in table.column_names}
    kept = {key: metadata[key.encode()] for key in _KEYS}
    return {"about": json.loads(metadata[b"onewafer"]), **kept, **columns}


def _pack_recording(document: Document) -> dict[str, bytes]:
    """Pack what is still a column; all get the length of the first one."""
    columns: dict[str, Array] = {
        name.removeprefix(_COLUMN): array.reshape(-1)
        for name, array in _arrays(document).items()
        if name.startswith(_COLUMN) and array.dtype.kind in "iufb"
    }
    length = max([len(next(iter(columns.values()), ())), 1])
    table = pa.table({n: np.resize(c, length) for n, c in columns.items() if len(c)})
    file = io.BytesIO()
    metadata = {"onewafer": _to_json(document["about"])}
    metadata |= {key: document[key] for key in _KEYS if isinstance(document[key], bytes)}
    with pq.ParquetWriter(file, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)
    return {_RECORDING: file.getvalue()}


def _arrays(document: Document) -> dict[str, Array]:
    return {name: part for name, part in document.items() if isinstance(part, np.ndarray)}


def _read_recording(folder: Path) -> None:
    parts = PageParts(RecordingFile(folder / _RECORDING))
    for path in (*parts.paths(), "pes/0-0.json"):
        parts.find(path)


# --- JSON and the core of a run ------------------------------------------------------------------


def _make_profile(folder: Path) -> Document:
    del folder
    points = {"rows": [1, 16, 1, 16], "outputs": [64, 64, 128, 128], "inputs": [64] * 4}
    seconds = {"seconds": [1e-6, 2e-6, 3e-6, 4e-6]}
    heads = {"heads": 8, "kv_heads": 8, "features": 64, "sequences": [1, 8]}
    return {
        "profile": {
            "format": "onewafer-gpu-profile-1",
            "version": "0.1.0",
            "device": "a card",
            "software": "a version",
            "copy_bytes_per_second": 3e12,
            "launch_seconds": 2e-6,
            "products": {"bfloat16": {**points, **seconds}},
            "decode": [{**heads, "context": [128, 512], "seconds": [1e-6, 2e-6]}],
            "prefill": [{**heads, "tokens": [128, 512], "seconds": [1e-6, 2e-6]}],
        }
    }


def _make_graph(folder: Path) -> Document:
    del folder
    x, w, y = (
        Tensor(name, shape, DataType.F32)
        for name, shape in (("x", (2, 4)), ("w", (3, 4)), ("y", (2, 3)))
    )
    operations = (Linear(y, input="x", weight="w"),)
    graph = Graph(name="g", inputs=(x,), parameters=(w,), operations=operations, outputs=("y",))
    return {"graph": json.loads(to_json(graph))}


def _make_streams(folder: Path) -> Document:
    del folder
    ports = [
        {"name": name, "x": x, "y": 0, "color": 3, "is_input": bool(x), "size": size}
        for x, (name, size) in enumerate((("in", None), ("out", 7)))
    ]
    return {"streams": ports}


def _make_core(folder: Path) -> Document:
    image = _image()
    save(image, folder)
    save_core(Machine(image, load_architecture("wse3"), engine=_ENGINE), image, folder)
    with np.load(folder / FILE_NAME) as archive:
        return {name: archive[name] for name in archive.files}


def _pack_core(document: Document) -> dict[str, bytes]:
    return {FILE_NAME: _zip({f"{name}.npy": _to_npy(part) for name, part in document.items()})}


def _read_core(folder: Path) -> None:
    core = Core(load(folder), folder)
    for x in (4, 5):
        for symbol in core.variables(x, 1).values():
            core.read(x, 1, symbol.address, symbol.num_bytes)


def _json_file(name: str) -> Callable[[Document], dict[str, bytes]]:
    return lambda document: {name: b"".join(map(_to_json, document.values()))}


KINDS = {
    "image": Kind(_make_image, _pack_image, _read_image),
    "checkpoint": Kind(_make_checkpoint, _pack_checkpoint, _read_checkpoint),
    "trace": Kind(_make_trace, _pack_trace, _read_trace),
    "core": Kind(_make_core, _pack_core, _read_core),
    "profile": Kind(
        _make_profile, _json_file("gpu.json"), lambda folder: read_profile(folder / "gpu.json")
    ),
    "graph": Kind(
        _make_graph,
        _json_file("graph.json"),
        lambda folder: verify_graph(
            from_json((folder / "graph.json").read_text(errors="surrogateescape"))
        ),
    ),
    "recording": Kind(_make_recording, _pack_recording, _read_recording),
    "streams": Kind(_make_streams, _json_file("streams.json"), load_stream_ports),
}
"""By name."""

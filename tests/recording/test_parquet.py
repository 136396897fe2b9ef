"""A recording gives back what was written; a damaged one is refused in a sentence."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from onewafer.errors import RecordingError
from onewafer.recording import (
    SPAN_COLUMNS,
    Operation,
    Provenance,
    RecordingFile,
    RunHeader,
    Split,
    Tensor,
    parquet,
    write_recording,
)
from tests.recording.recordings import make_moves, make_spans, record


@pytest.fixture
def path(tmp_path):
    return record(tmp_path / "run.parquet")


def rewrite(path, metadata, *, drop=False, skip=0, without=()):
    """Write the table again, with other metadata, or without its first rows, or some columns."""
    table, kept = pq.read_table(path).drop(list(without)), pq.read_metadata(path).metadata
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table.slice(skip))
        writer.add_key_value_metadata({} if drop else {**kept, **metadata})


def test_what_is_written_is_read(path):
    found = RecordingFile(path)

    assert (found.header.title, found.header.cycles) == ("run", 100)
    assert found.column("busy_cycles").tolist() == [[0, 10, 20], [30, 40, 50]]
    assert found.row(2, 1)["busy_cycles"] == 50
    assert found.sources == {"east.csl": "line one\nline two"}
    assert (found.image.width, found.image.height) == (3, 2)


def test_header_goes_there_and_back(tmp_path):
    split = Split("x", (((0, 4), (8, 12)), ()))
    tensor = Tensor("w", "parameter", "MLP", "f16", (3, 4), "parameter_w", 24, 0, 0)
    ended = "PE (1, 0) waits"
    operation = Operation(
        name="linear",
        layer="0",
        launch="infer",
        part="MLP",
        source="model.py:41",
        shape=(8, 4),
        work_cycles=90,
        collective_cycles=10,
        rounds=12,
        activation_bytes=64,
    )
    told = {
        "operations": (operation,),
        "memory": (("code", 4096), ("weights", 24)),
        "provenance": Provenance(
            "train.py", ("--lr", "1"), "2026-12-02T21:45:26Z", "054db5710de4+"
        ),
        "flop_share": 0.5,
        "spans_until": 7,
    }
    path = record(
        tmp_path / "run.parquet",
        ending=ended,
        tensors=(tensor,),
        splits=(split,),
        cycles=1 << 40,
        **told,
    )
    header = RecordingFile(path).header

    assert {name: getattr(header, name) for name in told} == told
    assert header.parts == ("begin and end", "MLP", "MLP, collectives")

    assert (header.tensors, header.splits, header.ending) == ((tensor,), (split,), ended)
    assert header.cycles == 1 << 40
    assert split.indices_at(0, 7) == ((0, 4), (8, 12))
    assert split.indices_at(5, 0) == ()


def test_pandas_reads_it_in_one_line(path):
    pandas = pytest.importorskip("pandas")

    frame = pandas.read_parquet(path)
    assert frame.busy_cycles.tolist() == [0, 10, 20, 30, 40, 50]
    assert frame[["x", "y"]].to_numpy().tolist()[-1] == [2, 1]


SPANS = [
    (1, 0, 50, 50, 8, False, "task", "main (launched)", "east.csl:1"),
    (1, 5, 40, 12, 8, False, "wait", "input empty C3", ""),
    (4, 7, 100, 93, 2, True, "operation", "mov32", "east.csl:2"),
]
MOVES = [(1, 9, 3, 1), (2, 10, 3, 1), (2, 11, 3, 4)]
"""PE, cycle, color, side."""


def test_spans_go_there_and_back(tmp_path):
    path = record(tmp_path / "run.parquet", traced=(make_spans(6, SPANS), make_moves(6, MOVES)))
    file = RecordingFile(path)
    spans = file.spans

    assert spans.first.tolist() == [0, 0, 2, 2, 2, 3, 3]
    assert spans.end_cycle.tolist() == [50, 40, 100]
    assert [spans.name.texts[n] for n in spans.name.numbers] == [row[7] for row in SPANS]
    assert spans.is_open.tolist() == [False, False, True]
    moves = file.moves
    assert moves.first.tolist() == [0, 0, 1, 3, 3, 3, 3]
    assert list(zip(moves.cycle, moves.color, moves.side, strict=True)) == [m[1:] for m in MOVES]
    assert "span_name" not in file.row(1, 0)


def test_a_file_without_spans_has_none(path):
    assert RecordingFile(path).spans is None


def test_pandas_has_a_row_a_span_in_one_line(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = record(tmp_path / "run.parquet", traced=(make_spans(6, SPANS), make_moves(6, MOVES)))

    lists = pandas.read_parquet(path, columns=["x", "y", *SPAN_COLUMNS])
    frame = lists.explode(list(SPAN_COLUMNS)).dropna()
    rows = frame[["x", "y", "span_start_cycle", "span_cycles", "span_kind", "span_source"]]
    assert rows.to_numpy().tolist() == [
        [1, 0, 0, 50, "task", "east.csl:1"],
        [1, 0, 5, 12, "wait", ""],
        [1, 1, 7, 93, "operation", "east.csl:2"],
    ]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (2, -1, "a span ends before it begins"),
        (4, 9, "a span is of no thread"),
        (6, "nap", "a span is of no known kind"),
    ],
)
def test_damaged_spans_are_refused_when_they_are_read(tmp_path, column, value, said):
    row = (*SPANS[0][:column], value, *SPANS[0][column + 1 :])
    path = record(tmp_path / "run.parquet", traced=(make_spans(6, [row]), make_moves(6, MOVES)))

    with pytest.raises(RecordingError, match=said):
        _ = RecordingFile(path).spans


def test_a_wavelet_that_goes_to_no_side_is_refused(tmp_path):
    traced = (make_spans(6, SPANS), make_moves(6, [(1, 9, 3, 5)]))
    path = record(tmp_path / "run.parquet", traced=traced)

    with pytest.raises(RecordingError, match="a wavelet goes to no side"):
        _ = RecordingFile(path).moves


def test_spans_that_are_not_whole_are_refused(tmp_path):
    path = record(tmp_path / "run.parquet", traced=(make_spans(6, SPANS), make_moves(6, MOVES)))
    table = pq.read_table(path)
    shorter = table["span_thread"].take([0, 0, 2, 3, 4, 5])
    place = table.column_names.index("span_thread")
    metadata = pq.read_metadata(path).metadata
    pq.write_table(
        table.set_column(place, "span_thread", shorter).replace_schema_metadata(metadata), path
    )

    with pytest.raises(RecordingError, match="a span is not whole"):
        _ = RecordingFile(path).spans


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[10] ^= 0xFF
    path.write_bytes(content)


def text(path):
    path.write_text("x,y,busy\n")


def plain(path):
    rewrite(path, {}, drop=True)


def newer(path):
    about = pq.read_metadata(path).metadata[b"onewafer"]
    rewrite(path, {b"onewafer": about.replace(b'"version": 2', b'"version": 99')})


def without_header(path):
    rewrite(path, {b"onewafer": b'{"format": "onewafer recording", "version": 2, "header": 3}'})


def fewer_rows(path):
    rewrite(path, {}, skip=1)


def with_a_window(path):
    about = pq.read_metadata(path).metadata[b"onewafer"]
    window = b'"windows": [{"start_cycle": 0, "end_cycle": 9}]'
    rewrite(path, {b"onewafer": about.replace(b'"windows": []', window)})


def without_programs(path):
    rewrite(path, {}, without=["program"])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "the file is cut: its end is missing; record the run again"),
        (text, "this is no recording of a run; `onewafer run --record FILE`"),
        (plain, "this Parquet file is no recording of a run"),
        (newer, "has format version 99, written by onewafer "),
        (without_header, "the recording is damaged"),
        (fewer_rows, "the recording is damaged (5 rows for 6 PEs)"),
        (with_a_window, "the recording is damaged (no column window_0_busy_cycles)"),
        (without_programs, "the recording is damaged (no column program)"),
        (Path.unlink, "No such file or directory"),
    ],
)
def test_what_is_no_recording_is_refused(path, damage, said):
    damage(path)

    with pytest.raises(RecordingError, match=r"run\.parquet: ") as error:
        RecordingFile(path)
    assert said in str(error.value)


def test_a_damaged_column_is_refused_when_it_is_read(path):
    flip(path)

    with pytest.raises(RecordingError, match="damaged"):
        RecordingFile(path).column("x")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_column_of_no_numbers_is_refused(tmp_path, value):
    columns = {"program": np.zeros(6, np.int16), "busy_cycles": np.full(6, value)}
    file = RecordingFile(record(tmp_path / "run.parquet", columns))

    with pytest.raises(RecordingError, match="column busy_cycles holds what is no number"):
        file.column("busy_cycles")


@pytest.mark.parametrize("content", [b"", b"!", b"AAAA AAAA"])
def test_a_damaged_image_is_refused_when_it_is_read(path, content):
    rewrite(path, {b"onewafer.image": content})

    with pytest.raises(RecordingError, match=r"run\.parquet"):
        _ = RecordingFile(path).image


def test_sources_that_inflate_without_end_are_refused(path, monkeypatch):
    monkeypatch.setattr(parquet, "_MOST_SOURCE_BYTES", 8)

    with pytest.raises(RecordingError, match="damaged"):
        _ = RecordingFile(path).sources


def test_nothing_is_left_of_a_recording_that_cannot_be_written(tmp_path):
    header = RunHeader("run", "wse3", "sdk", "fast", 1e9, 2, 1, 0)

    with pytest.raises(ValueError, match="length"):
        write_recording(
            tmp_path / "run.parquet",
            header,
            {"busy_cycles": np.zeros(3)},
            image=RecordingFile(record(tmp_path / "other.parquet")).image,
            sources={},
        )
    assert [file.name for file in tmp_path.iterdir()] == ["other.parquet"]

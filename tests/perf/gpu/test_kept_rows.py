"""Rows of measured tables are kept: read as they were, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.perf.gpu import aiconfigurator
from onewafer.perf.gpu.aiconfigurator import AiconfiguratorTables, is_installed
from onewafer.perf.gpu.collectives import Collective
from onewafer.perf.gpu.kept_rows import KeptRows
from onewafer.perf.gpu.kernels import AttentionShape, NumberFormat

COLUMNS = ("m", "name", "latency")
FILTERS = [("dtype", "half"), ("size", 8)]
ROWS = {
    "m": np.array([1, 2, 3]),
    "name": np.array(["a", "bc", ""]),
    "latency": np.array([0.5, np.nan, 2.0]),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path))
    return tmp_path / "gpu-tables"


def same(left, right):
    return left.keys() == right.keys() and all(
        values.dtype == right[name].dtype and values.tobytes() == right[name].tobytes()
        for name, values in left.items()
    )


def test_what_was_written_is_read():
    KeptRows(b"table", COLUMNS, FILTERS).write(ROWS)

    assert same(KeptRows(b"table", COLUMNS, FILTERS).read(), ROWS)


def test_no_rows_are_an_answer():
    KeptRows(b"table", COLUMNS, FILTERS).write({name: rows[:0] for name, rows in ROWS.items()})

    assert len(KeptRows(b"table", COLUMNS, FILTERS).read()["latency"]) == 0


@pytest.mark.parametrize(
    "question",
    [
        (b"another", COLUMNS, FILTERS),
        (b"table", COLUMNS[1:], FILTERS),
        (b"table", COLUMNS, FILTERS[1:]),
        (b"table", COLUMNS, [("dtype", "half"), ("size", 9)]),
    ],
)
def test_another_table_or_question_has_no_answer(question):
    KeptRows(b"table", COLUMNS, FILTERS).write(ROWS)

    assert KeptRows(*question).read() is None


@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda kept: kept[:-40], lambda kept: kept + kept]
)
def test_a_damaged_file_counts_as_none(folder, damage):
    kept = KeptRows(b"table", COLUMNS, FILTERS)
    kept.write(ROWS)
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))

    assert kept.read() is None
    kept.write(ROWS)
    assert same(kept.read(), ROWS)


def test_any_flipped_byte_is_noticed(folder):
    kept = KeptRows(b"table", COLUMNS, FILTERS)
    kept.write(ROWS)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        assert kept.read() is None


def test_a_folder_that_cannot_be_written_is_not_missed(folder):
    folder.write_text("in the way")
    kept = KeptRows(b"table", COLUMNS, FILTERS)
    kept.write(ROWS)

    assert kept.read() is None


@pytest.mark.skipif(not is_installed(), reason="needs aiconfigurator-core and pyarrow")
def test_tables_that_are_not_there_are_no_source():
    none, some = (
        AiconfiguratorTables("x9_sxm", "trtllm"),
        AiconfiguratorTables("h100_sxm", "trtllm"),
    )

    assert none.source == "aiconfigurator-core measured no kernels on x9_sxm: rooflines"
    assert some.source == "kernels measured by aiconfigurator-core (h100_sxm, trtllm)"


@pytest.mark.skipif(not is_installed(), reason="needs aiconfigurator-core and pyarrow")
def test_kept_tables_are_the_tables(monkeypatch):
    def read():
        aiconfigurator._newest_rows.cache_clear()  # as a new process
        tables = AiconfiguratorTables("h100_sxm", "trtllm")
        found = [
            tables.gemm(NumberFormat.BF16),
            tables.decode_attention(AttentionShape(32, 8, 128), NumberFormat.BF16).points,
            tables.collective(Collective.ALL_REDUCE, 8).points,
        ]
        return [[array.tobytes() for array in (*p.sizes, p.seconds)] for p in found]

    first = read()
    monkeypatch.setattr(aiconfigurator, "_read_parquet", lambda *_: pytest.fail("read again"))
    assert read() == first
    aiconfigurator._newest_rows.cache_clear()  # its rows are of this test's folder


@pytest.mark.skipif(not is_installed(), reason="needs aiconfigurator-core and pyarrow")
@pytest.mark.parametrize("engine", ["trtllm", "vllm", "sglang"])
def test_names_of_kernels_are_read_in_any_width(engine):
    found = AiconfiguratorTables("gb300", engine).collective(Collective.ALL_REDUCE, 4)

    assert found.points.seconds.min() > 0
    aiconfigurator._newest_rows.cache_clear()


@pytest.mark.skipif(not is_installed(), reason="needs aiconfigurator-core and pyarrow")
@pytest.mark.parametrize("engine", ["trtllm", "vllm", "sglang"])
def test_tables_without_windows_are_of_attention_without_one(engine):
    tables, shape = AiconfiguratorTables("a100_sxm", engine), AttentionShape(32, 8, 128)

    found = tables.decode_attention(shape, NumberFormat.BF16)

    assert found.shape == shape
    assert found.points.seconds.min() > 0
    aiconfigurator._newest_rows.cache_clear()

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

import onewafer.mesh
from onewafer.graph import FLOATING, DataType
from onewafer.mesh.blocks import RowKind
from onewafer.mesh.dense import Matmul
from onewafer.mesh.elementwise import Add
from onewafer.mesh.families import COST_CASES
from onewafer.mesh.kernel_costs import kernel_costs, table_name
from onewafer.mesh.kinds import CONTROL_KINDS
from tests.mesh.test_kinds import ALL_KINDS

ROOT = Path(__file__).parents[2]


def load_tool(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")  # where its own helpers are
    spec = importlib.util.spec_from_file_location("kernel_costs", ROOT / "tools/kernel_costs.py")
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool  # dataclasses look their module up
    spec.loader.exec_module(tool)
    return tool


def committed():
    return Path(onewafer.mesh.__file__).with_name("kernel_costs.json").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "arch", "rows"),
    [
        (DataType.F16, "wse3", RowKind.SEQUENCE),
        (DataType.F32, "wse2", RowKind.SEQUENCES),
        (DataType.F32, "wse2", RowKind.INDEPENDENT),
        (DataType.F32, "wse2", RowKind.GROUPED),
    ],
)
def test_committed_counts_are_those_of_the_listing(monkeypatch, dtype, arch, rows):
    """Some tables on one machine; all of them are a slow test."""
    found = load_tool(monkeypatch).table(dtype, arch, rows=rows)
    tables = json.loads(committed())
    assert tables[table_name(dtype, rows=rows)] == json.loads(json.dumps(found)), (
        "the kernels or the compiler changed: run `python tools/kernel_costs.py`"
    )


@pytest.mark.slow
def test_the_committed_file_is_the_one_that_the_tool_writes(monkeypatch):
    assert committed() == load_tool(monkeypatch).generate()


def test_every_kind_has_counts():
    half, single = (
        kernel_costs(dtype, rows=RowKind.SEQUENCE) for dtype in (DataType.F16, DataType.F32)
    )
    several = kernel_costs(DataType.F16, rows=RowKind.SEQUENCES)
    of_training = {case.kind.name for case in COST_CASES if case.is_of_singles}
    known = set(half.kinds) | set(several.kinds)
    assert known == {kind.name for kind in ALL_KINDS} - of_training
    of_slots = {
        case.kind.name
        for case in COST_CASES
        if RowKind.SEQUENCES in case.rows and RowKind.SEQUENCE not in case.rows
    }
    assert set(several.kinds) - set(half.kinds) == of_slots
    stores = {"convert", "broadcast_store_x", "broadcast_store_y"}
    assert set(half.kinds) - set(single.kinds) == stores
    independent = kernel_costs(DataType.F32, rows=RowKind.INDEPENDENT)
    grouped = kernel_costs(DataType.F32, rows=RowKind.GROUPED)
    assert set(independent.kinds) < set(grouped.kinds)
    assert of_training < set(single.kinds) | set(grouped.kinds)
    for kind in Matmul.kinds:
        assert half.of(kind)["filled*rows*inner"]["fmachs(columns)(mapped)"] == 1
        assert single.of(kind)["filled*rows*inner"]["fmacs(columns)(mapped)"] == 1


@pytest.mark.parametrize("dtype", FLOATING)
def test_only_operations_that_know_positions_make_a_sequence(dtype):
    plain, sequence = (
        kernel_costs(dtype, rows=rows) for rows in (RowKind.INDEPENDENT, RowKind.SEQUENCE)
    )
    names = sequence.kinds.keys() - plain.kinds.keys()
    of_sequences = {s.kind.name for s in COST_CASES if RowKind.INDEPENDENT not in s.rows}
    assert names == of_sequences & sequence.kinds.keys()


def test_kinds_that_a_program_lacks_take_no_bytes():
    costs = kernel_costs(DataType.F16, rows=RowKind.SEQUENCE)
    few = costs.num_bytes({*Add.kinds, *CONTROL_KINDS})
    assert 300 < few < 1000
    every = [kind for kind in ALL_KINDS if kind.name in costs.kinds]
    assert costs.num_bytes(every) > 10_000

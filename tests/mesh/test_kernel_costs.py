from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import onewafer.mesh
from onewafer.graph import DataType
from onewafer.mesh.entry import Kind
from onewafer.mesh.kernel_costs import kernel_costs

ROOT = Path(__file__).parents[2]


def load_tool():
    spec = importlib.util.spec_from_file_location("kernel_costs", ROOT / "tools/kernel_costs.py")
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool  # dataclasses look their module up
    spec.loader.exec_module(tool)
    return tool


def test_the_committed_counts_are_those_of_the_listing():
    committed = Path(onewafer.mesh.__file__).with_name("kernel_costs.json")
    assert committed.read_text(encoding="utf-8") == load_tool().generate(), (
        "the kernels or the compiler changed: run `python tools/kernel_costs.py`"
    )


def test_every_kind_has_counts():
    half, single = (kernel_costs(dtype) for dtype in (DataType.F16, DataType.F32))
    assert set(half.kinds) == {kind.name.lower() for kind in Kind}
    assert set(half.kinds) - set(single.kinds) == {"convert"}
    for kind in (Kind.MATMUL_X, Kind.MATMUL_Y):
        assert half.of(kind)["rows*inner"]["fmachs(columns)"] == 1
        assert single.of(kind)["rows*inner"]["fmacs(columns)"] == 1

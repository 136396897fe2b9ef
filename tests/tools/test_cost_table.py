"""The page of costs is current, and what it is made of is what the machine does."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from onewafer.mesh import Estimator, Launch, shard
from onewafer.mesh.tokens import LookUpTokens
from tests.mesh.models import gpt2, llama

ROOT = Path(__file__).parents[2]


def load(monkeypatch, name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tool(monkeypatch):
    load(monkeypatch, "cost_programs")
    return load(monkeypatch, "cost_table")


def named(tool, name):
    return next(cost for cost in tool.PROGRAMS if cost.name == name)


@pytest.mark.slow
def test_the_page_has_the_closed_forms_of_today(tool):
    page = tool.PATH.read_text(encoding="utf-8")
    programs = [named(tool, name) for name in ("Llama", "BERT")]
    assert tool.stale_lines(page, programs) == []
    (stale, *_) = tool.stale_lines(page.replace("| BERT |", "| Bert |"), programs)
    assert stale.startswith("| BERT | 4×4 | 5 rows |")


def test_every_launch_on_the_page_is_within_its_tolerance(tool):
    page = tool.PATH.read_text(encoding="utf-8")
    launches, operations = page.split("## Operations")
    errors = [float(text) for text in re.findall(r"\(([+-][\d.]+)%\) \|$", launches, re.MULTILINE)]
    assert len(errors) == sum(len(cost.launches) for cost in tool.PROGRAMS)
    assert max(map(abs, errors)) <= 1.5
    found = re.search(r"have ([\d,]+) operations, of which ([\d,]+) are", operations).groups()
    total, kept = (int(number.replace(",", "")) for number in found)
    # Two norms of heads, in a program whose middle has more descriptors than registers for them.
    assert total - 2 <= kept <= total
    for kind in ("matmul_x", "chain_reduce_x", "broadcast_y", "weigh", "normalize", "rotate"):
        assert f"| {kind}, f32 |" in operations


@pytest.mark.slow
def test_cycles_of_operations_are_those_of_the_launch(tool):
    cost = named(tool, "BERT")
    program = cost.shard()
    ((launch, points, expected),) = tool.expect(cost, program)
    (measured,) = tool.measure(program, [launch])
    assert len(measured.operations) == len(points) == len(program.operations)
    assert sum(measured.operations) <= measured.cycles
    assert measured.cycles - sum(measured.operations) < 0.05 * measured.cycles  # start and repeats
    assert abs(expected - measured.cycles) < 0.1 * measured.cycles


@pytest.mark.parametrize("model", [llama, gpt2])
@pytest.mark.slow
def test_operations_of_several_rows_at_several_starts(tool, model):
    """Each row counts with the positions that it attends to, each PE with those that it keeps."""
    launches = [Launch.at(0, 7), Launch.at(7, 3), Launch.at(10, 1), Launch.at(11, 7)]
    graph = model(layers=1, rows=7, positions=24, features=24)
    program = shard(graph, width=5, height=3, architecture=tool.ARCHITECTURE)
    estimator = Estimator(program, tool.ARCHITECTURE)
    for launch, run in zip(launches, tool.measure(program, launches), strict=True):
        estimate = estimator.estimate(launch)
        for one, cycles in zip(estimate.operations, run.operations, strict=True):
            if one.kind not in LookUpTokens.kinds:  # which depends on the tokens
                assert abs(one.cycles - cycles) <= max(0.03 * cycles, 40), (launch, one, cycles)
        assert abs(estimate.cycles - run.cycles) <= 0.02 * run.cycles


def _hand_out(times):
    left = iter(times)
    return lambda _launch: next(left)


def test_levels_are_compared_launch_by_launch(tool, monkeypatch):
    ends = {
        "-O0": [(0, 1000), (50, 250)],
        "-O1": [(7, 957), (0, 190)],
        "default": [(0, 940), (0, 189)],
    }
    monkeypatch.setattr(
        tool.Loaded, "of", lambda _program, *, level: SimpleNamespace(run=_hand_out(ends[level]))
    )
    launches = (Launch.at(0, 6), Launch.at(6, 1))
    cost = sys.modules["cost_programs"].CostProgram("Tiny", None, 3, 2, launches)
    monkeypatch.setattr(type(cost), "shard", lambda _cost: None)
    assert list(tool.level_rows([cost])) == [
        "| Tiny | 3×2 | 6 rows | 1,000 | 950 | 940 | -5.0 % |",
        "| Tiny | 3×2 | 1 token at position 6 | 200 | 190 | 189 | -5.0 % |",
    ]

"""The size check counts code, not comments, and holds packages to their budgets of lines."""

import importlib.util
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_sizes.py"


@pytest.fixture
def check_sizes(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("check_sizes", TOOL)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "check_sizes", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def findings(check_sizes, tmp_path, text):
    path = tmp_path / "file.py"
    path.write_text(text)
    return [str(finding) for finding in check_sizes.check_python(path)]


def test_comments_and_docstrings_do_not_count(check_sizes, tmp_path):
    text = '"""Title.\n' + "more\n" * 700 + '"""\n' + "# why\n\n" * 700 + "x = 1\n"
    assert findings(check_sizes, tmp_path, text) == []


def test_a_long_file_is_found(check_sizes, tmp_path):
    assert findings(check_sizes, tmp_path, "x = 1\n" * 601) == [
        "file.py: 601 lines of code, at most 600; split it"
    ]


def test_a_long_function_is_found(check_sizes, tmp_path):
    text = "def f():\n" + "    x = 1\n" * 60
    assert findings(check_sizes, tmp_path, text) == [
        "file.py::f: 61 lines of code, at most 60; split it"
    ]


def test_csl_files_count_too(check_sizes, tmp_path):
    path = tmp_path / "file.csl"
    path.write_text("// why\n\n" * 900 + "var x: i16 = 0;\n" * 601)
    assert [finding.num_lines for finding in check_sizes.check_csl(path)] == [601]


def packages(check_sizes, tmp_path, budgets):
    """Make three packages of ten lines each; return what the check says of them, and its status."""
    for folder in ("onewafer", "onewafer/graph/operations", "cerebras/sdk"):
        (tmp_path / "src" / folder).mkdir(parents=True)
        (tmp_path / "src" / folder / "module.py").write_text("# why\n\n" * 5)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "lines.toml").write_text(budgets)
    return check_sizes.main()


def test_packages_within_their_budgets_are_printed(check_sizes, tmp_path, capsys):
    assert packages(check_sizes, tmp_path, "onewafer = 10\ngraph = 12\ncerebras = 10\n") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["graph", "10", "12"] in rows
    assert rows[-1] == ["in", "all", "30", "32"]


def test_a_package_above_its_budget_is_refused(check_sizes, tmp_path, capsys):
    assert packages(check_sizes, tmp_path, "onewafer = 10\ngraph = 9\ncerebras = 10\n") == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "graph: 10 lines, 1 above its budget of 9; delete as many, or raise the number in "
        "tools/lines.toml and say why in the commit"
    )


def test_packages_and_budgets_come_in_pairs(check_sizes, tmp_path, capsys):
    assert packages(check_sizes, tmp_path, "onewafer = 10\nmesh = 9\ncerebras = 10\n") == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "graph: it has no budget; add `graph = 10` to tools/lines.toml",
        "mesh: there is no such package; delete its line in tools/lines.toml",
    ]


def test_tests_without_a_subject_are_refused(check_sizes, tmp_path, capsys):
    budgets = "onewafer = 10\ngraph = 10\ncerebras = 10\n"
    for folder in ("graph", "grafs", "docs/pages"):
        path = tmp_path / "tests" / folder / "test_one.py"
        path.parent.mkdir(parents=True)
        path.touch()
    assert packages(check_sizes, tmp_path, budgets) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "tests/grafs: there is no onewafer/grafs; move its tests to their subject"
    )

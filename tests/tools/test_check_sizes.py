"""The size check counts code, not comments."""

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

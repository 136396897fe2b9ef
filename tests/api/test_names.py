"""`import onewafer`: its names, what it loads, what type checkers see."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import onewafer

STUB = Path(onewafer.__file__).with_suffix(".pyi")
HEAVY = ("numpy", "numba", "torch", "rich", "typer", "pandas", "onewafer.api", "onewafer.errors")

SOURCES = {
    "layout.csl": 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl"); }',
    "pe.csl": "",
}


def loaded_by(code):
    """Return which of the heavy modules a fresh Python has after some code."""
    program = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    return sorted(set(HEAVY).intersection(done.stdout.decode().split()))


def test_import_loads_nothing_but_itself():
    assert loaded_by("import onewafer; dir(onewafer)") == []


def test_csl_needs_no_torch_and_compiling_no_numba():
    code = f"import onewafer; onewafer.compile_csl('layout.csl', sources={SOURCES})"
    assert not {"numba", "torch", "rich", "pandas"}.intersection(loaded_by(code))


def test_names_that_are_promised_are_there():
    assert dir(onewafer) == sorted(onewafer.__all__)
    for name in onewafer.__all__:
        value = getattr(onewafer, name)
        assert getattr(value, "__doc__", None), name


def test_other_names_are_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'onewafer' has no attribute 'wafers'"):
        _ = onewafer.wafers
    with pytest.raises(ImportError, match="cannot import name 'wafers' from 'onewafer'"):
        from onewafer import wafers  # noqa: F401, PLC0415


def test_type_checkers_see_the_same_names():
    seen = set()
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        match node:
            case ast.ImportFrom():
                seen.update(alias.asname for alias in node.names)
            case ast.AnnAssign(target=ast.Name(id=name)):
                seen.add(name)
    assert seen == set(onewafer.__all__)

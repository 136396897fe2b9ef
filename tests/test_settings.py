"""The environment is read in one place."""

import ast
import os
from pathlib import Path

import onewafer
from onewafer.settings import Settings


def test_import_paths_are_split(monkeypatch):
    monkeypatch.setenv("CSL_IMPORT_PATH", os.pathsep.join(["/a", "", "b"]))
    assert Settings.from_environment().csl_import_path == (Path("/a"), Path("b"))


def test_an_empty_environment_is_fine(monkeypatch):
    monkeypatch.delenv("CSL_IMPORT_PATH", raising=False)
    assert Settings.from_environment().csl_import_path == ()


def test_nobody_else_reads_the_environment():
    package = Path(onewafer.__file__).parent
    for path in package.rglob("*.py"):
        if path.name == "settings.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_environment = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            assert not is_environment, f"{path.relative_to(package)}:{node.lineno}"

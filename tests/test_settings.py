"""The environment is read in one place."""

import os
from pathlib import Path

from onewafer.settings import Settings


def test_import_paths_are_split(monkeypatch):
    monkeypatch.setenv("CSL_IMPORT_PATH", os.pathsep.join(["/a", "", "b"]))
    assert Settings.from_environment().csl_import_path == (Path("/a"), Path("b"))


def test_an_empty_environment_is_fine(monkeypatch):
    monkeypatch.delenv("CSL_IMPORT_PATH", raising=False)
    assert Settings.from_environment().csl_import_path == ()

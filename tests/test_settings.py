"""The environment is read in one place."""

import os
from pathlib import Path

import pytest

from onewafer.errors import ConfigurationError
from onewafer.settings import Settings


def test_import_paths_are_split(monkeypatch):
    monkeypatch.setenv("CSL_IMPORT_PATH", os.pathsep.join(["/a", "", "b"]))
    assert Settings.from_environment().csl_import_path == (Path("/a"), Path("b"))


def test_an_empty_environment_is_fine(monkeypatch):
    monkeypatch.delenv("CSL_IMPORT_PATH", raising=False)
    assert Settings.from_environment().csl_import_path == ()


def test_a_cycle_limit_is_a_whole_number(monkeypatch):
    monkeypatch.setenv("ONEWAFER_MAX_CYCLES", "1_000")
    assert Settings.from_environment().max_cycles == 1000
    monkeypatch.setenv("ONEWAFER_MAX_CYCLES", "")
    assert Settings.from_environment().max_cycles is None
    for text in ("0", "-1", "1e6", "ten", "²"):
        monkeypatch.setenv("ONEWAFER_MAX_CYCLES", text)
        with pytest.raises(ConfigurationError, match="a whole number of at least 1"):
            Settings.from_environment()

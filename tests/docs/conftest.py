"""Make what lies in `tools` importable: as `tools.…` at the root, and as the scripts import it."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
for folder in (str(ROOT), str(ROOT / "tools")):
    if folder not in sys.path:
        sys.path.append(folder)


@pytest.fixture
def kernel_folder(tmp_path, monkeypatch):
    """An empty folder that cells run in, with the commands and the width that pages show."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    commands = Path(sys.executable).parent  # as in an environment that is activated
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    return tmp_path

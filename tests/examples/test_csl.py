"""The CSL examples and the how-to about them, run as a user runs them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOW_TO = (ROOT / "docs/how-to/csl-on-its-own.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("arch", [pytest.param("wse2", marks=pytest.mark.slow), "wse3"])
def test_examples_pass(arch, tmp_path):
    outcomes = tmp_path / "outcomes.json"
    options = ["--arch", arch, "--json", str(outcomes)]
    tool = [sys.executable, "tools/conformance.py", "examples/csl"]
    result = subprocess.run(
        [*tool, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
    for outcome in json.loads(outcomes.read_text()):
        assert outcome["cycles"] > 0


@pytest.mark.slow
def test_the_how_to_works(tmp_path):
    """Its commands, then its Python, in a copy of the example."""
    shell = re.search(r"```\n(cd .*?)```", HOW_TO, re.DOTALL)
    python = re.search(r"```python\n(.*?)```", HOW_TO, re.DOTALL)
    assert shell
    assert python
    shutil.copytree(ROOT / "examples" / "csl", tmp_path / "examples" / "csl")
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    script = f"set -e\n{shell[1]}python - <<'END'\n{python[1]}END\n"
    result = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "SUCCESS!" in result.stdout

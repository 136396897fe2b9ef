"""The example whose sequences take several launches: the same losses with and without the wafer."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from onewafer.cli.main import execute

SCRIPT = Path(__file__).parents[2] / "examples" / "gpt.py"


@pytest.mark.slow
def test_losses_are_the_same_in_several_launches(tmp_path, capsys):
    plain = subprocess.run(
        [sys.executable, SCRIPT], check=True, capture_output=True, text=True
    ).stdout
    assert re.fullmatch(r"(step \d: loss \d\.\d{4}\n){3}", plain)
    report = tmp_path / "report.json"
    options = ["--fidelity", "model", "--rectangle", "4x4", "--json", str(report)]
    assert execute(["run", *options, str(SCRIPT)]) == 0
    assert capsys.readouterr().out == plain
    fields = json.loads(report.read_text())
    assert fields["host"] == []
    (program,) = fields["programs"]
    assert program["step"]["samples"] == program["cache"]["context"] == 64
    assert program["bucket_rows"] < 64

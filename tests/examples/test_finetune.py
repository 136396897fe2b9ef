"""The example that fine-tunes a language model: the same losses with and without the wafer."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from onewafer.cli.main import execute

SCRIPT = Path(__file__).parents[2] / "examples" / "finetune.py"
SMALL = ["--layers", "10", "--features", "12", "--heads", "3", "--words", "11"]


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", ["model", "fabric"])
def test_losses_are_the_same_where_layers_are_computed_again(
    fidelity, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *SMALL])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    plain = capsys.readouterr().out
    assert "onewafer." not in SCRIPT.read_text()
    assert re.fullmatch(r"(step \d: loss \d\.\d{4}\n){2}", plain)
    report = tmp_path / "report.json"
    options = ["--fidelity", fidelity, "--rectangle", "8x8", "--json", str(report)]
    assert execute(["run", *options, str(SCRIPT), *SMALL]) == 0
    assert capsys.readouterr().out == plain
    fields = json.loads(report.read_text())
    assert fields["host"] == []
    (program,) = fields["programs"]
    assert program["memory"]["kept_bytes"] > 0
    assert program["step"]["steps"] == 2

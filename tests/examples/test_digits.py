"""The digits example: the same output with and without the wafer."""

import json
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "digits.py"


def run(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)


def test_script_is_ordinary_and_its_output_the_same_on_the_wafer(tmp_path):
    report = tmp_path / "report.json"
    plain = run(SCRIPT)
    main = "import sys; from onewafer.cli.main import execute; sys.exit(execute(sys.argv[1:]))"
    wafer = run("-c", main, "run", "--json", report, SCRIPT)
    assert "onewafer" not in SCRIPT.read_text()
    assert wafer.stdout == plain.stdout
    accuracy = re.fullmatch(r"accuracy on 360 held-out digits: (\d+\.\d)%\n", plain.stdout)
    assert accuracy is not None
    assert float(accuracy[1]) > 95
    fields = json.loads(report.read_text())
    assert fields["wafer_calls"] == 6
    assert fields["fallbacks"] == []
    assert [entry["module"] for entry in fields["gradient_calls"]] == ["Sequential"]
    (program,) = fields["programs"]
    assert (program["fidelity"], program["samples"]) == ("fabric", 360)
    assert program["memory"]["weight_bytes"] > 0

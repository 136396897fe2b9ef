"""The digits example for a GPU: unmodified on the wafer, with the results of the CPU example."""

import json
import re
import runpy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from onewafer.cli.main import execute

FOLDER = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run_on_wafer(capsys):
    """Return `run_on_wafer(*arguments)`: `onewafer run` in this process, which has PyTorch."""

    def run(*arguments):
        capsys.readouterr()
        options = ["--rectangle", "4x4", "--fidelity", "model"]
        code = execute(["run", *options, *map(str, arguments)])
        return Done(code, *capsys.readouterr())

    return run


@pytest.mark.slow
def test_script_for_cuda_runs_on_the_wafer(run_on_wafer, tmp_path, capsys):
    script, report = FOLDER / "digits_cuda.py", tmp_path / "report.json"
    assert "onewafer" not in script.read_text()
    done = run_on_wafer("--json", report, script)
    assert done.returncode == 0, done.stderr
    accuracy, time = done.stdout.splitlines()
    runpy.run_path(str(FOLDER / "digits.py"), run_name="__main__")
    plain = capsys.readouterr().out
    assert f"{accuracy}\n" == plain
    milliseconds = re.fullmatch(r"inference took (\d+\.\d{3}) ms on onewafer WSE-3 .*", time)
    assert milliseconds is not None
    assert done.stderr.count("cuda:0 is the wafer") == 1
    fields = json.loads(report.read_text())
    assert (fields["wafer_calls"], fields["host"]) == (20 * 23 + 6, [])
    (program,) = fields["programs"]
    inference = program["phases"][0]
    assert (inference["phase"], inference["launches"], inference["rows"]) == ("batch", 6, 360)
    expected = inference["seconds_per_row"] * inference["rows"] * 1e3
    assert abs(float(milliseconds[1]) - expected) <= 5e-4  # printed with three digits


def test_alias_can_be_turned_off_and_the_line_silenced(run_on_wafer, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\nprint(torch.cuda.is_available(), torch.ones(1).cuda().device)\n"
    )
    on_demand = run_on_wafer("--quiet", script)
    assert (on_demand.stdout, on_demand.stderr) == ("False cuda:0\n", "")
    forced = run_on_wafer("--cuda-alias", script)
    assert forced.stdout == "True cuda:0\n"
    assert forced.stderr.startswith("onewafer: the script asks for CUDA: cuda:0 is the wafer")
    if not torch.cuda.is_available():
        off = run_on_wafer("--quiet", "--no-cuda-alias", script)
        assert off.returncode == 1
        assert "cuda:0 is the wafer" not in off.stderr


def test_script_for_several_gpus_gets_one_message(run_on_wafer, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import torch\ntorch.distributed.init_process_group('nccl')\n")
    done = run_on_wafer(script)
    assert done.returncode == 2
    assert done.stderr.count("group of GPUs (backend 'nccl')") == 1
    assert "line 2" in done.stderr
    assert "Traceback" not in done.stderr

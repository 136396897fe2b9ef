"""The digits example for a GPU: unmodified on the wafer, with the results of the CPU example."""

import json
import re
import subprocess
import sys
from pathlib import Path

import torch

FOLDER = Path(__file__).parents[2] / "examples"
MAIN = "import sys; from onewafer.cli.main import execute; sys.exit(execute(sys.argv[1:]))"


def run(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)


def run_on_wafer(*arguments):
    return run("-c", MAIN, "run", "--rectangle", "4x4", "--fidelity", "model", *arguments)


def test_script_for_cuda_runs_on_the_wafer(tmp_path):
    script, report = FOLDER / "digits_cuda.py", tmp_path / "report.json"
    assert "onewafer" not in script.read_text()
    done = run_on_wafer("--json", report, script)
    assert done.returncode == 0, done.stderr
    accuracy, time = done.stdout.splitlines()
    plain = run(FOLDER / "digits.py").stdout
    assert f"{accuracy}\n" == plain
    milliseconds = re.fullmatch(r"inference took (\d+\.\d{3}) ms on onewafer WSE-3 .*", time)
    assert milliseconds is not None
    assert done.stderr.count("cuda:0 is the wafer") == 1
    fields = json.loads(report.read_text())
    assert (fields["wafer_calls"], fields["fallbacks"]) == (6, [])
    (program,) = fields["programs"]
    assert program["samples"] == 360
    expected = program["seconds_per_launch"] * program["launches"] * 1e3
    assert abs(float(milliseconds[1]) - expected) <= 5e-4  # printed with three digits


def test_alias_can_be_turned_off_and_the_line_silenced(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\nprint(torch.cuda.is_available(), torch.ones(1).cuda().device)\n"
    )
    on = run_on_wafer("--quiet", script)
    assert (on.stdout, on.stderr) == ("True cuda:0\n", "")
    forced = run_on_wafer("--cuda-alias", script)
    assert forced.stderr.startswith("onewafer: the script asks for CUDA: cuda:0 is the wafer")
    if not torch.cuda.is_available():
        off = run_on_wafer("--quiet", "--no-cuda-alias", script)
        assert off.returncode == 1
        assert "cuda:0 is the wafer" not in off.stderr


def test_script_for_several_gpus_gets_one_message(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import torch\ntorch.distributed.init_process_group('nccl')\n")
    done = run_on_wafer(script)
    assert done.returncode == 2
    assert done.stderr.count("group of GPUs (backend 'nccl')") == 1
    assert "line 2" in done.stderr
    assert "Traceback" not in done.stderr

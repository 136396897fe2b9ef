"""What docs/how-to/seeing-inside.md shows is what the commands print and draw today."""

import re
import shutil
from pathlib import Path

import pytest

from onewafer.cli.csl import cslc
from onewafer.cli.main import execute

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/how-to/seeing-inside.md").read_text(encoding="utf-8")
PICTURE = ROOT / "docs" / "pictures" / "route-multicast.svg"


def shown(command):
    """Return the lines that the page shows under a command; `…` stands for others."""
    (block,) = [b for b in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) if f"$ {command}\n" in b]
    lines = block.split(f"$ {command}\n")[1].splitlines()
    return [line for line in lines if line != "…"]


@pytest.fixture
def axpy(tmp_path, monkeypatch):
    """Compile the example as its `commands_wse3.sh` does, in a folder of its own."""
    source = ROOT / "examples" / "csl" / "axpy-sum"
    for path in source.glob("*.*"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    command = (source / "commands_wse3.sh").read_text(encoding="utf-8").replace("\\\n", "")
    (options,) = re.findall(r"^cslc (.*)$", command, re.MULTILINE)
    assert cslc.execute(options.split()) == 0


@pytest.mark.usefixtures("axpy")
def test_the_listing_is_that_of_today(capsys):
    expected = shown("onewafer csl listing out --pe 1,0")
    capsys.readouterr()
    assert execute(["csl", "listing", "out", "--pe", "1,0"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in expected if line not in printed] == []


@pytest.mark.usefixtures("axpy")
def test_the_sums_of_the_trace_are_those_of_today(capsys):
    """By launches instead of the script, which needs a process of its own."""
    options = "-o axpy.perfetto-trace -o sim.log"
    lines = shown(f"onewafer csl trace {options} -- cs_python run.py --name out")
    sums = [line for line in lines if "cycles" in line]
    capsys.readouterr()
    launches = ["--launch", "axpy_sum:3", "--launch", "axpy_sum:-0.5"]
    assert execute(["csl", "trace", "-o", "sim.log", *launches, "out"]) == 0
    printed = capsys.readouterr().err.splitlines()
    assert [line for line in sums[1:] if line not in printed] == []  # the first is the note
    assert len(sums) == 3


def shown_trace():
    return shown(
        "onewafer csl trace -o axpy.perfetto-trace -o sim.log -- cs_python run.py --name out"
    )


def test_the_picture_is_that_of_today(capsys, tmp_path):
    program = ROOT / "src" / "onewafer" / "benchmarks" / "programs" / "all_reduce.csl"
    folder, picture = tmp_path / "all_reduce", tmp_path / "multicast.svg"
    (options,) = re.findall(r"^\$ cslc (.*) all_reduce\.csl (.*) -o ", PAGE, re.MULTILINE)
    arguments = " ".join(options).split()
    assert cslc.execute([*arguments, str(program), "-o", str(folder)]) == 0
    assert execute(["csl", "routes", str(folder), "--color", "multicast", "-o", str(picture)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    expected = shown("onewafer csl routes /tmp/all_reduce --color multicast -o multicast.svg")
    assert line.split(": ", 1)[1] == expected[0].split(": ", 1)[1]
    assert picture.read_text(encoding="utf-8") == PICTURE.read_text(encoding="utf-8")

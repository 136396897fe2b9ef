"""A script under `run_script` behaves as under plain `python`."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from onewafer.errors import ConfigurationError
from onewafer.host import RunLimits
from onewafer.host.runs.progress import RunObserver
from onewafer.pytorch import Fidelity, Session, WaferOptions, run_script

SURROUNDINGS = """
    import os, pickle, sys
    import neighbour

    class Thing: pass

    print(__name__, __file__, sys.argv, sys.path[0], neighbour.VALUE)
    print(sorted(set(globals()) - {"__annotations__"}))
    print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)
    print(sys.modules["__main__"].Thing is Thing)
"""

DEEP_ERROR = """
    import torch
    from torch import nn

    class Broken(nn.Module):
        def forward(self, x):
            try:
                nn.Linear(2, 2)(x)
            except RuntimeError as error:
                group = ExceptionGroup("several", [error, KeyError("other")])
                raise ValueError("broken") from group

    def main():
        with torch.no_grad():
            nn.Sequential(nn.Identity(), Broken())(torch.ones(1, 1))

    main()
"""

HOOK = """
    import sys
    sys.excepthook = lambda kind, value, traceback: print("hook", kind.__name__, value)
    raise OSError("no")
"""


ARGUMENTS = ["--flag", "value"]
HARNESS = """
import os
import sys
from pathlib import Path
from onewafer.pytorch import *

*folders, arguments = eval(sys.argv[1])
sys.argv[1:] = []
for folder in folders:
    child = os.fork()  # this process has imported PyTorch already
    if child == 0:
        os.chdir(folder)
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY), descriptor)
        session = Session(WaferOptions(fidelity=Fidelity.MODEL))
        sys.exit(run_script(Path("script.py"), arguments, session).exit_code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def run(command, folder):
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False
    )


def test_output_traceback_and_exit_code_are_plain_python_s(tmp_path):
    folders = [tmp_path / name for name in ("surroundings", "deep", "hook", "syntax")]
    texts = (SURROUNDINGS, DEEP_ERROR, HOOK, "x = = 1")
    for folder, text in zip(folders, texts, strict=True):
        folder.mkdir()
        (folder / "neighbour.py").write_text("VALUE = 7\n")
        (folder / "script.py").write_text(textwrap.dedent(text))
    harness = run(["-c", HARNESS, repr([*map(str, folders), ARGUMENTS])], tmp_path)
    assert harness.returncode == 0, harness.stderr
    for folder, code in zip(folders, harness.stdout.split(), strict=True):
        plain = run(["script.py", *ARGUMENTS], folder)
        ours = tuple((folder / name).read_text() for name in ("stdout", "stderr"))
        assert (int(code), *ours) == (plain.returncode, plain.stdout, plain.stderr), folder.name


@pytest.mark.parametrize("code", ["", "None", "3", "'message'", "True"])
def test_exit_codes(tmp_path, code, capsys):
    script = tmp_path / "script.py"
    script.write_text(f"import sys\nsys.exit({code})\n")
    result = run_script(script, [], Session(WaferOptions()))
    assert result.exit_code == {"3": 3, "'message'": 1, "True": 1}.get(code, 0)
    assert capsys.readouterr().err == ("message\n" if code == "'message'" else "")


def test_interrupt_has_its_own_code(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text("raise KeyboardInterrupt\n")
    assert run_script(script, [], Session(WaferOptions())).exit_code == 130
    assert "KeyboardInterrupt" in capsys.readouterr().err


def test_interpreter_is_left_as_it_was(tmp_path):
    before = sys.argv, sys.path[:], sys.modules["__main__"]
    script = tmp_path / "script.py"
    script.write_text("import sys\nsys.path.append('x')\nsys.argv.append('y')\n")
    assert run_script(script, [], Session(WaferOptions())).exit_code == 0
    assert (sys.argv, sys.path, sys.modules["__main__"]) == before


def test_refusal_of_ours_is_handed_back_without_a_traceback(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\nwith torch.no_grad():\n    torch.nn.Linear(900, 900)(torch.ones(1, 900))\n"
    )
    options = WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1), strict=True)
    result = run_script(script, [], Session(options))
    assert isinstance(result.error, ConfigurationError)
    assert result.exit_code == 2
    assert capsys.readouterr().err == ""


def test_missing_scripts_are_refused(tmp_path):
    session = Session(WaferOptions())
    with pytest.raises(ConfigurationError, match=r"there is no script .*nowhere\.py"):
        run_script(tmp_path / "nowhere.py", [], session)
    with pytest.raises(ConfigurationError, match="is a directory; name the script in it"):
        run_script(Path(tmp_path), [], session)


CAUGHT = """
    import torch

    with torch.no_grad():
        for _ in range(2):
            try:
                torch.nn.Linear(64, 64)(torch.ones(64, 64))
            except KeyboardInterrupt as error:
                print("caught")
                last = error
"""


@pytest.mark.parametrize(("end", "untold"), [("", 2), ("raise OSError from last", 1)])
def test_a_caught_ctrl_c_is_told_with_its_checkpoint(tmp_path, capsys, end, untold):
    class Impatient(RunObserver):
        interval_seconds = 0

        def show(self, _progress):
            os.kill(os.getpid(), signal.SIGINT)

    script, lines = tmp_path / "script.py", []
    script.write_text(textwrap.dedent(CAUGHT) + end)
    options = WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(1, 1))
    limits = RunLimits(observer=Impatient(), checkpoint_folder=tmp_path)
    run_script(script, [], Session(options, limits=limits), announce=lines.append)
    said = capsys.readouterr()
    assert said.out == 2 * "caught\n"
    begin = "the script has caught a Ctrl-C: interrupted in the launch of"
    assert len(lines) == sum(line.startswith(begin) for line in lines) == untold
    checkpoints = [*tmp_path.glob("*.checkpoint")]
    assert len(checkpoints) == 2
    for checkpoint in checkpoints:
        assert (str(checkpoint) in said.err) != (str(checkpoint) in "".join(lines))

"""`--record` and `--view` of commands that run CSL."""

import pytest

from onewafer.cli.main import execute
from onewafer.image import save
from onewafer.recording import RecordingFile, Window
from tests.host.runs.test_tracing import streaming


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(streaming(), tmp_path / "out")
    return "out"


def trace(*arguments):
    return execute(["csl", "trace", "-o", "a.wafer-trace", *arguments])


def test_a_folder_is_recorded_beside_its_trace(folder, tmp_path, capsys):
    options = ("--record", "run.parquet", "--sample-every", "7")
    assert trace("--launch", "main", *options, folder) == 0
    header = RecordingFile(tmp_path / "run.parquet").header

    assert "onewafer view run.parquet shows it" in capsys.readouterr().err
    assert (header.title, header.ending) == ("out", "")
    assert [launch.name for launch in header.launches] == ["main"]
    assert header.windows[0] == Window(0, 7)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--record", "no/run.parquet", "out"], "--record no/run.parquet: there is no directory"),
        (["--record", "run.parquet", "old.wafer-trace"], "it takes -o and no more"),
        (["--view", "old.wafer-trace"], "it takes -o and no more"),
        (["--sample-every", "7", "out"], "--sample-every is for a run that is recorded, and"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_recorded_is_said_before_the_run(arguments, said, capsys):
    assert trace(*arguments) == 2
    assert said in capsys.readouterr().err

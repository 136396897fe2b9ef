"""A recording says which script ran, and which commit its folder is at."""

import subprocess

import pytest

from onewafer.recording.provenance import read_provenance


@pytest.fixture
def script(tmp_path, monkeypatch):
    path = tmp_path / "train.py"
    path.write_text("pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", "--lr", "1e-3"])
    return path


def git(folder, *arguments):
    options = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-C", str(folder))
    found = subprocess.run(
        ("git", *options, *arguments), check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


def test_a_script_its_arguments_and_its_commit_are_named(script):
    git(script.parent, "init")
    git(script.parent, "add", ".")
    git(script.parent, "commit", "-m", "x")
    commit = git(script.parent, "rev-parse", "--short=12", "HEAD")
    found = read_provenance()

    assert (found.script, found.arguments) == ("train.py", ("--lr", "1e-3"))
    assert found.commit == commit
    assert found.started.endswith("Z")


def test_files_that_differ_from_the_commit_are_said(script):
    git(script.parent, "init")
    git(script.parent, "add", ".")
    git(script.parent, "commit", "-m", "x")
    script.write_text("other\n")

    assert read_provenance().commit.endswith("+")


@pytest.mark.usefixtures("script")
@pytest.mark.parametrize("argv", [["/usr/bin/onewafer", "csl", "trace"], [""], []])
def test_what_is_no_script_is_not_named(argv, monkeypatch):
    monkeypatch.setattr("sys.argv", argv)
    found = read_provenance()

    assert (found.script, found.arguments, found.commit) == ("", (), "")

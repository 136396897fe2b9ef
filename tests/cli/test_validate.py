"""`onewafer validate fabric` as a user meets it."""

import json

import pytest

from onewafer.cli.main import execute


def test_one_case_with_its_points(tmp_path, capsys):
    report = tmp_path / "fabric.json"
    arguments = ["validate", "fabric", "--engine", "reference", "--only", "hop"]
    assert execute([*arguments, "--json", str(report)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "calibration: 1 of 1 cases within target. 4 points on the reference engine" in out
    assert "east, hops 1 to 32" in out
    (case,) = json.loads(report.read_text())["cases"]
    assert (case["name"], case["is_hit"]) == ("hop", True)


def test_page_of_the_manual(tmp_path, capsys):
    page = tmp_path / "page.md"
    arguments = ["validate", "fabric", "--engine", "reference", "--only", "hop"]
    assert execute([*arguments, "--page", str(page)]) == 0
    capsys.readouterr()
    text = page.read_text()
    assert (
        "\n```console\n$ onewafer validate fabric --only hop --engine reference\nPublished figures"
        in text
    )
    assert "| `hop` | one hop (cycles) | a multicast of 8 wavelets" in text


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 1)])
def test_a_miss_is_an_error_only_if_strict(strict, code, capsys):
    arguments = ["validate", "fabric", "--engine", "reference", "--only", "hop-far-west"]
    assert execute([*arguments, *strict]) == code
    assert "hop-far-west  not modelled" in capsys.readouterr().out


def test_a_hit_passes_strict(capsys):
    arguments = ["validate", "fabric", "--engine", "reference", "--only", "send-receive-sdk"]
    assert execute([*arguments, "--strict"]) == 0
    capsys.readouterr()


def test_unknown_case(capsys):
    assert execute(["validate", "fabric", "--only", "hops"]) != 0
    err = capsys.readouterr().err
    assert err.startswith("onewafer: there is no case 'hops'; the cases are:\n  line-multicast\n")


def test_unknown_engine(capsys):
    assert execute(["validate", "fabric", "--only", "hop", "--engine", "quick"]) != 0
    assert "--engine quick: there is no such engine; choose from fast" in capsys.readouterr().err


def test_json_into_a_missing_directory_is_refused_before_anything_runs(tmp_path, capsys):
    target = tmp_path / "missing" / "fabric.json"
    assert execute(["validate", "fabric", "--json", str(target)]) != 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "there is no directory" in err


@pytest.mark.parametrize("option", ["--json", "--page"])
def test_a_directory_is_refused_before_anything_runs(option, tmp_path, capsys):
    assert execute(["validate", "fabric", option, str(tmp_path)]) != 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"onewafer: {option} {tmp_path}: that is a directory; name a file" in err


def test_json_that_cannot_be_written_after_all_is_said(capsys):
    arguments = ["validate", "fabric", "--engine", "reference", "--only", "completion-task-sdk"]
    assert execute([*arguments, "--json", "/dev/full"]) != 0
    assert "onewafer: /dev/full: No space left on device" in capsys.readouterr().err

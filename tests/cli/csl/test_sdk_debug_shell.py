"""The older name of `cslc`."""

import pytest

from onewafer.cli.csl.sdk_debug_shell import execute

PROGRAM = 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{}); }'


def test_compile_is_cslc(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layout.csl").write_text(PROGRAM)
    (tmp_path / "pe.csl").write_text("var x: u16;\n")
    arguments = ["layout.csl", "--fabric-dims=8,3", "--fabric-offsets=4,1", "-o=there", "--memcpy"]
    assert execute(["compile", *arguments]) == 0
    assert (tmp_path / "there" / "out.json").exists()
    (tmp_path / "pe.csl").write_text("var\n")
    assert execute(["compile", *arguments]) == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [("visualize", "onewafer csl routes"), ("smoke", "example"), ("attach", "`compile`")],
)
def test_other_commands_name_what_there_is_instead(capsys, command, said):
    assert execute([command, "--artifact_dir", "out"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"sdk_debug_shell: there is no `{command}` here; ")
    assert said in message


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_points_to_cslc(capsys, arguments):
    assert execute(arguments) == 0
    assert "`cslc --help`" in capsys.readouterr().out

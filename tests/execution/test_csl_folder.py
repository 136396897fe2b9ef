"""Folders that the CSL of programs is written to."""

from dataclasses import replace

import pytest

from onewafer.errors import ConfigurationError
from onewafer.execution.csl_folder import write_csl
from onewafer.mesh import EmittedProgram

PROGRAM = EmittedProgram(
    files={"layout.csl": "layout {}\n", "pe.csl": "comptime {}\n"},
    entry="layout.csl",
    params={"width": "2", "height": "3"},
    position="entry",
    kept="model.state",
    is_sequence=False,
    has_slots=False,
    inputs={},
    parameters={},
    outputs={},
)


def write(folder, *, name="Net", what="Net, 1 row", program=PROGRAM):
    return write_csl(program, folder, name=name, what=what, arch="toy")


def test_the_entry_says_how_to_compile_it(tmp_path):
    written = write(tmp_path / "csl")
    assert written == tmp_path / "csl" / "Net"
    assert (written / "pe.csl").read_text() == "comptime {}\n"
    assert (written / "layout.csl").read_text() == (
        "// Net, 1 row. In this folder:\n"
        "//   cslc -O1 --arch=toy layout.csl --memcpy --params=width:2,height:3 -o out\n"
        "\n"
        "layout {}\n"
    )


def test_programs_that_are_there_stay(tmp_path):
    (tmp_path / "Net-2").touch()
    first, further = write(tmp_path), write(tmp_path)
    assert (first.name, further.name) == ("Net", "Net-3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Net", "Net-2", "Net-3"]


@pytest.mark.parametrize(
    ("name", "folder"), [("../a/b", "_a_b"), ("", "program"), ("é" * 300, "é" * 50)]
)
def test_no_name_leaves_the_folder_or_the_comment(tmp_path, name, folder):
    written = write(tmp_path / "csl", name=name, what=f"{name}\nvar x: u16;\ud800")
    assert written == tmp_path / "csl" / folder
    assert (written / "layout.csl").read_text().splitlines()[1].startswith("//   cslc ")


def test_nothing_is_left_of_what_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"CSL cannot be written to .*/file: Not a dir"):
        write(tmp_path / "file")
    broken = replace(PROGRAM, files={"layout.csl": "layout {}\n", "no/pe.csl": ""})
    with pytest.raises(ConfigurationError, match="No such file"):
        write(tmp_path, program=broken)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

"""`onewafer.compile_csl`: programs from files and texts, arguments, findings, the folder."""

import json
from pathlib import Path

import numpy as np
import pytest

import onewafer
from onewafer.cli.csl import cslc
from onewafer.errors import CompileError, ConfigurationError
from onewafer.image import listing as to_text
from onewafer.image import load as load_image

LAYOUT = """
param width: u16;
param stream: color;
param scale: f32 = 1.0;
param is_on: bool = false;
layout {
  @set_rectangle(width, 1);
  for (@range(u16, width)) |x| { @set_tile_code(x, 0, "pe.csl"); }
}
"""
PE = "var x: u16 = 7; task t() void { x += 1; }\n"
SOURCES = {"layout.csl": LAYOUT, "pe.csl": PE}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CSL_IMPORT_PATH", raising=False)
    return tmp_path


def listing(program):
    return [to_text(tile) for tile in program.image.programs]


def compile_it(**options):
    chosen = {"params": {"width": 2}, "colors": {"stream": 3}, "sources": SOURCES} | options
    return onewafer.compile_csl("layout.csl", **chosen)


def test_texts_stand_for_files_and_other_files_are_read(folder):
    (folder / "pe.csl").write_text(PE)
    program = compile_it(sources={"layout.csl": LAYOUT})
    assert (program.arch, program.width, program.height, program.symbols) == ("wse3", 2, 1, ())
    assert repr(program) == "<Program: 2×1 PEs of wse3>"
    (folder / "modules").mkdir()
    (folder / "pe.csl").rename(folder / "modules" / "pe.csl")
    found = compile_it(sources={"layout.csl": LAYOUT}, import_path=folder / "modules")
    assert found.width == program.width


def test_the_folder_is_that_of_cslc(folder):
    for name, text in SOURCES.items():
        (folder / name).write_text(text)
    arguments = ["--arch=wse2", "--params=width:2,is_on:true", "--colors=stream:3", "--memcpy"]
    assert cslc.execute(["layout.csl", *arguments, "-o", "theirs", "--fabric-dims=12,4"]) == 0
    params = {"width": np.int64(2), "is_on": True}
    program = compile_it(arch="wse2", params=params, sources=None, fabric_dims=(12, 4))
    assert program.save("ours") == Path("ours")
    for path in (folder / "theirs").iterdir():
        assert (folder / "ours" / path.name).read_bytes() == path.read_bytes()
    written = json.loads((folder / "ours" / "out.json").read_text())
    assert written["params"] == {"width": "2", "is_on": "true"}


def test_a_folder_with_other_files_is_left_alone(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ConfigurationError, match=r"^mine: the folder holds files, and none"):
        compile_it().save("mine")
    assert [path.name for path in (folder / "mine").iterdir()] == ["thesis.tex"]


def test_an_error_is_what_cslc_prints(folder, capsys):
    for name, text in {"layout.csl": LAYOUT, "pe.csl": "export var x: u16 = y;\n"}.items():
        (folder / name).write_text(text)
    assert cslc.execute(["layout.csl", "--params=width:2", "--colors=stream:3"]) == 1
    printed = capsys.readouterr().err
    with pytest.raises(CompileError) as error:
        compile_it(sources=None)
    assert printed.startswith(str(error.value))
    assert [finding.code for finding in error.value.diagnostics] == ["unknown-name"]


def test_a_warning_is_a_warning_of_python():
    with pytest.warns(onewafer.CompileWarning, match="has no param `wdith`") as caught:
        compile_it(params={"width": 2, "wdith": 3})
    assert caught[0].filename == __file__
    with pytest.raises(CompileError, match="has no param `wdith`"):
        compile_it(params={"width": 2, "wdith": 3}, warnings_as_errors=True)


def test_a_string_is_given_as_a_string_whatever_it_looks_like():
    layout = "param file: comptime_string;\n"
    layout += "layout { @set_rectangle(1, 1); @set_tile_code(0, 0, file); }\n"
    program = compile_it(params={"file": "8"}, colors={}, sources={"layout.csl": layout, "8": PE})
    assert program.image.params == {"file": '"8"'}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "wse9"}, "there is no machine 'wse9'; the catalog has: toy, wse2, wse3"),
        ({"params": {"width": [2]}}, "params: width is of type list; give a number"),
        ({"params": {2: 2}}, "params: 2 is not the name of a param"),
        ({"colors": {"stream": 0.5}}, r"colors: stream is 0\.5; give the number of a color"),
        ({"fabric_dims": 9}, r"fabric_dims=9: give two whole numbers, as in \(9, 3\)"),
        ({"fabric_offsets": (4, -1)}, r"fabric_offsets=\(4, -1\): give two whole numbers"),
        ({"import_path": "nowhere"}, "import_path: nowhere: there is no such folder"),
        ({"fp16_format": "f32"}, "fp16_format='f32': choose from f16, bf16, cb16"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        compile_it(**options)


def test_a_file_without_layout_is_no_program():
    with pytest.raises(ConfigurationError, match=r"^pe\.csl has no layout block"):
        onewafer.compile_csl("pe.csl", sources=SOURCES)


def test_what_was_saved_is_the_program(folder):
    program = compile_it()
    program.save(folder / "out")
    assert listing(onewafer.Program(load_image(folder / "out"))) == listing(program)

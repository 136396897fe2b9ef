"""`cslc` as a command: options, files written, messages and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from onewafer.arch import load_architecture
from onewafer.cli.csl import cslc
from onewafer.image import ScalarType, load
from onewafer.simulator import Machine

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = """
param width: u16;
param stream: color;
layout {
  @set_rectangle(width, 1);
  for (@range(u16, width)) |x| { @set_tile_code(x, 0, "pe.csl"); }
}
"""
ARGUMENTS = ["layout.csl", "--arch=wse2", "--params=width:2", "--colors=stream:3"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a program."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CSL_IMPORT_PATH", raising=False)
    (tmp_path / "layout.csl").write_text(LAYOUT)
    (tmp_path / "pe.csl").write_text("var x: u16 = 7; task t() void { x += 1; }\n")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_image_and_the_params_are_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cslc.execute(ARGUMENTS) == 0
    assert load(folder / "out").width == 2
    written = json.loads((folder / "out" / "out.json").read_text())
    assert written["params"] == {"width": "2"}
    assert written["colors"] == {"stream": "3"}
    assert names(folder) == ["layout.csl", "out", "pe.csl"]
    output = capsys.readouterr()
    assert output.out.startswith("wrote out: 2×1 PEs of wse2, 1 tile program")
    assert output.err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "here", "layout.csl", "--arch", "wse2", "--params", "width:2"],
        ["--params=width:2,unused:1", "-o=here", "--arch=wse3", "layout.csl", "--channels", "1"],
        ["layout.csl", "--params=width:2,unused:1", "-o=here", "--arch=wse3", "--fp16-format=f16"],
        [
            *["layout.csl", "--memcpy", "--fabric-dims=9,3", "--fabric-offsets=4,1", "-ohere"],
            *["--params=unused:1", "--params=width:2"],
            *["--width-west-buf=0", "--width-east-buf=0"],
        ],
    ],
)
def test_options_stand_anywhere_and_in_every_form(folder: Path, arguments: list[str]) -> None:
    assert cslc.execute(arguments) == 0
    assert load(folder / "here").width == 2


def test_an_older_output_is_replaced_and_other_files_in_it_are_kept(folder: Path) -> None:
    cslc.execute(ARGUMENTS)
    (folder / "out" / "notes.txt").write_text("mine")
    assert cslc.execute([*ARGUMENTS[:2], "--params=width:3"]) == 0
    assert load(folder / "out").width == 3
    assert "notes.txt" in names(folder / "out")


@pytest.mark.parametrize(("arch", "compiled_for"), [([], "wse2"), (["--arch=wse3"], "wse3")])
def test_the_machine_is_that_of_the_sdk_if_none_is_given(
    folder: Path, capsys: pytest.CaptureFixture[str], arch: list[str], compiled_for: str
) -> None:
    program = ["layout.csl", "--params=width:2", *arch]
    assert cslc.execute(program) == 0
    assert load(folder / "out").arch == compiled_for
    assert "the default" not in capsys.readouterr().err
    (folder / "pe.csl").write_text("export var x: u16 = y;\n")
    assert cslc.execute(program) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert ("without --arch it is compiled for wse2; for WSE-3" in last) is (not arch)


def test_a_compile_error_leaves_everything_as_it_was(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cslc.execute(ARGUMENTS)
    before = (folder / "out" / "image.json").read_bytes()
    (folder / "pe.csl").write_text("export var x: u16 = y;\n")
    assert cslc.execute(ARGUMENTS) == 1
    assert (folder / "out" / "image.json").read_bytes() == before
    assert names(folder) == ["layout.csl", "out", "pe.csl"]
    error = capsys.readouterr().err
    assert "--> pe.csl:1:21" in error
    assert "nothing was written" in error


def test_findings_as_json_are_all_that_is_on_stderr(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pe.csl").write_text("export var x: u16 = y;\n")
    assert cslc.execute([*ARGUMENTS, "--json-diagnostics"]) == 1
    (finding,) = json.loads(capsys.readouterr().err)
    assert finding["primary"]["path"] == "pe.csl"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("mine", "none of them is a compiled program"),
        ("layout.csl", "this is a file"),
        ("no/where", "there is no folder no"),
        ("", '-o "": give the name of a folder'),
        ("link", "this is a link to nothing, which is not there"),
    ],
)
def test_an_output_that_is_not_ours_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], output: str, said: str
) -> None:
    (folder / "mine").mkdir()
    (folder / "link").symlink_to("nothing")
    (folder / "mine" / "thesis.tex").write_text("")
    assert cslc.execute([*ARGUMENTS, "-o", output]) == 2
    assert said in capsys.readouterr().err
    assert names(folder / "mine") == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: file"),
        (["layout.csl", "--arch=wse9"], "invalid choice: 'wse9'"),
        (["layout.csl", "--params=width"], "`width` is not of the form `name:value`"),
        (["layout.csl", "--fabric-dims=8"], "`8` is not two numbers like `8,3`"),
        (["layout.csl", "--fabric-dims=-1,2"], "has a negative number"),
        (["layout.csl", "--channels=x"], "`x` is not a number"),
        (["layout.csl", "--channels=17"], "`17` is more than 16"),
        (["layout.csl", "--fp16-format=f32"], "`f32` is not a format of 16-bit floats: write f16,"),
        (["layout.csl", "--params=a:1,a:2"], "`a` is both `1` and `2`"),
        (["layout.csl", "--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_usage_errors_exit_with_two(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cslc.execute(arguments)
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("cslc: ")
    assert said in first
    assert rest == ["usage: cslc [options] file.csl; `cslc --help` lists the options"]


def test_an_import_path_that_does_not_exist_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cslc.execute([*ARGUMENTS, "--import-path=nowhere"]) == 2
    assert "--import-path=nowhere: there is no such folder" in capsys.readouterr().err


def test_a_param_given_twice_with_different_values_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cslc.execute([*ARGUMENTS, "--params=width:4"]) == 2
    assert "--params: `width` is both `2` and `4`" in capsys.readouterr().err


def test_a_file_without_layout_is_only_checked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cslc.execute(["pe.csl"]) == 0
    assert "no image was written" in capsys.readouterr().out
    assert names(folder) == ["layout.csl", "pe.csl"]


def test_a_file_without_layout_cannot_be_written_anywhere(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cslc.execute(["pe.csl", "-o", "here"]) == 1
    assert "-o here: pe.csl has no layout block" in capsys.readouterr().err
    assert names(folder) == ["layout.csl", "pe.csl"]


def test_a_failing_disk_is_told_by_the_name_the_user_gave(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, written: Path) -> None:
        raise OSError(28, "No space left on device", str(written))

    monkeypatch.setattr("onewafer.image.save", fail)
    assert cslc.execute([*ARGUMENTS, "-o", "here"]) == 2
    assert capsys.readouterr().err == "cslc: -o here: cannot be written: No space left on device\n"
    assert names(folder) == ["layout.csl", "pe.csl"]


def test_stages_can_be_dumped(capsys: pytest.CaptureFixture[str]) -> None:
    assert cslc.execute([*ARGUMENTS, "--dump-after=layout", "--dump-after", "link"]) == 0
    output = capsys.readouterr().out
    assert "rectangle 2×1" in output
    assert "memory" in output


def test_the_optimiser_can_be_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = """
        var x: u16 = 7;
        fn add() void { x += 1; }
        task t() void { add(); }
        comptime { @bind_local_task(t, @get_local_task_id(9)); }
    """
    (folder / "pe.csl").write_text(program)
    sizes: list[int] = []
    for option in ([], ["-O0"]):
        assert cslc.execute([*ARGUMENTS, *option, "--dump-after=generate"]) == 0
        sizes.append(len(capsys.readouterr().out))
    assert sizes[0] < sizes[1]


def test_a_bug_of_ours_is_said_to_be_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(cslc, "run_stages", fail)
    assert cslc.execute(ARGUMENTS) == 70
    error = capsys.readouterr().err
    assert "internal error: KeyError: 'lost'" in error
    assert "Traceback" not in error


def test_start_up_does_not_load_the_engines() -> None:
    left_out = {"numba", "typer", "torch"}
    code = f"import sys, onewafer.cli.csl.cslc; print({left_out} & set(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "set()"


ROUTED = """
param stream: color;
const back = @get_color(5);
layout {
  @set_rectangle(2, 1);
  @set_tile_code(0, 0, "pe.csl");
  @set_tile_code(1, 0, "pe.csl");
  @set_color_config(0, 0, stream, .{ .routes = .{ .rx = .{RAMP}, .tx = .{EAST} } });
  @set_color_config(1, 0, stream, .{
    .routes = .{ .rx = .{WEST}, .tx = .{RAMP} },
    .switches = .{
      .pos1 = .{ .tx = NORTH }, .pop_mode = .{ .always_pop = true }, .ring_mode = true,
    },
  });
}
"""


def test_routes_are_printed_as_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "layout.csl").write_text(ROUTED)
    assert cslc.execute(["layout.csl", "--colors=stream:3", "--out-routes"]) == 0
    table, _, _ = capsys.readouterr().out.partition("wrote")
    assert table.splitlines() == [
        "PE      color     routes                        switch",
        "(0, 0)  3 stream  RAMP -> EAST",
        "(1, 0)  3 stream  WEST -> RAMP | WEST -> NORTH  ring, always_pop",
    ]
    (folder / "layout.csl").write_text(LAYOUT)
    assert cslc.execute([*ARGUMENTS, "--out-routes"]) == 0
    assert capsys.readouterr().out.startswith("no PE configures a color\n")


@pytest.mark.parametrize(
    ("option", "written"),
    [
        (["--output-json", "layout.csl"], "here.json"),
        (["layout.csl", "--output-json=params.json"], "params.json"),
    ],
)
def test_params_are_written_beside_the_folder(
    folder: Path, option: list[str], written: str
) -> None:
    assert cslc.execute([*option, *ARGUMENTS[1:], "-o", "here"]) == 0
    assert (folder / written).read_text() == (folder / "here" / "out.json").read_text()


def test_a_file_that_cannot_be_written_is_refused_before_anything_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cslc.execute([*ARGUMENTS, "--output-json=nowhere/params.json"]) != 0
    assert "there is no folder nowhere" in capsys.readouterr().err
    assert "out" not in names(folder)


def test_options_that_change_nothing_are_accepted(folder: Path) -> None:
    ignored = ["--max-parallelism=4", "-g0", "--comptime-func-depth-limit=100"]
    assert cslc.execute([*ARGUMENTS, *ignored]) == 0
    assert load(folder / "out").width == 2


@pytest.mark.parametrize("half", [t for t in ScalarType if t.is_half], ids=str)
def test_the_16_bit_float_is_that_of_the_option(folder: Path, half: ScalarType) -> None:
    assert cslc.execute([*ARGUMENTS, f"--fp16-format={half.name.lower()}"]) == 0
    assert {program.half for program in load(folder / "out").programs} == {half}


def test_compile_time_calls_go_as_deep_as_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nested = """
fn sum(n: u16) u16 { return if (n == 0) 0 else n + sum(n - 1); }
const total = sum(20);
var x: u16 = total;
task t() void { x += 1; }
comptime { @bind_local_task(t, @get_local_task_id(8)); }
"""
    (folder / "pe.csl").write_text(nested)
    assert cslc.execute(ARGUMENTS) == 0
    assert cslc.execute([*ARGUMENTS, "--comptime-func-depth-limit=10"]) == 1
    assert "raise `--comptime-func-depth-limit`, up to 256" in capsys.readouterr().err
    (folder / "pe.csl").write_text(nested.replace("sum(20)", "sum(300)"))
    assert cslc.execute(ARGUMENTS) == 1
    assert "write the recursion as a loop" in capsys.readouterr().err


IN_SECTIONS = """
var free: u16 = 5;
var first: [3]u16 linksection(".a") = [3]u16{ 1, 2, 3 };
const table: [2]u16 linksection(".b") = [2]u16{ 8, 9 };
var second: u32 linksection(".a") = 4;
task t() void { free += first[free] + table[free]; second += 1; }
comptime { @bind_local_task(t, @get_local_task_id(9)); @activate(@get_local_task_id(9)); }
"""
OPTION = "--link-section-start-address-bytes"


def test_variables_lie_where_their_section_begins(folder: Path) -> None:
    (folder / "pe.csl").write_text(IN_SECTIONS)
    assert cslc.execute([*ARGUMENTS, f"{OPTION}=.b:40980,.a:0x9000"]) == 0
    image = load(folder / "out")
    (program,) = image.programs
    addresses = {symbol.name: symbol.address for symbol in program.symbols}
    assert addresses["second"] == 0x9000
    assert addresses["first"] == 0x9004
    assert addresses["table"] == 40980
    assert addresses["free"] < 0x9000
    machine = Machine(image, load_architecture(image.arch), engine="reference")
    assert machine.peek(0, 0, 40980, 4) == b"\x08\x00\x09\x00"
    machine.poke(0, 0, addresses["free"], b"\x01\x00")
    machine.run(max_cycles=10_000)
    assert machine.peek(0, 0, addresses["free"], 2) == (1 + 2 + 9).to_bytes(2, "little")


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (".a:4", "the runtime, the code and the stack take the memory up to"),
        (".a:40960,.b:40962", "the variables of sections before it take the memory up to 40,964"),
        (".a:40962", "begins at 40,962, and its first variable `second` lies at multiples of 4"),
        (".a:49150", "takes 49,162 B, and a PE has 49,152 B"),
        (".c:40960", "no variable of the program is in the section `.c`"),
    ],
)
def test_places_that_are_taken_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], places: str, message: str
) -> None:
    (folder / "pe.csl").write_text(IN_SECTIONS)
    assert cslc.execute([*ARGUMENTS, f"{OPTION}={places}", "--warnings-as-errors"]) == 1
    assert message in capsys.readouterr().err


def test_all_places_that_are_taken_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pe.csl").write_text(IN_SECTIONS)
    assert cslc.execute([*ARGUMENTS, f"{OPTION}=.a:4,.b:8"]) == 1
    text = capsys.readouterr().err
    assert [name for name in ("second", "first", "table") if f"`{name}` must lie" in text] == [
        "second",
        "first",
        "table",
    ]


@pytest.mark.parametrize("places", [".a", ".a:x", ":5", ".a:-4", ".a:1,.a:2"])
def test_places_have_a_form(capsys: pytest.CaptureFixture[str], places: str) -> None:
    with pytest.raises(SystemExit):
        cslc.execute([*ARGUMENTS, f"{OPTION}={places}"])
    assert OPTION in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        *("--channels=", "--width-west-buf=", "--width-east-buf=", "--max-parallelism="),
        *("--max-inlined-iterations=", "--max-comptime-steps=", "--comptime-func-depth-limit="),
        *("--fabric-dims=1,", "--fabric-offsets=1,", "--link-section-start-address-bytes=.s:"),
        *("--params=x:", "--colors=x:"),
    ],
)
@pytest.mark.parametrize("digits", [20, 5000])
def test_numbers_without_sense_are_refused(
    option: str, digits: int, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = cslc.execute([*ARGUMENTS, option + "9" * digits])
    except SystemExit as end:
        code = end.code
    if code == 0:  # an undeclared param may be any number
        assert option == "--params=x:"
    output = capsys.readouterr().err
    assert "internal error" not in output
    assert "9" * 501 not in output


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "folder", "large.csl"])
def test_what_is_no_file_is_refused(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """To read a pipe without a writer, or a device, would take forever."""
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    with (folder / "large.csl").open("wb") as file:
        file.truncate(1 << 30)
    assert cslc.execute([name]) == 1
    reason = "it has more than 64 MB" if name == "large.csl" else "it is not a file"
    expected = f"error[unreadable-file]: `{name}` cannot be read: {reason}\n"
    assert capsys.readouterr().err.startswith(expected)


def test_an_import_of_a_pipe_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "pipe.csl")
    (folder / "layout.csl").write_text('const m = @import_module("pipe.csl");\nlayout {}\n')
    assert cslc.execute(["layout.csl"]) == 1
    assert "`pipe.csl` cannot be read: it is not a file" in capsys.readouterr().err


def test_many_findings_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "layout.csl").write_text("var x = ;\n" * 250)
    assert cslc.execute(["layout.csl"]) == 1
    output = capsys.readouterr().err
    assert output.count("error[") == 100
    assert "\nand 150 more\n" in output
    assert "cslc: 250 findings, nothing was written" in output
    assert cslc.execute(["layout.csl", "--json-diagnostics"]) == 1
    *shown, last = json.loads(capsys.readouterr().err)
    assert len(shown) == 100
    assert (last["code"], last["message"]) == ("findings-left-out", "and 150 more")


def test_a_ctrl_c_ends_a_compilation(folder: Path) -> None:
    (folder / "layout.csl").write_text("layout { while (true) {} }\n")
    options = ["--verbose", f"--max-comptime-steps={10**12}"]
    code = "from onewafer.cli.commands import cslc; cslc()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *options, "layout.csl"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "cslc: parse done\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "\ncslc: interrupted\n"
    assert process.returncode == 130
    assert names(folder) == ["layout.csl", "pe.csl"]

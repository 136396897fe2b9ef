"""The stages, the source files and the placement on the fabric."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onewafer.arch import load_architecture
from onewafer.csl import (
    CompileOptions,
    DiskFiles,
    MemoryFiles,
    SourceFiles,
    Stage,
    compile_program,
    run_stages,
)
from onewafer.csl.driver import ParsedFiles
from onewafer.diagnostics import DiagnosticSink, Severity
from onewafer.errors import CompileError
from onewafer.image import SectionKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onewafer.image import Symbol, WaferImage

LAYOUT = """
param width: u16;
layout {
  @set_rectangle(width, 1);
  for (@range(u16, width)) |x| { @set_tile_code(x, 0, "pe.csl", .{ .number = x }); }
  @export_name("values", [*]u16, true);
  @export_name("main", fn () void);
}
"""
PROGRAM = """
param number: u16;
var values = @zeros([4]u16);
const values_pointer: [*]u16 = &values;
fn main() void { for (@range(u16, 4)) |i| { values[i] = number + i; } }
comptime { @export_symbol(values_pointer, "values"); @export_symbol(main); }
"""
FILES = MemoryFiles({"layout.csl": LAYOUT, "pe.csl": PROGRAM})
OPTIONS = CompileOptions(
    entry="layout.csl", architecture=load_architecture("wse2"), params={"width": "3"}
)


def findings(options: CompileOptions, files: SourceFiles = FILES) -> list[tuple[str, str]]:
    sink = DiagnosticSink()
    assert run_stages(options, files, sink).image is None
    return [(finding.code, finding.message) for finding in sink.diagnostics]


def symbol(image: WaferImage, name: str) -> Symbol:
    return next(s for s in image.programs[0].symbols if s.name == name)


def test_one_tile_program_serves_pes_that_differ_in_a_value() -> None:
    image = compile_program(OPTIONS, FILES)
    assert (image.width, image.height) == (3, 1)
    assert image.program_of_pe.tolist() == [[0, 0, 0]]
    (patch,) = image.programs[0].patches
    assert patch.values.tolist() == [0, 1, 2]
    assert symbol(image, "values").num_bytes == 8
    assert image.params == {"width": "3"}


def test_the_same_source_gives_the_same_image() -> None:
    first, second = (compile_program(OPTIONS, FILES) for _ in range(2))
    assert first.programs[0].code.tobytes() == second.programs[0].code.tobytes()
    assert first.programs[0].symbols == second.programs[0].symbols


def test_every_stage_reports_once_in_order_and_describes_itself() -> None:
    seen: dict[Stage, str] = {}

    def observe(stage: Stage, describe: Callable[[], str]) -> None:
        seen[stage] = describe()

    run_stages(OPTIONS, FILES, DiagnosticSink(), observe)
    assert list(seen) == list(Stage)
    assert "values" in seen[Stage.PLAN]
    assert "rectangle 3×1" in seen[Stage.LAYOUT]
    assert "Store" in seen[Stage.ANALYSE]
    assert "store.u16" in seen[Stage.GENERATE]
    assert all(text.endswith("\n") for text in seen.values())


def test_a_finding_stops_the_compilation_and_is_raised_rendered() -> None:
    files = MemoryFiles(
        {**FILES.texts, "pe.csl": PROGRAM.replace("number + i", "number + nothing")}
    )
    with pytest.raises(CompileError, match=r"pe\.csl:5") as caught:
        compile_program(OPTIONS, files)
    assert len(caught.value.diagnostics) == 1


def test_warnings_reach_the_sink_and_may_count_as_errors() -> None:
    options = replace(OPTIONS, params={"width": "3", "unknown": "1"})
    sink = DiagnosticSink()
    compile_program(options, FILES, sink=sink)
    assert [finding.severity for finding in sink.diagnostics] == [Severity.WARNING]
    assert findings(replace(options, warnings_are_errors=True))


def test_what_a_program_prints_is_no_warning() -> None:
    texts = FILES.texts | {"pe.csl": FILES.texts["pe.csl"] + "comptime { @comptime_print(7); }"}
    sink = DiagnosticSink()
    options = replace(OPTIONS, warnings_are_errors=True)
    assert compile_program(options, MemoryFiles(texts), sink=sink).width == 3
    assert {finding.severity for finding in sink.diagnostics} == {Severity.NOTE}


# --- placement -----------------------------------------------------------------------------------


def test_the_fabric_is_the_smallest_that_holds_program_and_memcpy() -> None:
    image = compile_program(OPTIONS, FILES)
    assert (image.fabric_width, image.fabric_height) == (4 + 3 + 3, 1 + 1 + 1)


def test_buffer_columns_widen_the_margin() -> None:
    options = replace(OPTIONS, width_west_buffer=2, width_east_buffer=1, offset_x=6)
    assert compile_program(options, FILES).fabric_width == 6 + 3 + 3 + 1
    assert [code for code, _ in findings(replace(options, offset_x=5))] == [
        "fabric-offset-too-small"
    ]


def test_a_fabric_that_is_too_small_is_refused() -> None:
    found = findings(replace(OPTIONS, fabric_width=9, fabric_height=3))
    assert [code for code, _ in found] == ["fabric-too-small"]


def test_a_program_larger_than_the_wafer_is_refused() -> None:
    machine = replace(OPTIONS.architecture, fabric_width=2)
    options = replace(OPTIONS, architecture=machine, fabric_width=10, fabric_height=3)
    assert [code for code, _ in findings(options)] == ["wafer-too-small"]


def test_a_fabric_larger_than_the_wafer_is_refused_by_its_option() -> None:
    (finding,) = findings(replace(OPTIONS, fabric_width=99_999, fabric_height=99_999))
    assert finding[0] == "wafer-too-small"
    assert "`--fabric-dims=99999,99999`" in finding[1]


# --- source files --------------------------------------------------------------------------------


def test_a_missing_entry_is_named() -> None:
    assert findings(replace(OPTIONS, entry="nope.csl")) == [
        ("file-not-found", "there is no file `nope.csl`")
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("folder", "it is not a file"), ("bytes.csl", "byte 1 is not UTF-8")],
)
def test_an_unreadable_entry_says_why(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes.csl").write_bytes(b"/\xff")
    found = findings(replace(OPTIONS, entry=name), DiskFiles(tmp_path))
    assert found == [("unreadable-file", f"`{name}` cannot be read: {reason}")]


def test_files_are_read_below_their_folder(tmp_path: Path) -> None:
    for name, text in FILES.texts.items():
        (tmp_path / name).write_text(text)
    assert compile_program(OPTIONS, DiskFiles(tmp_path)).width == 3


def test_a_file_is_parsed_once_and_the_library_is_found() -> None:
    parsed = ParsedFiles(FILES, DiagnosticSink())
    assert parsed.get("pe.csl") is parsed.get("pe.csl")
    assert parsed.get("<memcpy/memcpy>") is not None
    assert parsed.get("<no/such/module>") is None


def test_a_file_without_layout_is_known_as_such() -> None:
    sink = DiagnosticSink()
    options = replace(OPTIONS, entry="pe.csl", params={"number": "1"})
    text = "fn twice(x: u16) u16 { return x + x; }"
    assert not run_stages(options, MemoryFiles({"pe.csl": text}), sink).has_layout
    assert run_stages(OPTIONS, FILES, sink).has_layout


def test_colors_have_the_names_of_the_layout() -> None:
    layout = """
    param given: color;
    const one = @get_color(2);
    const pair = [2]color{ @get_color(3), @get_color(4) };
    const unused = @get_color(5);
    const number: u16 = 6;
    layout {
      @set_rectangle(1, 1);
      @set_tile_code(0, 0, "pe.csl", .{});
      if (number == 6) {
        for ([4]color{ given, one, pair[0], pair[1] }) |c| {
          @set_color_config(0, 0, c, .{ .routes = .{ .rx = .{RAMP}, .tx = .{RAMP} } });
        }
      }
    }
    """
    files = MemoryFiles({"layout.csl": layout, "pe.csl": ""})
    machine = OPTIONS.architecture
    options = CompileOptions(entry="layout.csl", architecture=machine, colors={"given": "1"})
    image = compile_program(options, files)
    assert image.color_names == {"given": "1", "one": "2", "pair[0]": "3", "pair[1]": "4"}
    assert image.names_of_color(1) == ("given",)
    assert image.names_of_color(5) == ()


def test_a_text_is_parsed_once_and_its_mistakes_are_found_every_time():
    files = MemoryFiles({"a.csl": "const x: i16 = ;", "b.csl": "const x: i16 = ;"})
    first, second = (ParsedFiles(files, DiagnosticSink()) for _ in range(2))
    assert first.get("a.csl") is second.get("a.csl") is not None
    assert first.get("a.csl") is not first.get("b.csl")
    assert len(first.sink.diagnostics) == 2
    assert first.sink.diagnostics[0] == second.sink.diagnostics[0]
    changed = ParsedFiles(MemoryFiles({"a.csl": "const x: i16 = 1;"}), DiagnosticSink())
    assert changed.get("a.csl") is not first.get("a.csl")
    assert not changed.sink.diagnostics


def test_collections_are_as_often_as_before_once_a_program_is_compiled():
    before = gc.get_threshold()
    with pytest.raises(CompileError):
        compile_program(
            CompileOptions(entry="a.csl", architecture=load_architecture("wse2")),
            MemoryFiles({"a.csl": "layout { @set_rectangle(1, 1); nothing; }"}),
        )
    assert gc.get_threshold() == before


def test_what_was_frozen_before_a_compilation_stays_frozen():
    gc.freeze()
    before = gc.get_freeze_count()
    compile_program(
        CompileOptions(entry="a.csl", architecture=load_architecture("wse2")),
        MemoryFiles(
            {
                "a.csl": 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "b.csl"); }',
                "b.csl": "",
            }
        ),
    )
    assert 0 < gc.get_freeze_count() <= before


@pytest.mark.parametrize("use", ['@import_module("x.csl")', '@import_comptime_value(i16, "x.csl")'])
def test_a_file_that_cannot_be_read_is_one_finding(tmp_path: Path, use: str) -> None:
    (tmp_path / "x.csl").write_bytes(b"\xff")
    (tmp_path / "a.csl").write_text(f"const x = {use}; comptime {{ _ = x; }}", encoding="utf-8")
    options = CompileOptions(entry="a.csl", architecture=load_architecture("wse2"))
    with pytest.raises(CompileError) as refused:
        compile_program(options, DiskFiles(tmp_path))
    assert [d.code for d in refused.value.diagnostics] == ["unreadable-file"]


@pytest.mark.parametrize(("depth", "is_right"), [(48, True), (250, True), (300, False)])
def test_comptime_calls_nest(depth, is_right):
    """Also where each takes many of Python's: loops, branches, structs and blocks between them."""
    pe = f"""
    fn sum(n: u32) u32 {{
      for (@range(u16, 1)) |_| {{
        switch (n) {{
          0 => {{ return 0; }},
          else => {{
            const x = .{{ .a = [2]u32{{ n, sum(n - 1) }} }};
            return blk: {{ if (n > 0) {{ break :blk @as(u32, x.a[0] + x.a[1]); }} break :blk 0; }};
          }},
        }}
      }}
      return 0;
    }}
    comptime {{ @comptime_assert(sum({depth}) == {depth * (depth + 1) // 2}); }}
    """
    layout = 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl"); }'
    files = MemoryFiles({"layout.csl": layout, "pe.csl": pe})
    options = CompileOptions(entry="layout.csl", architecture=load_architecture("wse2"))
    if is_right:
        compile_program(options, files)
    else:
        with pytest.raises(CompileError, match="comptime calls nest more than 256 deep"):
            compile_program(options, files)


def test_a_program_that_fits_without_copies_of_code_has_none() -> None:
    body = " ".join(f"words[{i}] += n;" for i in range(4))
    program = f"""
        param size: u16;
        var words = @zeros([size]u16);
        var n: u16 = 1;
        fn main() void {{ for (@range(u16, 10)) |i| {{ n += i; {body} }} }}
        comptime {{ @export_symbol(main); }}
    """
    layout = """
        param size: u16;
        layout {
          @set_rectangle(1, 1);
          @set_tile_code(0, 0, "pe.csl", .{ .size = size });
          @export_name("main", fn () void);
        }
    """
    files = MemoryFiles({"layout.csl": layout, "pe.csl": program})

    def code_bytes(size: int, *, optimizes: bool = True) -> int:
        options = replace(OPTIONS, params={"size": str(size)}, optimizes=optimizes)
        image = compile_program(options, files)
        sections = {section.kind: section.num_bytes for section in image.programs[0].sections}
        return sections[SectionKind.CODE]

    memory = OPTIONS.architecture.memory_bytes - OPTIONS.architecture.runtime_bytes
    plain, unrolled = code_bytes(8, optimizes=False), code_bytes(8)
    assert unrolled > 2 * plain
    assert code_bytes((memory - plain - 100) // 2) <= plain

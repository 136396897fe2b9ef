"""`@import_comptime_value`: JSON files as values of a type."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from onewafer.csl.sema.builtins import imports


def test_a_json_file_is_a_value_of_a_type(analyze):
    source = """
    const point = struct { x: i16, y: f32 };
    const p = @import_comptime_value(point, "data/p.json");
    const m = @import_comptime_value([2, 3]i16, "data/m.json");
    const any = @import_comptime_value(comptime_struct, "data/any.json");
    const u = @import_comptime_value(union { i: i16, f: f32 }, "data/u.json");
    comptime { @comptime_print(p.x, p.y, m, any.name, any.sizes[1], any.inner.ok, u.f); }
    """
    texts = {
        "data/p.json": '{"y": 2, "x": 3}',
        "data/m.json": "[[1, 2, 3], [4, 5, 6]]",
        "data/any.json": '{"name": "n", "sizes": [1, 2.5], "inner": {"ok": true}}',
        "data/u.json": '{"f": 0.5}',
    }
    (printed,) = analyze(source, files=texts).diagnostics
    assert printed.message == "3 2.0 [2, 3]i16{ 1, 2, 3, 4, 5, 6 } n 2.5 true 0.5"


def test_names_of_a_json_object_say_their_types(analyze):
    source = """
    const s = @import_comptime_value(comptime_struct, "s.json");
    const m = @import_comptime_value([2, 3]i16, "m.json");
    comptime {
      @comptime_assert(@type_of(s.n) == u16 and @type_of(s.part.narrow) == u3);
      @comptime_assert(@type_of(s.list) == [2]f16 and @type_of(s.c) == color and s.c == @get_color(4));
      @comptime_assert(@type_of(s.plain) == comptime_int);
      @comptime_print(s.n, s.part.narrow, s.list, s.name, s.plain, m);
    }
    """
    texts = {
        "s.json": """{"n:u16": 3, "part:comptime_struct": {"narrow:u3": 7}, "list: [2]f16": [1, 2.5],
                      "c:color": 4, "name:comptime_string": "n", "plain": 5}""",
        "m.json": "[1, 2, 3, 4, 5, 6]",
    }
    (printed,) = analyze(source, files=texts).diagnostics
    assert printed.message == "3 7 [2]f16{ 1.0, 2.5 } n 5 [2, 3]i16{ 1, 2, 3, 4, 5, 6 }"


@pytest.mark.parametrize(
    ("type_", "text", "code"),
    [
        ("comptime_struct", '{"a:point": 1}', "unknown-name"),
        ("comptime_struct", '{"a:u8": 300}', "value-out-of-range"),
        ("comptime_struct", '{"a:[2]u8": [1]}', "type-mismatch"),
        ("comptime_struct", '{"a:u8": 1, "a": 2}', "duplicate-declaration"),
        ("color", "24", "id-out-of-range"),
        ("[2, 2]i16", "[1, 2, 3]", "type-mismatch"),
        ("i16", "[1]", "type-mismatch"),
        ("[2]i16", "[1]", "type-mismatch"),
        ("[2]i16", "[1, 2.5]", "type-mismatch"),
        ("bool", "1", "type-mismatch"),
        ("u8", "300", "value-out-of-range"),
        ("struct { x: i16 }", '{"y": 1}', "missing-field"),
        ("struct { x: i16 }", '{"x": 1, "y": 1}', "unknown-field"),
        ("union { x: i16, y: i16 }", '{"x": 1, "y": 1}', "type-mismatch"),
        ("union { x: i16, y: i16 }", "{}", "type-mismatch"),
        ("union { x: i16, y: i16 }", '{"z": 1}', "unknown-field"),
        ("comptime_struct", '{"a": {"b": 1, "c": 2, "b": 3}}', "unreadable-file"),
        ("comptime_struct", '{"a": null}', "type-mismatch"),
        ("i16", "{", "unreadable-file"),
        ("i16", "[" * 100_000, "unreadable-file"),
    ],
)
def test_a_json_file_that_is_no_such_value_is_refused(analyze, type_, text, code):
    source = f'const x = @import_comptime_value({type_}, "x.json"); comptime {{ _ = x; }}'
    assert analyze(source, files={"x.json": text}).codes == [code]


def test_the_array_that_a_json_file_lacks_is_named(analyze):
    source = 'const x = @import_comptime_value([2, 3]f32, "x.json"); comptime { _ = x; }'
    error = analyze(source, files={"x.json": "[[1, 2, 3], [4, 5]]"}).error
    assert error.message == "the value at `[1]` of `x.json` is not a `[3]f32`"


def test_the_fields_that_a_json_file_lacks_or_has_are_named(analyze):
    type_ = "struct { at: struct { x: i16, y: i16, z: i16 } }"
    source = f'const x = @import_comptime_value({type_}, "x.json"); comptime {{ _ = x; }}'
    error = analyze(source, files={"x.json": '{"at": {"x": 1, "w": 2, "y": 3}}'}).error
    assert "at `.at`" in error.message
    assert error.message.endswith("it lacks `z` and has `w`, which the type lacks")


def test_a_json_file_is_read_once(analyze, monkeypatch):
    reads: list[str] = []

    def loads(text, **options):
        reads.append(text)
        return json.loads(text, **options)

    monkeypatch.setattr(imports, "json", SimpleNamespace(loads=loads))
    source = """
    fn number(k: i16) i16 { return k * @import_comptime_value(i16, "x.json"); }
    comptime { @comptime_print(number(1), number(2), number(3)); }
    """
    (printed,) = analyze(source, files={"x.json": "7"}).diagnostics
    assert (printed.message, reads) == ("7 14 21", ["7"])


def test_a_json_file_that_is_not_there_is_refused(analyze):
    source = 'const x = @import_comptime_value(i16, "x.json"); comptime { _ = x; }'
    assert analyze(source).codes == ["import-not-found"]

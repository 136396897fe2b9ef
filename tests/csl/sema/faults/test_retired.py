"""Unknown constructs, and those that only older SDKs have."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("source", "code", "message", "advice"),
    [
        ("comptime { @bind_task(1, 2); }", "unknown-builtin", "`@bind_task` belongs to SDK 0.9 and older", "`@bind_local_task"),
        ("const n = @get_color_id(1); var x = [n]i16{ 1 };", "unknown-builtin", "belongs to SDK 1.1 and older", "`@get_int"),
        ("comptime { @bind_tasks(1, 2); }", "unknown-builtin", "no SDK up to 2.10 documents a builtin `@bind_tasks`", "did you mean"),
        ('const m = @import_module("<memcpy_multi/memcpy>");', "import-not-found", "`<memcpy_multi/memcpy>` belongs to SDK 0.9", "`<memcpy/memcpy>`"),
        ('const m = @import_module("<maths>");', "import-not-found", "no SDK up to 2.10 documents a library `<maths>`", "`<math>`"),
        ('const m = @import_module("<math>"); comptime { @comptime_assert(m.cbrt(8.0) == 2.0); }', "unknown-name", "`<math>` has no `cbrt` that an SDK up to 2.10 documents", ""),
        ('const m = @import_module("maths.csl");', "import-not-found", "there is no file `maths.csl`", "paths are relative"),
    ],
)  # fmt: skip
def test_constructs_that_no_sdk_has_now(analyze, source, code, message, advice):
    used = "fn main() void { _ = x[0]; }" if "var x" in source else "fn main() void { }"
    error = analyze(f"{source} {used}").error
    assert error.code == code
    assert message in error.message
    assert advice in error.help

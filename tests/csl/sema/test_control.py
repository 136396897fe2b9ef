"""The library modules that make the words of control wavelets."""

from __future__ import annotations

import pytest

CONTROL = 'const ctrl = @import_module("<control>"); const id = @get_control_task_id(40);'
SWITCHES = 'const switches = @import_module("<memcpy/memcpy_switches>");'


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("ctrl.encode_single_payload(ctrl.opcode.SWITCH_ADV, true, {}, 0)", 5 << 22 | 31 << 16),
        ("ctrl.encode_single_payload(ctrl.opcode.SWITCH_ADV, false, id, 6)", 1 << 22 | 40 << 16 | 6),
        ("ctrl.encode_single_payload(ctrl.opcode.TEARDOWN, false, id, 65535)",
         3 << 22 | 40 << 16 | 65535),
        ("ctrl.encode_control_task_payload(id)", 40 << 16),
        ("ctrl.encode_payload(1, [1]ctrl.opcode{ ctrl.opcode.TEARDOWN }, [1]bool{ true }, true, {})",
         0x09DF9249),
        ("ctrl.MAX_CMDS", 8),
    ],
)  # fmt: skip
def test_words(comptime, expression, word):
    assert comptime(expression, CONTROL) == str(word)


@pytest.mark.parametrize(
    ("list_", "word"), [("teardown_cmd_1", 0x09DF9249), ("switch_cmd_11", 0x0B5F9249)]
)
def test_lists_of_memcpy(comptime, list_, word):
    assert comptime(f"switches.ctrl(switches.{list_}())", SWITCHES) == str(word)


def test_words_at_run_time(body):
    declared = CONTROL + "var x: u32 = 0; var d: u16 = 3;"
    (line,) = body("x = ctrl.encode_single_payload(ctrl.opcode.SWITCH_ADV, true, {}, d);", declared)
    assert line == "[&x] = ctrl.encode_single_payload(1u32, 1bool, [&d])"

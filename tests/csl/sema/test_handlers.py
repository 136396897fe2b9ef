"""Teardown handlers: the task that calls them, and what cannot be one."""

from __future__ import annotations

import pytest

from onewafer.csl import ir
from onewafer.image import TEARDOWN_TASK, TaskKind

DECLARED = """
var n: i16 = 0;
fn first() void { n += 1; }
fn second() void { n += 2; }
fn takes(x: i16) void { n += x; }
fn gives() i16 { return n; }
task mine() void { n += 3; }
const low = @get_color(4);
const high = @get_color(20);
"""


def _comptime(statements):
    return f"{DECLARED}\ncomptime {{ {statements} }}"


def test_handlers_are_called_by_one_task(analyze):
    instance = analyze(
        _comptime("@set_teardown_handler(second, high); @set_teardown_handler(first, low);")
    ).instance
    (task,) = instance.tasks
    assert (task.kind, task.task_id) == (TaskKind.LOCAL, TEARDOWN_TASK)
    calls = [
        statement.then[0].call.function.name
        for statement in task.function.body
        if isinstance(statement, ir.If)
    ]
    assert calls == ["first", "second"]
    loads = [s.value.address.word for s in task.function.body if isinstance(s, ir.SetLocal)]
    assert loads == [2 * 0x7F38, 2 * 0x7F39]
    assert instance.reaches_registers


def test_program_without_handlers_has_no_such_task(analyze):
    instance = analyze(_comptime("@bind_local_task(mine, @get_local_task_id(9));")).instance
    assert [task.task_id for task in instance.tasks] == [9]
    assert not instance.reaches_registers


def test_program_may_take_the_task_itself(analyze):
    source = _comptime(f"@bind_local_task(mine, @get_local_task_id({TEARDOWN_TASK}));")
    (task,) = analyze(source).instance.tasks
    assert task.task_id == TEARDOWN_TASK


@pytest.mark.parametrize(
    ("statements", "code", "message"),
    [
        (
            "@set_teardown_handler(first, low); @set_teardown_handler(second, low);",
            "duplicate-handler",
            "color 4 has the teardown handler `first` already",
        ),
        ("@set_teardown_handler(mine, low);", "type-mismatch", "this is a task"),
        ("@set_teardown_handler(takes, low);", "type-mismatch", "takes nothing"),
        ("@set_teardown_handler(gives, low);", "type-mismatch", "returns nothing"),
        ("@set_teardown_handler(5, low);", "type-mismatch", "a handler is a function"),
        ("@set_teardown_handler(first, 4);", "type-mismatch", "color"),
        ("@set_teardown_handler(first, @get_color(24));", "id-out-of-range", "24"),
        (
            (
                "@set_teardown_handler(first, low); "
                f"@bind_local_task(mine, @get_local_task_id({TEARDOWN_TASK}));"
            ),
            "duplicate-task-binding",
            "local task id 29 is taken",
        ),
    ],
)
def test_what_cannot_be_a_handler(analyze, statements, code, message):
    (error,) = analyze(_comptime(statements)).errors
    assert error.code == code
    assert message in error.message


def test_handlers_belong_into_comptime_blocks(analyze):
    source = f"{DECLARED}\nfn main() void {{ @set_teardown_handler(first, low); }}"
    assert analyze(f"{source}\ncomptime {{ @export_symbol(main); }}").codes == ["wrong-context"]


QUEUES = f"""{DECLARED}
const iq = @get_input_queue(3);
const oq = @get_output_queue(3);
"""


def test_one_task_calls_handlers_of_colors_and_of_queues(analyze):
    """Decided here: colors, input queues, output queues, of each the lowest first."""
    source = f"""{QUEUES}
comptime {{
  @set_empty_queue_handler(first, oq);
  @set_empty_queue_handler(second, @get_input_queue(5));
  @set_empty_queue_handler(second, iq);
  @set_teardown_handler(first, high);
}}
"""
    instance = analyze(source, arch="wse3").instance
    (task,) = instance.tasks
    calls = [
        (statement.then[0].call.function.name, statement.condition.left.right.word)
        for statement in task.function.body
        if isinstance(statement, ir.If)
    ]
    assert calls == [("first", 1 << 4), ("second", 1 << 3), ("second", 1 << 5), ("first", 1 << 3)]
    loads = [s.value.address.word for s in task.function.body if isinstance(s, ir.SetLocal)]
    assert loads == [2 * 0x7F39, 2 * 0x7BA0, 2 * 0x7BA1]
    assert instance.reaches_queues


@pytest.mark.parametrize(
    ("statements", "code", "message"),
    [
        (
            "@set_empty_queue_handler(first, iq); @set_empty_queue_handler(second, iq);",
            "duplicate-handler",
            "input_queue 3 has the handler `first` already",
        ),
        ("@set_empty_queue_handler(mine, iq);", "type-mismatch", "this is a task"),
        ("@set_empty_queue_handler(takes, iq);", "type-mismatch", "takes nothing"),
        ("@set_empty_queue_handler(first, low);", "type-mismatch", "a queue"),
        ("@set_empty_queue_handler(first, 3);", "type-mismatch", "a queue"),
        ("@queue_flush(iq);", "wrong-context", "cannot be used while compiling"),
        (
            (
                "@set_empty_queue_handler(first, iq); "
                f"@bind_local_task(mine, @get_local_task_id({TEARDOWN_TASK}));"
            ),
            "duplicate-task-binding",
            "local task id 29 is taken",
        ),
    ],
)
def test_what_cannot_handle_an_empty_queue(analyze, statements, code, message):
    source = f"{QUEUES}\ncomptime {{ {statements} }}"
    (error,) = analyze(source, arch="wse3").errors
    assert error.code == code
    assert message in error.message


@pytest.mark.parametrize("body", ["@queue_flush(iq);", "@queue_flush(low);"])
def test_queues_are_flushed_where_they_have_a_color(analyze, body):
    source = f"{QUEUES}\nfn main() void {{ {body} }}\ncomptime {{ @export_symbol(main); }}"
    is_queue = "iq" in body
    assert analyze(source, arch="wse2").codes == ["unsupported-on-architecture"]
    assert analyze(source, arch="wse3").codes == ([] if is_queue else ["type-mismatch"])


def test_dsd_has_the_color_of_its_queue_where_queues_have_one(analyze):
    source = f"""{QUEUES}
const out = @get_dsd(fabout_dsd, .{{ .extent = 1, .output_queue = oq }});
fn main() void {{ @mov32(out, @as(u32, 1)); }}
comptime {{ @export_symbol(main); if (@is_arch("wse3")) @initialize_queue(oq, .{{ .color = low }}); }}
"""
    assert analyze(source, arch="wse3").codes == []
    assert analyze(source, arch="wse2").codes == ["missing-field"]

"""Streams between the host and a compiled program: order, waiting, and wrong use."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.errors import DeadlockError, HostError
from onewafer.host import MemcpyDataType, MemcpyOrder, SdkRuntime
from onewafer.image import save

ARCHES = ("wse2", "wse3")
WIDTH, HEIGHT = 3, 2
IN, OTHER, OUT, UNUSED = 3, 4, 5, 6

LAYOUT = f"""
const memcpy = @import_module("<memcpy/get_params>", .{{
  .width = {WIDTH}, .height = {HEIGHT},
  .MEMCPYH2D_1 = @get_color({IN}), .MEMCPYH2D_2 = @get_color({OTHER}),
  .MEMCPYD2H_1 = @get_color({OUT}),
}});
layout {{
  @set_rectangle({WIDTH}, {HEIGHT});
  for (@range(u16, {WIDTH})) |x| {{
    for (@range(u16, {HEIGHT})) |y| {{
      @set_tile_code(x, y, "pe.csl", .{{ .memcpy_params = memcpy.get_params(x) }});
    }}
  }}
  @export_name("held", [*]u32, true);
  @export_name("relay", fn (u16) void);
  @export_name("add", fn (u16) void);
  @export_name("forget", fn () void);
}}
"""
PE = """
param memcpy_params: comptime_struct;
const sys = @import_module("<memcpy/memcpy>", memcpy_params);
const in_iq = @get_input_queue(2);
const other_iq = @get_input_queue(3);
const out_oq = @get_output_queue(2);
const in = @get_dsd(fabin_dsd, .{
  .fabric_color = sys.MEMCPYH2D_1, .extent = 1, .input_queue = in_iq });
const other = @get_dsd(fabin_dsd, .{
  .fabric_color = sys.MEMCPYH2D_2, .extent = 1, .input_queue = other_iq });
const out = @get_dsd(fabout_dsd, .{
  .fabric_color = sys.MEMCPYD2H_1, .extent = 1, .output_queue = out_oq });
var held = @zeros([1024]u32);
var held_ptr: [*]u32 = &held;
const mem = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{1} -> held[i] });
const done = @get_local_task_id(9);

task finish() void { sys.unblock_cmd_stream(); }

// Sends `n` words of the host back to it.
fn relay(n: u16) void {
  @mov32(@set_dsd_length(out, n), @set_dsd_length(in, n), .{ .async = true, .activate = finish });
}

// Reads the second stream first, then sends its low halves plus those of the first one.
fn add(n: u16) void {
  @mov32(@set_dsd_length(mem, n), @set_dsd_length(other, n));
  @add16(@set_dsd_length(out, n), @set_dsd_length(in, n), @set_dsd_length(low, n),
    .{ .async = true, .activate = finish });
}
const low = @get_dsd(mem1d_dsd, .{ .base_address = @ptrcast([*]u16, &held), .extent = 1,
                                   .stride = 2 });

fn forget() void { }

comptime {
  @bind_local_task(finish, done);
  @initialize_queue(in_iq, .{ .color = sys.MEMCPYH2D_1 });
  @initialize_queue(other_iq, .{ .color = sys.MEMCPYH2D_2 });
  if (@is_arch("wse3")) @initialize_queue(out_oq, .{ .color = sys.MEMCPYD2H_1 });
  @export_symbol(held_ptr, "held");
  @export_symbol(relay);
  @export_symbol(add);
  @export_symbol(forget);
}
"""
WORDS = {"data_type": MemcpyDataType.MEMCPY_32BIT, "order": MemcpyOrder.ROW_MAJOR}
STREAM = {"streaming": True, **WORDS}


@functools.cache
def compiled(arch):
    files = MemoryFiles({"layout.csl": LAYOUT, "pe.csl": PE})
    options = CompileOptions(entry="layout.csl", architecture=load_architecture(arch))
    return compile_program(options, files)


@pytest.fixture(scope="module", params=ARCHES)
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    save(compiled(request.param), path)
    return path


@pytest.fixture
def runtime(folder):
    runtime = SdkRuntime(folder)
    runtime.load()
    runtime.run()
    return runtime


ORDERS = st.sampled_from(list(MemcpyOrder))


def flattened(tensor, order):
    """Return `[height, width, elements]` as the SDK documents the two orders."""
    if order is MemcpyOrder.ROW_MAJOR:
        return tensor.reshape(-1)
    return tensor.transpose(2, 1, 0).reshape(-1)


@settings(max_examples=15, deadline=None)
@given(
    arch=st.sampled_from(ARCHES),
    rectangle=st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)).flatmap(
        lambda p: st.tuples(
            *map(st.just, p), st.integers(1, WIDTH - p[0]), st.integers(1, HEIGHT - p[1])
        )
    ),
    num_words=st.one_of(st.integers(1, 40), st.just(600)),
    order_in=ORDERS,
    order_out=ORDERS,
    is_expected_first=st.booleans(),
)
def test_streams_arrive_in_the_documented_order(  # noqa: PLR0917 - drawn one by one
    tmp_path_factory, arch, rectangle, num_words, order_in, order_out, is_expected_first
):
    """What each PE gets and sends is its row of the tensor, whichever way the host flattens it."""
    folder = tmp_path_factory.mktemp("out")
    save(compiled(arch), folder)
    _, _, width, height = rectangle
    tensor = np.arange(height * width * num_words, dtype=np.uint32).reshape(height, width, -1)
    tensor = tensor * np.uint32(0x10001)
    result = np.zeros(tensor.size, np.uint32)
    kind = {"data_type": MemcpyDataType.MEMCPY_32BIT, "streaming": True}
    with SdkRuntime(folder) as runtime:
        runtime.launch("relay", np.uint16(num_words), nonblock=True)

        def receive():
            runtime.memcpy_d2h(
                result, OUT, *rectangle, num_words, order=order_out, nonblock=True, **kind
            )

        if is_expected_first:
            receive()
        sent = flattened(tensor, order_in)
        runtime.memcpy_h2d(IN, sent, *rectangle, num_words, order=order_in, **kind)
        if not is_expected_first:
            receive()
        complete_others(runtime, rectangle, num_words)
    np.testing.assert_array_equal(result, flattened(tensor, order_out))


def complete_others(runtime, rectangle, num_words):
    """Let the PEs outside of a rectangle end their launch as well."""
    x, y, width, height = rectangle
    words = np.zeros(num_words, np.uint32)
    for row, column in np.ndindex(HEIGHT, WIDTH):
        if not (x <= column < x + width and y <= row < y + height):
            runtime.memcpy_h2d(IN, words, column, row, 1, 1, num_words, **STREAM)
            runtime.memcpy_d2h(words, OUT, column, row, 1, 1, num_words, nonblock=True, **STREAM)


def test_two_streams_into_one_pe(runtime):
    """The program reads the second stream first: the first one does not stand in its way."""
    whole = (0, 0, WIDTH, HEIGHT, 100)
    first = np.arange(WIDTH * HEIGHT * 100, dtype=np.uint32)
    result = np.zeros_like(first)
    runtime.memcpy_h2d(IN, first, *whole, nonblock=True, **STREAM)
    runtime.memcpy_h2d(OTHER, first * 7, *whole, nonblock=True, **STREAM)
    runtime.launch("add", np.uint16(100))
    runtime.memcpy_d2h(result, OUT, *whole, **STREAM)
    np.testing.assert_array_equal(result, first * 8)
    runtime.stop()
    assert (runtime.device.bytes_in, runtime.device.bytes_out) == (4800, 2400)


def test_a_streamed_word_is_a_whole_wavelet(runtime):
    """A 16-bit type takes nothing away: the high half carries the index of sparse data."""
    words = np.array([0x1234_5678], np.uint32)
    result = np.zeros(1, np.uint32)
    options = STREAM | {"data_type": MemcpyDataType.MEMCPY_16BIT}
    runtime.launch("relay", np.uint16(1), nonblock=True)
    runtime.memcpy_h2d(IN, words, 0, 0, 1, 1, 1, **options)
    runtime.memcpy_d2h(result, OUT, 0, 0, 1, 1, 1, **options)
    assert result == words


def test_tasks_tell_when_they_are_done(runtime):
    whole = (0, 0, WIDTH, HEIGHT, 2)
    result = np.zeros(WIDTH * HEIGHT * 2, np.uint32)
    runtime.launch("relay", np.uint16(2), nonblock=True)
    task = runtime.memcpy_d2h(result, OUT, *whole, nonblock=True, **STREAM)
    assert not runtime.is_task_done(task)
    with pytest.raises(DeadlockError, match=r"waits for 2 wavelets of color 5 .* and 5 more"):
        runtime.task_wait(task)
    runtime.memcpy_h2d(IN, np.ones_like(result), *whole, **STREAM)
    runtime.task_wait(task)
    assert runtime.is_task_done(task)
    assert result.tolist() == [1] * 12


def test_two_receptions_are_served_in_order(runtime):
    whole = (0, 0, WIDTH, HEIGHT, 1)
    first, second = np.zeros(WIDTH * HEIGHT, np.uint32), np.zeros(WIDTH * HEIGHT, np.uint32)
    runtime.launch("relay", np.uint16(2), nonblock=True)
    for result in (first, second):
        runtime.memcpy_d2h(result, OUT, *whole, nonblock=True, **STREAM)
    words = np.tile(np.array([1, 2], np.uint32), WIDTH * HEIGHT)
    runtime.memcpy_h2d(IN, words, *whole[:4], 2, **STREAM)
    runtime.stop()
    assert (first.tolist(), second.tolist()) == ([1] * 6, [2] * 6)


def test_broadcast_streams(runtime):
    whole = (0, 0, WIDTH, HEIGHT, 2)
    result = np.zeros((HEIGHT, WIDTH, 2), np.uint32)
    for send, blocks in (
        (runtime.memcpy_h2d_rowbcast, (HEIGHT, 1, 2)),
        (runtime.memcpy_h2d_colbcast, (1, WIDTH, 2)),
    ):
        words = np.arange(np.prod(blocks), dtype=np.uint32)
        runtime.launch("relay", np.uint16(2), nonblock=True)
        send(IN, words, *whole, **STREAM)
        runtime.memcpy_d2h(result, OUT, *whole, **STREAM)
        np.testing.assert_array_equal(result, np.broadcast_to(words.reshape(blocks), result.shape))


def test_stride_streams(runtime):
    whole = (0, 0, WIDTH, HEIGHT, 1)
    runtime.launch("relay", np.uint16(1), nonblock=True)
    words = np.arange(2, dtype=np.uint32) + 7
    runtime.memcpy_h2d_stride(IN, words, *whole, WIDTH - 1, HEIGHT, **STREAM)
    for x, word in zip((0, WIDTH - 1), words.tolist(), strict=True):
        result = np.zeros(1, np.uint32)
        runtime.memcpy_d2h(result, OUT, x, 0, 1, 1, 1, **STREAM)
        assert result.tolist() == [word]


# --- what is refused ------------------------------------------------------------------------------


def test_too_few_wavelets_are_a_deadlock(runtime):
    whole = (0, 0, WIDTH, HEIGHT, 3)
    result = np.zeros(WIDTH * HEIGHT * 3, np.uint32)
    runtime.launch("relay", np.uint16(3), nonblock=True)
    runtime.memcpy_h2d(IN, np.ones(WIDTH * HEIGHT * 2, np.uint32), *whole[:4], 2, **STREAM)
    with pytest.raises(DeadlockError, match=r"which sent 2\ndeadlock at cycle") as caught:
        runtime.memcpy_d2h(result, OUT, *whole, **STREAM)
    assert "pe.csl:22" in str(caught.value)


def test_a_launch_that_is_not_over_lets_neither_launch_nor_stop(runtime):
    runtime.launch("forget")
    with pytest.raises(
        DeadlockError, match=r"'relay' cannot be launched: PE \(0, 0\) does not accept"
    ):
        runtime.launch("relay", np.uint16(1))
    with pytest.raises(DeadlockError, match="command stream"):
        runtime.stop()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r, a: r.memcpy_h2d(UNUSED, a, 0, 0, 1, 1, 1, **STREAM), "is not a MEMCPYH2D color"),
        (lambda r, a: r.memcpy_h2d(OUT, a, 0, 0, 1, 1, 1, **STREAM), r"it has 3, 4: pass"),
        (lambda r, a: r.memcpy_d2h(a, IN, 0, 0, 1, 1, 1, **STREAM), "is not a MEMCPYD2H color"),
        (lambda r, a: r.memcpy_h2d(24, a, 0, 0, 1, 1, 1, **STREAM), "is the handle of 'held'"),
        (lambda r, a: r.memcpy_h2d("in", a, 0, 0, 1, 1, 1, **STREAM), "'in' is not a color"),
        (lambda r, a: r.memcpy_h2d(77, a, 0, 0, 1, 1, 1, **STREAM), "0 to 23; 77 is none"),
        (lambda r, a: r.memcpy_h2d(IN, a, 2, 0, 2, 1, 1, **STREAM), "the call moves 2"),
        (lambda r, a: r.memcpy_h2d(IN, a, 3, 0, 1, 1, 1, **STREAM), "leaves the program"),
        (lambda r, a: r.memcpy_h2d(IN, a, 0, 0, 1, 1, 1, **WORDS), "pass streaming=True"),
        (lambda r, a: r.memcpy_d2h(a[:0], OUT, 0, 0, 1, 1, 1, **STREAM), "has 0 elements"),
    ],
)
def test_wrong_streams_are_refused(runtime, call, message):
    with pytest.raises(HostError, match=message):
        call(runtime, np.zeros(1, np.uint32))

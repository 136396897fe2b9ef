"""The host sends to regions and receives from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import DeadlockError, HostError
from onewafer.host import IntVector, SdkRuntime, SdkTarget, get_platform
from onewafer.sdk_layout import Edge, Route, RoutingPosition, SdkLayout

FROM_RAMP = RoutingPosition().set_input([Route.RAMP])
TO_RAMP = RoutingPosition().set_output([Route.RAMP])
SIZE = 6


def build(target=SdkTarget.WSE3, *, size=SIZE):
    """Return a running program that doubles a stream, and the names of its streams."""
    layout = SdkLayout(target)
    region = layout.create_code_region("scale.csl", "scale", 1, 1)
    region.place(2, 1)
    rx, tx = region.color("rx"), region.color("tx")
    for value in (rx, tx):
        region.set_param_all(value)
    region.set_param_all("size", size)
    region.set_param_all("factor", 2.0)
    source = layout.create_input_stream(region.create_input_port(rx, Edge.LEFT, [TO_RAMP], size))
    sink = layout.create_output_stream(region.create_output_port(tx, Edge.RIGHT, [FROM_RAMP], size))
    runtime = SdkRuntime(layout.compile("out"), memcpy_required=False)
    runtime.load()
    runtime.run()
    return runtime, source, sink


@pytest.fixture
def running(csl):  # noqa: ARG001 - for its effect
    return build()


X = np.arange(SIZE, dtype=np.float32)


@pytest.mark.usefixtures("csl")
@pytest.mark.parametrize("target", SdkTarget)
def test_what_is_sent_comes_back_doubled(target):
    runtime, source, sink = build(target)
    result = np.zeros(SIZE, np.float32)
    runtime.send(source, X)
    runtime.receive(sink, result, SIZE)
    runtime.stop()
    np.testing.assert_array_equal(result, 2 * X)
    assert (runtime.device.bytes_in, runtime.device.bytes_out) == (4 * SIZE, 4 * SIZE)


@pytest.mark.usefixtures("csl")
@pytest.mark.parametrize("target", SdkTarget)
def test_the_host_may_be_met_at_a_pe_of_a_region(target):
    """Painted as on a system whose host is at the west rim."""
    layout = SdkLayout(target)
    region = layout.create_code_region("scale.csl", "scale", 1, 1)
    region.place(0, 3)
    rx, tx = region.color("rx"), region.color("tx")
    region.set_param_all(rx)
    region.set_param_all(tx)
    region.set_param_all("size", SIZE)
    region.set_param_all("factor", 2.0)
    region.paint_all(rx, [RoutingPosition().set_input([Route.WEST]).set_output([Route.RAMP])])
    region.paint_all(tx, [RoutingPosition().set_input([Route.RAMP]).set_output([Route.WEST])])
    source = layout.create_input_stream_from_loc(IntVector(0, 3), rx, "in_")
    sink = layout.create_output_stream_from_loc(IntVector(0, 3), tx)
    assert (source, sink) == ("in_scale_rx", "scale_tx")
    with SdkRuntime(layout.compile("out"), memcpy_required=False) as runtime:
        result = np.zeros(SIZE, np.float32)
        runtime.send(source, X)
        runtime.receive(sink, result, SIZE)
        with pytest.raises(HostError, match=r"made without a port.*array\.tofile"):
            runtime.receive_tofile(sink, "words")
    np.testing.assert_array_equal(result, 2 * X)


@pytest.mark.parametrize("nonblock", [False, True])
def test_a_stream_goes_to_a_file(running, tmp_path, nonblock):
    runtime, source, sink = running
    runtime.send(source, X)
    task = runtime.receive_tofile(sink, tmp_path / "words", nonblock=nonblock)
    runtime.task_wait(task_handle=task)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "words", "<f4"), 2 * X)
    with pytest.raises(HostError, match="No such file"):
        runtime.receive_tofile(sink, tmp_path / "missing" / "words", nonblock=True)
    with pytest.raises(HostError, match="None is not a file"):
        runtime.receive_tofile(sink, None)


def test_blocking_calls_return_handles_too(running):
    runtime, source, sink = running
    result = np.zeros(SIZE, np.float32)
    sent = runtime.send(runtime.get_port_id(port_name=source), X, n_wavelets=SIZE)
    received = runtime.receive(sink, result, SIZE)
    assert sent != received
    for task in (sent, received):
        assert runtime.is_task_done(task)
        runtime.task_wait(task)
    np.testing.assert_array_equal(result, 2 * X)


@given(
    sent=st.lists(st.integers(1, 3), min_size=1, max_size=SIZE),
    received=st.lists(st.integers(1, 3), min_size=1, max_size=SIZE),
    receives_first=st.booleans(),
)
@pytest.mark.usefixtures("csl")
def test_pieces_may_be_cut_anywhere(sent, received, receives_first):
    """All calls return at once; `stop` finishes them, in whichever order they were made."""
    sizes = min(sum(sent), sum(received))
    runtime, source, sink = build(size=sizes)
    x, result = np.arange(sizes, dtype=np.float32) + 1, np.zeros(sizes, np.float32)

    def send():
        for first, end in pieces(sent, sizes):
            runtime.send(source, x[first:end], nonblock=True)

    def receive():
        return [
            runtime.receive(sink, result[first:end], end - first, nonblock=True)
            for first, end in pieces(received, sizes)
        ]

    if receives_first:
        tasks = receive()
        assert not runtime.is_task_done(tasks[0])
        send()
    else:
        send()
        tasks = receive()
    runtime.stop()
    np.testing.assert_array_equal(result, 2 * x)


def pieces(lengths, total):
    """Return `[first, end)` of pieces of these lengths, and of the rest."""
    ends = [min(int(end), total) for end in np.cumsum(lengths)]
    ends.append(total)
    return [(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True) if a < b]


def test_streams_are_listed(running, capsys):
    running[0].report_port_infos()
    first, second = capsys.readouterr().out.splitlines()
    assert first == "0 scale_rx: to the program, color 0, at PE (0, 1)"
    assert second.startswith("1 scale_tx: from the program, color 1, at PE (")


def test_streams_have_numbers(running):
    runtime, source, sink = running
    result = np.zeros((2, 3), np.float32)
    runtime.send(runtime.get_port_id(source), np.append(X, X[:1]), SIZE, nonblock=True)
    task = runtime.receive(runtime.get_port_id(sink), result, SIZE, nonblock=True)
    runtime.task_wait(task)
    assert runtime.is_task_done(task)
    np.testing.assert_array_equal(result, 2 * X.reshape(2, 3))


def test_what_nobody_wants_is_no_deadlock(running):
    runtime, source, sink = running
    result = np.zeros(4, np.float32)
    runtime.send(source, np.append(X, X))  # the program reads half of it
    runtime.receive(sink, result, 4)
    runtime.stop()
    np.testing.assert_array_equal(result, 2 * X[:4])


def test_too_few_wavelets_are_a_deadlock(running):
    runtime, source, sink = running
    runtime.send(source, X[:4])
    with pytest.raises(
        DeadlockError, match=r"6 wavelets of stream 'scale_tx' from .* which sent 4"
    ):
        runtime.receive(sink, np.zeros(SIZE, np.float32), SIZE)
    sent = "the host has sent 4 to stream 'scale_rx'; its port takes 6 in one use"
    with pytest.raises(DeadlockError, match=f"stream 'scale_tx' (.|\n)*{sent}"):
        runtime.stop()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("send('sink', X)", "no stream 'sink'; its names are 'scale_rx', 'scale_tx'"),
        ("send(2, X)", "no stream 2: it has 2"),
        ("send('scale_rx', 3.0)", "a copy moves a NumPy array, not float"),
        ("send('scale_rX', X)", "did you mean 'scale_rx'"),
        ("send('scale_tx', X)", "receives from stream 'scale_tx': use receive"),
        ("receive('scale_rx', X, 1)", "sends to stream 'scale_rx': use send"),
        ("send('scale_rx', X.astype(np.float16))", "input_array_to_u32 widens 16-bit ones"),
        ("send('scale_rx', X, 7)", "has 6 elements, the call moves 7"),
        ("receive('scale_tx', X, 7)", "has 6 elements, the call moves 7"),
        ("receive('scale_tx', X.astype(np.float64), 6)", "use a uint32, int32"),
        (
            "receive('scale_tx', np.zeros((4, 4), np.float32).T, 6)",
            "not contiguous: pass an array of 6",
        ),
        ("receive('scale_tx', np.broadcast_to(X, (2, 6)), 6)", "not contiguous"),
        ("get_port_id('scale')", "no stream 'scale'; did you mean"),
    ],
)
def test_mistakes(running, call, message):
    runtime, _, _ = running
    with pytest.raises(HostError, match=message):
        eval(f"runtime.{call}", {"runtime": runtime, "X": X, "np": np})  # noqa: S307 - the table


def test_streams_flow_between_run_and_stop(running):
    runtime, source, _ = running
    runtime.send(source, X)
    runtime.device.stop()
    with pytest.raises(HostError, match="cannot stream color 0 in: the device is stopped"):
        runtime.send(source, X)


def test_the_platform_is_that_of_the_layout(running):
    assert running
    with pytest.raises(HostError, match="compiled for wse3, the platform is wse2"):
        SdkRuntime("out", get_platform(None, None, SdkTarget.WSE2), memcpy_required=False)

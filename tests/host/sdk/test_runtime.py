import json

import numpy as np
import pytest

from onewafer.errors import HostError
from onewafer.host import DebugUtil, MemcpyDataType, MemcpyOrder, SdkRuntime, SdkTarget
from onewafer.host import get_platform as platform_of
from onewafer.host.sdk.tasks import Tasks

ROW = {"data_type": MemcpyDataType.MEMCPY_32BIT, "order": MemcpyOrder.ROW_MAJOR}
COLUMN = {"data_type": MemcpyDataType.MEMCPY_32BIT, "order": MemcpyOrder.COL_MAJOR}
HALVES = {"data_type": MemcpyDataType.MEMCPY_16BIT, "order": MemcpyOrder.ROW_MAJOR}


@pytest.fixture
def created(image, fake_machine, monkeypatch, tmp_path):  # noqa: ARG001 - for its effect
    """Return a runtime that is not loaded."""
    monkeypatch.setattr("onewafer.host.sdk.runtime.load", lambda _: image)
    return SdkRuntime(tmp_path, cmaddr=None)


@pytest.fixture
def runtime(created):
    """Return a running one."""
    created.load()
    created.run()
    return created


@pytest.mark.usefixtures("fake_machine")
def test_record_lies_in_the_folder_whatever_the_script_changes_to(image, monkeypatch, tmp_path):
    monkeypatch.setattr("onewafer.host.sdk.runtime.load", lambda _: image)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    runtime = SdkRuntime("out", cmaddr=None)
    monkeypatch.chdir(tmp_path / "out")
    with runtime:
        pass
    assert (tmp_path / "out" / "simulation.json").exists()


def test_handles_exist_before_load_and_are_no_colors(created):
    handles = [created.get_id(name) for name in ("A", "h", "constant", "p", "compute")]
    assert len(set(handles)) == 5
    assert min(handles) >= 24
    with pytest.raises(HostError, match="exports no 'B'"):
        created.get_id("B")


@pytest.mark.parametrize("options", [ROW, COLUMN])
def test_data_comes_back(runtime, options):
    handle, data = runtime.get_id("A"), np.arange(2 * 2 * 5, dtype=np.float32)
    runtime.memcpy_h2d(handle, data, 1, 0, 2, 2, 5, streaming=False, nonblock=False, **options)
    result = np.zeros((20, 1), np.float32)
    runtime.memcpy_d2h(result, handle, 1, 0, 2, 2, 5, streaming=False, nonblock=False, **options)
    np.testing.assert_array_equal(result.ravel(), data)


def test_sixteen_bit_data_comes_back(runtime):
    data = np.array([0x00013C00, 0x00024000], np.uint32)
    runtime.memcpy_h2d(runtime.get_id("h"), data, 0, 0, 1, 1, 2, **HALVES)
    result = np.zeros(2, np.uint32)
    runtime.memcpy_d2h(result, runtime.get_id("h"), 0, 0, 1, 1, 2, **HALVES)
    assert result.tolist() == [0x3C00, 0x4000]


def test_a_number_that_loses_bits_is_warned_of_at_the_call(runtime):
    handle, data = runtime.get_id("h"), np.array([70000], np.int32)
    calls = (
        lambda: runtime.memcpy_h2d(handle, data, 0, 0, 1, 1, 1, **HALVES),
        lambda: runtime.memcpy_h2d_rowbcast(handle, data, 0, 0, 1, 1, 1, **HALVES),
        lambda: runtime.memcpy_h2d_stride(handle, data, 0, 0, 1, 1, 1, 1, 1, **HALVES),
    )
    for call in calls:
        with pytest.warns(UserWarning, match="has bits above the low 16") as warned:
            call()
        assert [one.filename for one in warned] == [__file__]


def test_broadcasts_along_rows_and_columns(runtime):
    handle, result = runtime.get_id("A"), np.zeros((2, 3, 2), np.int32)
    rows = np.arange(4, dtype=np.int32)
    runtime.memcpy_h2d_rowbcast(handle, rows, 0, 0, 3, 2, 2, **ROW)
    runtime.memcpy_d2h(result, handle, 0, 0, 3, 2, 2, **ROW)
    np.testing.assert_array_equal(result, np.repeat(rows.reshape(2, 1, 2), 3, axis=1))
    columns = np.arange(6, dtype=np.int32)
    runtime.memcpy_h2d_colbcast(handle, columns, 0, 0, 3, 2, 2, **ROW)
    runtime.memcpy_d2h(result, handle, 0, 0, 3, 2, 2, **ROW)
    np.testing.assert_array_equal(result, np.repeat(columns.reshape(1, 3, 2), 2, axis=0))
    assert runtime.device.bytes_in == rows.nbytes + columns.nbytes


@pytest.mark.parametrize("options", [ROW, COLUMN])
@pytest.mark.parametrize(("strides", "columns", "rows"), [((2, 1), 2, 2), ((1, 2), 3, 1)])
def test_stride_copies_leave_pes_out(runtime, options, strides, columns, rows):
    handle = runtime.get_id("A")
    zeros, result = np.zeros((2, 3, 2), np.uint32), np.zeros((2, 3, 2), np.uint32)
    runtime.memcpy_h2d(handle, zeros, 0, 0, 3, 2, 2, **ROW)
    tensor = np.arange(1, rows * columns * 2 + 1, dtype=np.uint32).reshape(rows, columns, 2)
    flat = tensor if options is ROW else tensor.transpose(2, 1, 0)
    runtime.memcpy_h2d_stride(
        handle, np.ascontiguousarray(flat), 0, 0, 3, 2, 2, *strides, **options
    )
    runtime.memcpy_d2h(result, handle, 0, 0, 3, 2, 2, **ROW)
    np.testing.assert_array_equal(result[:: strides[1], :: strides[0]], tensor)
    assert result.sum() == tensor.sum()


@pytest.mark.parametrize(
    ("place", "strides", "message"),
    [((0, 0, 3, 2), (0, 1), "0 is not a stride"), ((1, 0, 3, 2), (3, 1), "leaves the program")],
)
def test_wrong_strides_are_refused(runtime, place, strides, message):
    with pytest.raises(HostError, match=message):
        runtime.memcpy_h2d_stride(
            runtime.get_id("A"), np.zeros(4, np.uint32), *place, 2, *strides, **ROW
        )


def test_launch_and_call_encode_their_arguments(runtime):
    runtime.launch("compute", np.int16(-1), np.float32(2), nonblock=False)
    runtime.call("compute", [0xFFFF, 0x40000000], nonblock=False)
    launches = runtime.device.machine.launches
    assert launches == [("compute", (-1, 0x40000000))] * 2


@pytest.mark.parametrize("nonblock", [False, True])
def test_every_call_returns_a_handle_of_its_own(runtime, nonblock):
    handle, data = runtime.get_id(symbol="A"), np.zeros(2, np.uint32)
    place, options = (0, 0, 1, 1, 2), {"nonblock": nonblock, **ROW}
    tasks = [
        runtime.launch("sync", nonblock=nonblock),
        runtime.launch(symbol="sync", nonblock=nonblock),
        runtime.call("sync", [], nonblock=nonblock),
        runtime.memcpy_h2d(handle, data, *place, **options),
        runtime.memcpy_h2d_rowbcast(handle, data, *place, **options),
        runtime.memcpy_h2d_colbcast(handle, data, *place, **options),
        runtime.memcpy_h2d_stride(handle, data, *place, 1, 1, **options),
        runtime.memcpy_d2h(data, handle, *place, **options),
    ]
    assert len(set(tasks)) == len(tasks)
    for task in tasks:
        assert runtime.is_task_done(task)
        assert runtime.is_task_done(task_handle=task)
        runtime.task_wait(task_handle=task)


def test_handles_of_another_runtime_are_refused(runtime):
    first = runtime.launch("sync")
    other = SdkRuntime.__new__(SdkRuntime)
    other._tasks = Tasks()
    with pytest.raises(HostError, match="not issued by this runtime"):
        other.task_wait(first)


def test_stop_leaves_a_record(runtime, tmp_path):
    runtime.launch("sync")
    runtime.stop()
    record = json.loads((tmp_path / "simulation.json").read_text())
    assert record == {
        "arch": "wse2",
        "profile": "sdk",
        "engine": "fake",
        "cycles": 2600,
        "bytes_in": 0,
        "bytes_out": 0,
        "launches": [{"name": "sync", "start_cycle": 100, "end_cycle": 2600}],
    }


def test_symbols_can_be_read_after_the_stop(runtime):
    data = np.arange(10, dtype=np.float32)
    runtime.memcpy_h2d(runtime.get_id("A"), data, 2, 1, 1, 1, 10, **ROW)
    runtime.stop()
    np.testing.assert_array_equal(runtime.read_symbol(6, 2, "array", dtype="float32"), data)
    symbol = runtime.read_symbol(6, 2, symbol_name="array")
    assert (symbol.dtype, symbol.size) == (np.uint8, 40)
    assert symbol.view(np.uint16).flags.writeable
    with pytest.raises(HostError, match=r"outside the program, which is 3×2 at fabric \(4, 1\)"):
        runtime.read_symbol(2, 1, "array")
    with pytest.raises(HostError, match="did you mean 'array'"):
        runtime.read_symbol(4, 1, "arrays")
    with pytest.raises(HostError, match="no whole number of float64"):
        runtime.read_symbol(4, 1, "halves", "float64")


def test_a_context_loads_runs_and_stops(created, tmp_path):
    with created as runtime:
        runtime.launch("sync")
    assert (tmp_path / "simulation.json").exists()


def test_a_block_may_stop_by_itself(created):
    with created as runtime:
        runtime.stop()
    with pytest.raises(HostError, match="cannot stop: the device is stopped"):
        runtime.stop()


def test_plain_integers_stand_for_enums(runtime):
    data, result = np.array([1.5], np.float32), np.zeros(1, np.float32)
    options = {"data_type": 0, "order": 1}
    runtime.memcpy_h2d(runtime.get_id("A"), data, 0, 0, 1, 1, 1, **options)
    runtime.memcpy_d2h(result, runtime.get_id("A"), 0, 0, 1, 1, 1, **options)
    assert result == data


def test_an_error_in_the_context_is_the_one_that_shows(created, tmp_path):
    with pytest.raises(ZeroDivisionError), created:
        _ = 1 / 0
    assert not (tmp_path / "simulation.json").exists()


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        (None, "None is not a folder: pass the one given to cslc with -o"),
        (3, "3 is not a folder"),
        ("missing", "there is no folder 'missing'"),
    ],
)
@pytest.mark.parametrize("what", [SdkRuntime, DebugUtil])
def test_a_folder_that_is_none_is_said(what, folder, message):
    with pytest.raises(HostError, match=message):
        what(folder)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda r, a: r.memcpy_h2d(24, a, 0, 0, 1, 1, 2, **ROW),
            "has 1 element, the call moves",
        ),
        (lambda r, a: r.memcpy_h2d(24, a, 3, 0, 1, 1, 1, **ROW), "leaves the program"),
        (lambda r, a: r.memcpy_h2d(26, a, 0, 0, 1, 1, 1, **ROW), "read-only for the host"),
        (lambda r, a: r.memcpy_h2d(28, a, 0, 0, 1, 1, 1, **ROW), "'compute' is a function"),
        (lambda r, a: r.memcpy_h2d(4, a, 0, 0, 1, 1, 1, **ROW), "4 is not a symbol"),
        (lambda r, a: r.memcpy_h2d("A", a, 0, 0, 1, 1, 1, **ROW), "'A' is not a symbol: pass what"),
        (lambda r, a: r.memcpy_h2d(None, a, 0, 0, 1, 1, 1, **ROW), "None is not a symbol"),
        (lambda r, _: r.memcpy_h2d(24, [1.0], 0, 0, 1, 1, 1, **ROW), "NumPy array, not list"),
        (lambda r, _: r.memcpy_h2d(24, None, 0, 0, 1, 1, 1, **ROW), "array, not NoneType"),
        (lambda r, _: r.memcpy_d2h([0.0], 24, 0, 0, 1, 1, 1, **ROW), "NumPy array, not list"),
        (lambda r, a: r.memcpy_d2h(a, 99, 0, 0, 1, 1, 1, **ROW), "99 is not a symbol"),
        (lambda r, a: r.memcpy_h2d(25, a, 0, 0, 1, 1, 1, **ROW), "holds f16"),
        (lambda r, a: r.memcpy_d2h(a, 4, 0, 0, 1, 1, 1, streaming=True, **ROW), "it has none"),
        (lambda r, a: r.memcpy_h2d(24, a, 0, 0, -1, -1, 1, **ROW), "sizes begin at 1"),
        (lambda r, a: r.memcpy_d2h(a, 24, 0, 0, 1, 1, 0, **ROW), "copy of 0 elements"),
        (
            lambda r, a: r.memcpy_d2h(a, 24, 0, 0, 1, 1, 1, data_type=2, order=0),
            "2 is not a valid MemcpyDataType",
        ),
        (lambda r, a: r.memcpy_d2h(24, a, 0, 0, 1, 1, 1, **ROW), "array stands where the symbol"),
        (lambda r, _: r.launch(None), "exports no None; its names are"),
        (lambda r, _: r.launch(["compute"]), "did you mean 'compute'"),
        (lambda r, _: r.get_id(3), "exports no 3; its names are"),
        (lambda r, a: r.get_id(a), "exports no array"),
        (lambda r, _: r.read_symbol("0", 0, "x"), "'0' is not a whole number"),
        (lambda r, _: r.read_symbol(np.uint8(0), 0, "x"), r"fabric PE \(0, 0\) is outside"),
        (lambda r, _: r.read_symbol(4, 1, ["A"]), r"has no variable \['A'\] that"),
        (lambda r, _: r.read_symbol(4, 1, "array", 3), "3 is not a type of NumPy: write"),
        (lambda r, a: r.memcpy_h2d(24, a, 0, 0, 3 / 3, 1, 1, **ROW), "1.0 is not a whole number"),
        (lambda r, a: r.memcpy_d2h(a, 24, 0, 0, 1, 1, None, **ROW), "None is not a whole number"),
        (lambda r, a: r.send("x", a), "no streams, which SdkLayout makes"),
        (lambda r, a: r.receive(0, a, 1), "a layout block streams to colors: memcpy_h2d"),
        (lambda r, _: r.task_wait(None), "None is not a task: pass what launch, a copy, send or"),
        (lambda r, _: r.is_task_done(3), "3 is not a task"),
        (
            lambda r, _: r.dump_elf_core("core.elf"),
            r"dump_elf_core\('core.elf'\): onewafer writes no ELF files: dump_core writes all",
        ),
        (lambda r, _: r.dump_elf_core(corefile="core.elf"), "read_symbol reads one variable"),
        (
            lambda r, _: r.coord_logical_to_physical(3),
            r"coord_logical_to_physical\(3\): a PE is a pair: write \(x, y\)",
        ),
        (lambda r, _: r.coord_logical_to_physical((1, 2, 3)), "a PE is a pair"),
        (lambda r, _: r.launch("compute", 1), "takes 2 arguments"),
        (lambda r, _: r.call("compute", [1]), "takes 2 arguments"),
    ],
)
def test_wrong_calls_are_refused(runtime, call, message):
    with pytest.raises(HostError, match=message):
        call(runtime, np.zeros(1, np.float32))


def test_calls_out_of_order_are_refused(created):
    with pytest.raises(HostError, match="cannot run: the device is not loaded yet"):
        created.run()
    with pytest.raises(HostError, match="not loaded yet"):
        created.launch("sync")


def test_a_real_system_and_a_missing_folder_are_refused(tmp_path):
    for what in (SdkRuntime, DebugUtil):
        with pytest.raises(HostError, match=r"the address '[0-9.:]+' names a real system"):
            what(tmp_path, cmaddr="10.0.0.1:9000")
    with pytest.raises(HostError, match="there is no folder 'nowhere'"):
        SdkRuntime("nowhere")


@pytest.mark.parametrize(
    "arguments",
    [
        {"platform": platform_of(target=SdkTarget.WSE2)},
        {"platform": platform_of(target=SdkTarget.WSE2), "cmaddr": None},
        {"platform": None, "cmaddr": ""},
        {"cmaddr": platform_of(target=SdkTarget.WSE2)},
        {"simulator": True, "disable_version_check": True},
        {},
    ],
)
@pytest.mark.parametrize("folder", ["bindir", "artifacts"])
def test_platform_and_address_are_two_arguments(created, tmp_path, folder, arguments):
    assert created is not None
    runtime = SdkRuntime(**{folder: tmp_path}, **arguments)
    assert runtime.get_id("A") == created.get_id("A")


@pytest.mark.usefixtures("created")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"platform": platform_of(target=SdkTarget.WSE3)},
            "compiled for wse2, the platform is wse3",
        ),
        (
            {"cmaddr": platform_of(target=SdkTarget.WSE3)},
            "compiled for wse2, the platform is wse3: compile it with `cslc --arch=wse3`, or pass",
        ),
        (
            {"platform": SdkTarget.WSE2},
            "platform=<SdkTarget.WSE2: 0> is not a platform: pass the one of get_",
        ),
        ({"cmaddr": 3}, "cmaddr=3 is not a platform"),
        ({"platform": "10.0.0.1:9000"}, "SdkRuntime: the address .* names a real system"),
        ({"simulator": False}, "simulator=False asks for a real system; .* pass simulator=True"),
        ({"artifacts": "out"}, "SdkRuntime: artifacts is another name of bindir: leave one out"),
    ],
)
def test_platforms_that_are_none_are_refused(tmp_path, arguments, message):
    with pytest.raises(HostError, match=message):
        SdkRuntime(bindir=tmp_path, **arguments)

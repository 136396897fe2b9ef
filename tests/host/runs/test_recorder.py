"""A recorded run is the same run, and its recording says what the machine counted."""

import gc

import numpy as np
import pytest

from onewafer.errors import ConfigurationError, DeadlockError
from onewafer.host import Device, Recorded, RecordingOptions, RunLimits, RunRecorder
from onewafer.host.runs import samples as run_samples
from onewafer.host.runs.samples import RunSamples, most_windows
from onewafer.host.runs.spans import spans_of, take_trace
from onewafer.image import DsdOperation, ScalarType, SectionKind
from onewafer.recording import RecordingFile, SourceTexts, column_of_window
from onewafer.simulator import StallReason
from onewafer.trace.formats import read_trace
from onewafer.units import format_size
from tests.host.runs.test_tracing import streaming
from tests.image.builder import make_image
from tests.simulator.assembly import WSE3, Kernel, eastward, sender


def recorded(path, image):
    said = []
    recorder = RunRecorder(path, Recorded("streaming", SourceTexts({})), said.append)
    device = Device(image, WSE3, engine="reference", recorder=recorder)
    recorder.end_with(device)
    device.load()
    return device, said


def test_the_columns_are_the_counters(tmp_path):
    path = tmp_path / "run.parquet"
    device, said = recorded(path, streaming())
    report = device.launch("main")
    device.stop()
    file, statistics = RecordingFile(path), device.machine.statistics()

    size = format_size(path.stat().st_size)
    assert said == [f"wrote {path}, {size}: onewafer view {path} shows it"]
    assert (file.header.ending, file.header.cycles) == ("", statistics.cycles)
    (launch,) = file.header.launches
    assert (launch.name, launch.end_cycle) == ("main", report.end_cycle)
    for name, counter in (
        ("busy_cycles", statistics.busy_cycles),
        ("instructions", statistics.instructions),
        ("wait_input_empty_cycles", statistics.stall_cycles[StallReason.INPUT_EMPTY]),
        ("wavelets_east", statistics.link_wavelets[:, :, 1]),
        ("program", device.image.program_of_pe),
    ):
        np.testing.assert_array_equal(file.column(name), counter)
    code = [
        sum(s.num_bytes for s in program.sections if s.kind is SectionKind.CODE)
        for program in device.image.programs
    ]
    np.testing.assert_array_equal(
        file.column("sram_code_bytes"), np.array(code)[device.image.program_of_pe]
    )
    assert (file.column("energy_joules") > 0).all()
    words = device.machine.registers
    assert words.any()
    found = [file.column(f"register_{n}").reshape(-1) for n in range(words.shape[1])]
    np.testing.assert_array_equal(np.stack(found, axis=1), words)
    assert "waits_for" not in file.columns


def test_a_run_that_hangs_says_what_each_pe_waits_for(tmp_path):
    path = tmp_path / "run.parquet"
    device, _ = recorded(path, streaming(num_sent=3, num_received=8))
    with pytest.raises(DeadlockError):
        device.launch("main")
    device.end()
    file = RecordingFile(path)

    assert "waits" in file.header.ending
    assert file.column("waits_for").tolist() == [[-1, StallReason.INPUT_EMPTY]]
    assert file.header.reasons[StallReason.INPUT_EMPTY] == "input empty"
    assert file.column("waits_for_color")[0, 1] == 3


def test_what_cannot_send_waits_for_the_color_that_it_sends(tmp_path):
    """PE (1, 0) passes on what comes, and the next one takes nothing."""
    passing, idle = Kernel("pass.csl"), Kernel("idle.csl")
    for kernel in (passing, idle):
        kernel.function("main")
    incoming, outgoing = passing.incoming(3, 99), passing.outgoing(5, 99, queue=3)
    passing.operate(DsdOperation.MOV32, outgoing, src1=incoming)
    placed = {(0, 0): sender(3, 99), (1, 0): passing.finish(), (2, 0): idle.finish()}
    image = make_image(WSE3, placed, width=3, routes=eastward(3, 0, 1) | eastward(5, 1, 2))
    device, _ = recorded(tmp_path / "run.parquet", image)
    with pytest.raises(DeadlockError):
        device.launch("main")
    device.end()
    file = RecordingFile(tmp_path / "run.parquet")

    assert file.column("waits_for")[0, 1] == StallReason.OUTPUT_FULL
    assert file.column("waits_for_color")[0].tolist() == [3, 5, -1]


def test_a_run_without_stop_is_recorded_when_its_device_ends(tmp_path):
    path = tmp_path / "run.parquet"
    device, _ = recorded(path, streaming())
    device.launch("main")
    del device
    gc.collect()

    assert RecordingFile(path).header.ending == (
        "the host script ended before it stopped the program"
    )


def test_a_recording_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    with pytest.raises(ConfigurationError, match="the recording cannot be written"):
        RunRecorder(tmp_path / "no" / "run.parquet", Recorded("x", SourceTexts({})), print)


def test_a_folder_that_goes_away_is_said_and_ends_nothing(tmp_path, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    device, said = recorded(folder / "run.parquet", streaming())
    device.launch("main")
    folder.rmdir()
    device.stop()

    assert "the recording is not written" in capsys.readouterr().err
    assert device.has_lost_trace
    assert not said


def test_of_several_machines_the_one_with_most_cycles_is_recorded(tmp_path):
    path = tmp_path / "run.parquet"
    recorder = RunRecorder(path, Recorded("again", SourceTexts({})), print)
    cycles = []
    for length in (2, 8, 3):
        image = streaming(num_sent=length, num_received=length)
        device = Device(image, WSE3, engine="reference", recorder=recorder)
        device.load()
        cycles.append(device.launch("main").end_cycle)
    recorder.finish(ended_well=True)
    header = RecordingFile(path).header

    assert header.cycles == max(cycles)
    assert len(header.launches) == 1


def traced(folder, image):
    """Run a program with a trace and a recording; return both, and the statistics."""
    recorder = RunRecorder(folder / "run.parquet", Recorded("x", SourceTexts({})), print)
    files = (folder / "a.wafer-trace",)
    device = Device(image, WSE3, engine="reference", trace_files=files, recorder=recorder)
    device.load()
    try:
        device.launch("main")
        device.stop()
    except DeadlockError:
        device.end()
    return RecordingFile(folder / "run.parquet"), read_trace(files[0]), device.machine.statistics()


def test_a_traced_run_is_recorded_with_its_tasks_operations_and_waits(tmp_path):
    file, trace, statistics = traced(tmp_path, streaming())
    spans = file.spans
    pes = np.repeat(np.arange(file.header.num_pes), np.diff(spans.first))
    kinds = np.array([spans.kind.texts[number] for number in spans.kind.numbers])
    waited = np.bincount(pes, spans.cycles * (kinds == "wait"), file.header.num_pes)

    assert np.bincount(pes, kinds == "task").tolist() == statistics.task_starts.reshape(-1).tolist()
    assert waited[1] == statistics.stall_cycles[StallReason.INPUT_EMPTY][0, 1]
    assert set(spans.name.texts) >= {"main (launched)", "mov32", "input empty C3"}
    assert not spans.is_open.any()
    assert file.header.spans_until is None
    assert (spans_of(trace).start_cycle == spans.start_cycle).all()


def test_what_hangs_is_a_span_that_has_not_ended(tmp_path):
    file, *_ = traced(tmp_path, streaming(num_sent=3, num_received=8))
    spans = file.spans
    names = [spans.name.texts[number] for number in spans.name.numbers[spans.is_open]]

    assert file.header.ending
    assert "input empty C3" in names
    assert spans.end_cycle[spans.is_open].tolist() == [file.header.cycles] * len(names)


def test_of_too_many_spans_the_first_cycles_of_all_pes_are_kept(tmp_path):
    file, trace, _ = traced(tmp_path, streaming())
    before, most = file.spans, len(file.spans.start_cycle) - 2
    kept = take_trace(trace, most)
    spans, moves = kept.lists

    assert 0 < len(spans.start_cycle) <= most
    assert kept.num_left_out == len(before.start_cycle) - len(spans.start_cycle)
    assert (spans.start_cycle < kept.until).all()
    assert len(moves.cycle) == (file.moves.cycle < kept.until).sum()
    assert kept.until in [*before.start_cycle, *file.moves.cycle]
    for lists in kept.lists:
        lists.check(file.header.num_pes)
    assert take_trace(trace).until is None


def test_the_wavelets_of_a_traced_run_are_those_that_the_links_counted(tmp_path):
    file, _, statistics = traced(tmp_path, streaming())
    moves, links = file.moves, statistics.link_wavelets
    pes = np.repeat(np.arange(file.header.num_pes), np.diff(moves.first))
    found = np.zeros_like(links).reshape(-1, links.shape[-1])
    np.add.at(found, (pes, moves.side.astype(int)), 1)

    assert set(moves.color) == {3}
    np.testing.assert_array_equal(found.reshape(links.shape), links)
    assert all(np.all(np.diff(part) >= 0) for part in np.split(moves.cycle, moves.first[1:-1]))


def sample(path, *, every, most=None, monkeypatch=None):
    """Record a run with windows; return the file and the statistics at its end."""
    if most is not None:
        monkeypatch.setattr(run_samples, "_MOST_WINDOWS", most)
    recorder = RunRecorder(path, Recorded("x", SourceTexts({})), print, RecordingOptions(every))
    image = streaming(num_sent=40, num_received=40)
    device = Device(image, WSE3, engine="fast", recorder=recorder)
    device.load()
    device.launch("main")
    device.stop()
    return RecordingFile(path), device.machine.statistics()


@pytest.mark.parametrize("most", [None, 4])
def test_windows_follow_one_another_and_add_up_to_the_run(tmp_path, most, monkeypatch):
    options = {"most": most, "monkeypatch": monkeypatch}
    file, statistics = sample(tmp_path / "run.parquet", every=10, **options)
    windows = file.header.windows

    assert windows[0].start_cycle == 0
    assert windows[-1].end_cycle == statistics.cycles
    assert [w.start_cycle for w in windows[1:]] == [w.end_cycle for w in windows[:-1]]
    lengths = {w.end_cycle - w.start_cycle for w in windows[:-1]}
    if most is None:
        assert lengths == {10}
    else:
        assert len(windows) <= most
        assert all(length % 20 == 0 for length in lengths)
    busy = statistics.main_thread_cycles + statistics.data_path_cycles
    assert (busy <= statistics.cycles).all()  # so that no window cuts it
    for counter, whole in (
        ("busy_cycles", busy),
        ("wait_cycles", sum(statistics.stall_cycles.values())),
        ("wavelets", statistics.link_wavelets[:, :, :4].sum(axis=2)),
    ):
        columns = [file.column(column_of_window(i, counter)) for i in range(len(windows))]
        np.testing.assert_array_equal(np.sum(columns, axis=0), whole)
        assert counter == "wait_cycles" or sum(int(column.any()) for column in columns) > 1


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_a_long_operation_is_busy_in_every_window_that_it_spans(engine):
    kernel = Kernel("long.csl")
    base = kernel.data("numbers", ScalarType.U32, num_elements=4000)
    kernel.function("main")
    numbers = kernel.vector(base, 4000)
    kernel.operate(DsdOperation.MOV32, numbers, src1=numbers)
    device = Device(make_image(WSE3, kernel.finish(), routes={}), WSE3, engine=engine)
    device.load()
    samples = RunSamples(device.machine, 100)
    device.launch("main", sampler=samples)
    windows, columns = samples.taken()
    busy = [columns[column_of_window(i, "busy_cycles")].item() for i in range(len(windows))]
    assert len(busy) >= 9
    assert set(busy[1:-1]) == {100}


def test_samples_change_nothing_and_memory_bounds_them():
    image = streaming()
    assert most_windows(755 * 1170) * 755 * 1170 * 13 <= 1 << 28
    cycles = set()
    for every in (None, 3):
        device = Device(image, WSE3, engine="fast")
        device.load()
        sampler = None if every is None else RunSamples(device.machine, every)
        cycles.add(device.launch("main", sampler=sampler).end_cycle)
    assert len(cycles) == 1


def test_a_run_that_is_followed_is_written_while_it_goes_on(tmp_path):
    path, seconds = tmp_path / "run.parquet", iter(range(0, 1000, 10))
    options = RecordingOptions(is_live=True)
    recorder = RunRecorder(path, Recorded("x", SourceTexts({})), print, options)
    limits = RunLimits(clock=lambda: next(seconds))
    device = Device(streaming(), WSE3, engine="fast", limits=limits, recorder=recorder)
    device.load()
    device.launch("main")
    header = RecordingFile(path).header

    assert (header.is_over, header.ending) == (False, "")
    assert [launch.name for launch in header.launches] == ["main"]
    before = path.stat().st_ino
    recorder.clock = lambda: 0.0
    recorder.paused()  # too early
    assert path.stat().st_ino == before
    device.stop()
    assert RecordingFile(path).header.is_over


def test_a_launch_that_is_short_is_seen_while_the_script_goes_on(tmp_path):
    path = tmp_path / "run.parquet"
    recorder = RunRecorder(
        path, Recorded("x", SourceTexts({})), print, RecordingOptions(is_live=True)
    )
    limits = RunLimits(clock=lambda: 1.0)  # all of it takes no time
    device = Device(streaming(), WSE3, engine="fast", limits=limits, recorder=recorder)
    device.load()
    report = device.launch("main")
    header = RecordingFile(path).header

    assert (header.cycles, header.is_over) == (report.end_cycle, False)

"""A recorded run is the same run, and its recording says what the machine counted."""

import gc

import numpy as np
import pytest

from onewafer.errors import ConfigurationError, DeadlockError
from onewafer.host import Device, Recorded, RunRecorder
from onewafer.image import SectionKind
from onewafer.recording import RecordingFile, SourceTexts
from onewafer.simulator import StallReason
from tests.host.test_tracing import streaming
from tests.simulator.assembly import WSE3


def recorded(path, image):
    said = []
    recorder = RunRecorder(path, Recorded("streaming", SourceTexts({})), said.append)
    device = Device(image, WSE3, engine="reference", recorder=recorder)
    recorder.finish_with(device)
    device.load()
    return device, said


def test_the_columns_are_the_counters(tmp_path):
    path = tmp_path / "run.parquet"
    device, said = recorded(path, streaming())
    report = device.launch("main")
    device.stop()
    file, statistics = RecordingFile(path), device.machine.statistics()

    assert said == [f"wrote run.parquet, {said[0].split(', ')[1]}"]
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
    assert "waits_for" not in file.columns


def test_a_run_that_hangs_says_what_each_pe_waits_for(tmp_path):
    path = tmp_path / "run.parquet"
    device, _ = recorded(path, streaming(num_sent=3, num_received=8))
    with pytest.raises(DeadlockError):
        device.launch("main")
    device.end_trace()
    file = RecordingFile(path)

    assert "waits" in file.header.ending
    assert file.column("waits_for").tolist() == [[-1, StallReason.INPUT_EMPTY]]
    assert file.header.reasons[StallReason.INPUT_EMPTY] == "input empty"
    assert file.column("waits_for_color")[0, 1] == 3


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

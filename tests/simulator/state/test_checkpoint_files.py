"""The file of a checkpoint: what it says, what is refused, and how it is written."""

import dataclasses
import io
import json
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import CheckpointError
from onewafer.simulator import Machine
from tests.image.builder import make_image
from tests.simulator.assembly import EAST, RAMP, SILICON, WEST, WSE2, WSE3, receiver, route, sender
from tests.simulator.state.test_checkpoint import tables
from tests.simulator.test_engines_agree import LENIENT

ENGINES = ("fast", "reference")


def midway(engine="reference", architecture=WSE3):
    """Return a machine that sends eight words over two hops, in mid-flight."""
    routes = {
        (0, 0, 3): route(RAMP, EAST),
        (1, 0, 3): route(WEST, EAST),
        (2, 0, 3): route(WEST, RAMP),
    }
    programs = {(0, 0): sender(3, 8), (2, 0): receiver(3, 8)}
    image = make_image(architecture, programs, width=3, routes=routes)
    machine = Machine(image, architecture, engine=engine)
    machine.launch("main")
    machine.run(max_cycles=22)
    return machine


@pytest.fixture
def saved(tmp_path):
    """Return a checkpoint file."""
    path = tmp_path / "a.checkpoint"
    midway().save_checkpoint(path, what="the launch of 'main'")
    return path


def test_the_file_says_what_it_is(saved):
    with zipfile.ZipFile(saved) as archive:
        header = json.loads(archive.read("header.json"))
    assert header["format"] == "onewafer checkpoint"
    assert (header["arch"], header["profile"], header["cycle"]) == ("wse3", "sdk", 22)
    assert (header["engine"], header["what"]) == ("reference", "the launch of 'main'")


def test_numpy_reads_the_tables(saved):
    wavelets = np.load(saved)["table.wavelets"]
    assert wavelets.dtype.names == ("source", "ready", "color", "word")
    assert set(wavelets["color"].tolist()) == {3}


def test_the_host_goes_on_too(saved):
    machine = Machine.from_checkpoint(saved, engine="reference")
    machine.run()
    symbol = machine.symbol(2, 0, "received")
    words = np.frombuffer(machine.peek(2, 0, symbol.address, symbol.num_bytes), "<u4")
    assert words.tolist() == list(range(1, 9))
    machine.poke(2, 0, symbol.address, bytes(32))
    machine.launch("main")
    machine.run()
    assert machine.peek(2, 0, symbol.address, 4) == b"\1\0\0\0"


def test_injected_wavelets_wait_in_the_file(tmp_path):
    def injected():
        machine = Machine(
            make_image(WSE3, receiver(3, 5), routes={(0, 0, 3): route(RAMP, RAMP)}),
            WSE3,
            engine="reference",
        )
        machine.launch("main")
        machine.inject(0, 0, 3, [7, 8, 9, 10, 11])
        return machine

    cut, whole = injected(), injected()
    cut.run(max_cycles=3)
    cut.save_checkpoint(tmp_path / "x")
    cut = Machine.from_checkpoint(tmp_path / "x", engine="reference")
    for machine in (cut, whole):
        machine.run()
    assert cut.cycle == whole.cycle
    np.testing.assert_array_equal(cut.memory, whole.memory)


def test_memory_that_is_zero_takes_no_space(saved):
    image = make_image(WSE3, receiver(3, 8), width=64, height=16)
    big = saved.with_name("big")
    Machine(image, WSE3, engine="reference").save_checkpoint(big)
    assert 64 * 16 * WSE3.memory_bytes > 1000 * big.stat().st_size


# --- what is refused ------------------------------------------------------------------------------


def test_another_program_is_refused(saved):
    machine = midway()
    assert Machine.from_checkpoint(saved, engine="reference", image=machine.image).cycle == 22
    other = make_image(WSE3, sender(3, 9))
    with pytest.raises(CheckpointError, match="of another program than the image"):
        Machine.from_checkpoint(saved, image=other)


def test_another_machine_is_refused(saved):
    with pytest.raises(CheckpointError, match=r"machine wse3 \(sdk\), not of wse2 \(sdk\)"):
        Machine.from_checkpoint(saved, architecture=WSE2)
    with pytest.raises(CheckpointError, match=r"not of wse3 \(silicon\)"):
        Machine.from_checkpoint(saved, architecture=SILICON)
    slower = dataclasses.replace(WSE3, timing=dataclasses.replace(WSE3.timing, hop_cycles=3))
    with pytest.raises(CheckpointError, match="has other numbers here"):
        Machine.from_checkpoint(saved, architecture=slower)


def rewritten(path, change):
    """Rewrite a checkpoint with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, payload in members.items():
            archive.writestr(name, payload)


def with_header(path, **changes):
    def change(members):
        header = json.loads(members["header.json"])
        members["header.json"] = json.dumps({**header, **changes}).encode()

    rewritten(path, change)


@pytest.mark.parametrize("changes", [{"version": 99}, {"onewafer": "0.0.1"}])
def test_another_version_is_refused(saved, changes):
    with_header(saved, **changes)
    with pytest.raises(CheckpointError, match="go on with the one that wrote it"):
        Machine.from_checkpoint(saved, engine="reference")


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.pop("table.wavelets.npy"),
        lambda members: members.pop("image.npz"),
        lambda members: members.update({"stalls.npy": members["table.links.npy"]}),
        lambda members: members.update({"table.links.npy": members["table.wavelets.npy"]}),
        lambda members: members.update({"header.json": b"{"}),
        lambda members: members.update({"state.memory.blocks.npy": members["stalls.npy"]}),
        lambda members: members.update({"state.registers.npy": members["stalls.npy"]}),
    ],
)
def test_a_file_that_lacks_something_is_refused(saved, change):
    rewritten(saved, change)
    with pytest.raises(CheckpointError, match="damaged"):
        Machine.from_checkpoint(saved, engine="reference")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("table", "column", "number"),
    [
        ("elements", "pe", 1),
        ("elements", "pe", 1_000_000),
        ("elements", "main_thread", 77),
        ("elements", "bulk_thread", 1 << 40),
        ("routers", "pe", -1),
        ("sources", "port", 9),
        ("wavelets", "source", 99),
        ("wavelets", "color", 24),
        ("operations", "thread", 9),
        ("operations", "kind", 1000),
        ("operations", "config", 0),
        ("operations", "dest_form", 7),
        ("operations", "src1_base", 24),
    ],
)
def test_numbers_that_lead_nowhere_are_refused(saved, engine, table, column, number):
    name = f"table.{table}.npy"

    def change(members):
        rows = np.load(io.BytesIO(members[name]))
        rows[column][0] = number
        members[name] = as_npy(rows)

    rewritten(saved, change)
    with pytest.raises(CheckpointError, match="damaged"):
        Machine.from_checkpoint(saved, engine=engine)


def as_npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("counter", [-1, 10_000])
def test_a_program_counter_outside_the_program_is_refused(saved, counter):
    counters = np.full(3, counter, np.int32)
    rewritten(saved, lambda m: m.update({"state.program_counters.npy": as_npy(counters)}))
    with pytest.raises(CheckpointError, match=f"program_counters has {counter}"):
        Machine.from_checkpoint(saved)


@pytest.mark.parametrize(
    "changes", [{"cycle": "abc"}, {"cycle": 10**30}, {"end": -5}, {"what": ["x"]}, {"cycle": True}]
)
def test_a_header_with_something_else_is_refused(saved, changes):
    with_header(saved, **changes)
    with pytest.raises(CheckpointError, match="damaged"):
        Machine.from_checkpoint(saved, engine="reference")


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="is not a file"):
        Machine.from_checkpoint(tmp_path / "pipe")


def test_files_that_are_something_else_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        Machine.from_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="Is a directory"):
        Machine.from_checkpoint(tmp_path)
    for payload in (b"", b"text", b"\x80\x04."):
        (tmp_path / "x").write_bytes(payload)
        with pytest.raises(CheckpointError, match="not a whole checkpoint"):
            Machine.from_checkpoint(tmp_path / "x")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(CheckpointError, match="damaged"):
        Machine.from_checkpoint(tmp_path / "other.npz")


@settings(LENIENT, max_examples=150)
@given(data=st.data())
def test_damage_is_seen_or_does_not_matter(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "whole.checkpoint"
    if not path.exists():
        midway().save_checkpoint(path)
    payload = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        payload = payload[: data.draw(st.integers(0, len(payload) - 1))]
    else:
        place = data.draw(st.integers(0, len(payload) - 1))
        payload[place] ^= data.draw(st.integers(1, 255))
    damaged = path.with_name("damaged.checkpoint")
    damaged.write_bytes(payload)
    try:
        machine = Machine.from_checkpoint(damaged, engine="reference")
    except CheckpointError:
        return
    assert tables(machine) == tables(midway())
    np.testing.assert_array_equal(machine.memory, midway().memory)


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    path = tmp_path / "a.checkpoint"
    midway().save_checkpoint(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("onewafer.simulator.state.checkpoint._write_array", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        midway().save_checkpoint(path)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("path", "message"),
    [(".", "Is a directory"), ("", "Is a directory"), ("no/where", "No such file or directory")],
)
def test_a_place_that_cannot_be_written_is_said(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        midway().save_checkpoint(path)
    assert not [*tmp_path.iterdir()]


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    """As a link to one, here, so that a failure does no harm."""
    device = tmp_path / "null"
    device.symlink_to(os.devnull)
    midway().save_checkpoint(device)
    assert device.is_symlink()

"""Simulated launches on disk: found again by the same program, ignored when damaged."""

import json
from dataclasses import replace

import pytest

from onewafer.arch import load_architecture
from onewafer.execution import launch_files
from onewafer.execution.activity import Activity, PeMemory
from onewafer.execution.agreement import Agreement
from onewafer.execution.launch_files import ImageFigures, LaunchFile, SimulatedLaunch, read_launches
from onewafer.execution.sampling import Spent
from onewafer.files.digests import digest
from onewafer.graph import LayerPart
from onewafer.mesh import Launch, Purpose, emit, shard
from onewafer.mesh.purposes import CONTROL
from tests.mesh.strategies import mlp

WSE3 = load_architecture("wse3")
FIGURES = ImageFigures(PeMemory(1, 0, 6000, 1234, 2048, 0, 1006), 9)
SPENT = {
    Purpose(LayerPart.MLP, is_collective=True): Spent(60.0, 30.5),
    CONTROL: Spent(40.0, 0.0),
}
FOUND = SimulatedLaunch(Activity(100, 100, 7, 60, 7, SPENT), Agreement(1, distance=1e-7))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(launch_files, "cache_folder", lambda: tmp_path)
    return tmp_path


def emitted(sizes=(6, 5, 3)):
    return emit(shard(mlp(sizes), width=2, height=2, architecture=WSE3), WSE3)


def test_what_was_kept_is_found_by_the_same_program_on_the_same_machine_only():
    LaunchFile.of(emitted(), WSE3).keep(Launch.at(0, 0), FOUND, FIGURES)
    again = LaunchFile.of(emitted(), WSE3)
    assert again.launches == {Launch.at(0, 0): FOUND}
    assert again.figures == FIGURES
    assert not LaunchFile.of(emitted((6, 5, 4)), WSE3).launches
    silicon = load_architecture("wse3", profile="silicon")
    assert not LaunchFile.of(emitted(), silicon).launches


def test_other_sources_know_nothing_of_it(monkeypatch):
    LaunchFile.of(emitted(), WSE3).keep(Launch.at(0, 0), FOUND, FIGURES)
    monkeypatch.setattr(launch_files, "digest_of_sources", lambda *_: "others")
    assert not LaunchFile.of(emitted(), WSE3).launches


def resign(body):
    return f"{digest(body)}\n{body}"


def changed(text, **fields):
    return resign(json.dumps(json.loads(text.partition("\n")[2]) | fields))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("100", "999"),
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda _: resign("[" * 100_000),
        lambda _: resign("17"),
        lambda text: changed(text, format="onewafer-launches-0"),
        lambda text: changed(text, launches=[{"start": 0, "rows": 0}]),
        lambda text: changed(text, launches=[{"start": 0, "rows": 0, "activity": {"spent": 3}}]),
    ],
)
def test_a_damaged_file_counts_as_none(damage):
    file = LaunchFile.of(emitted(), WSE3)
    file.keep(Launch.at(0, 0), FOUND, FIGURES)
    file.path.write_text(damage(file.path.read_text()))
    assert read_launches(file.path) is None
    assert not LaunchFile.of(emitted(), WSE3).launches


def test_a_launch_without_cycles_is_damage():
    file = LaunchFile.of(emitted(), WSE3)
    nothing = replace(FOUND, activity=Activity())
    file.keep(Launch.at(0, 0), nothing, FIGURES)
    assert read_launches(file.path) is None


def test_without_a_home_folder_nothing_is_kept(monkeypatch):
    def none():
        raise OSError("no home folder")

    monkeypatch.setattr(launch_files, "cache_folder", none)
    file = LaunchFile.of(emitted(), WSE3)
    file.keep(Launch.at(0, 0), FOUND, FIGURES)
    assert file.launches == {Launch.at(0, 0): FOUND}


def test_a_folder_that_cannot_be_written_is_not_missed(folder):
    (folder / "launches").write_text("a file, not a folder")
    file = LaunchFile.of(emitted(), WSE3)
    file.keep(Launch.at(0, 0), FOUND, FIGURES)
    assert file.launches == {Launch.at(0, 0): FOUND}

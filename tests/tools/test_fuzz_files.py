"""Damaged files are read or refused in a sentence; and what would not is found."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from rich.console import Console

from onewafer.errors import OnewaferError
from tools import file_kinds, fuzz_files


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    return fuzz_files.Fuzzer([*file_kinds.KINDS.values()], tmp_path_factory.mktemp("files"))


def run(fuzzer, count, first=0):
    return fuzzer.run(range(first, first + count), Console(file=io.StringIO()))


def test_a_share_of_the_files(fuzzer):
    """The command reads 5,000."""
    assert run(fuzzer, 350) == {}
    assert fuzzer.num_read > 50
    assert len(fuzzer.errors) > 100  # edits reach far behind the checksums


@pytest.mark.parametrize("name", file_kinds.KINDS)
def test_what_is_taken_apart_is_put_together(name, tmp_path):
    kind = file_kinds.KINDS[name]
    for file, content in kind.pack(kind.make(tmp_path)).items():
        (tmp_path / file).write_bytes(content)
    kind.read(tmp_path)


LARGE = (1 << 31) - 1
MOST_BYTES = 16 << 20


def numbers_of(root, seen=None, path=()):
    """Yield the holder and key of a number of each field of each class in a JSON document."""
    seen = set() if seen is None else seen
    items = root.items() if isinstance(root, dict) else enumerate(root)
    for key, value in [*items]:
        place = (*path, key if isinstance(root, dict) else "")
        if isinstance(root, dict) and "type" in root:
            place = (root["type"], key)
        if type(value) is int and place not in seen:
            seen.add(place)
            yield root, key
        elif isinstance(value, dict | list):
            yield from numbers_of(value, seen, place)


def bytes_asked_for(kind, folder, document):
    """Return the most memory that was allocated at a time, touched or not, while a file is read."""
    for name, content in kind.pack(document).items():
        (folder / name).write_bytes(content)
    refusal = ""
    tracemalloc.start()
    try:
        kind.read(folder)
    except OnewaferError as error:
        refusal = str(error)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "Unable to allocate" not in refusal
    return most


@pytest.mark.parametrize("name", file_kinds.KINDS)
@pytest.mark.alternate(3)
def test_no_number_of_a_file_asks_for_memory(name, tmp_path):
    kind = file_kinds.KINDS[name]
    document = kind.make(tmp_path)
    for part in document.values():
        for holder, key in [*numbers_of(part)] if isinstance(part, dict | list) else ():
            number, holder[key] = holder[key], LARGE
            assert bytes_asked_for(kind, tmp_path, document) < MOST_BYTES, key
            holder[key] = number


@pytest.mark.parametrize(
    "change", [f"memory_bytes={LARGE}", "memory_bytes=49153", "fabric_width=99999"]
)
def test_no_machine_of_an_image_asks_for_memory(change, tmp_path):
    kind = file_kinds.KINDS["image"]
    document = kind.make(tmp_path)
    document["structure"]["arch"] = f"wse3:{change}"
    assert bytes_asked_for(kind, tmp_path, document) < MOST_BYTES


def test_a_number_is_always_the_same_file(fuzzer):
    assert fuzzer.files(70) == fuzzer.files(70)
    assert fuzzer.files(70)[1] != fuzzer.files(77)[1]


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError])
def test_an_exception_of_a_reader_is_a_failure(fuzzer, monkeypatch, error):
    def fail(_):
        raise error("out of range")

    broken = file_kinds.Kind(lambda _: {"x": b""}, lambda parts: parts, fail)
    monkeypatch.setattr(fuzzer, "_wholes", [(broken, {"x": b""})])
    assert "out of range" in run(fuzzer, 1, first=5)[5]


def test_a_hang_is_a_failure(fuzzer, monkeypatch):
    def hang(_):
        while True:
            pass

    broken = file_kinds.Kind(lambda _: {"x": b""}, lambda parts: parts, hang)
    monkeypatch.setattr(fuzzer, "_wholes", [(broken, {"x": b""})])
    monkeypatch.setattr(fuzz_files, "SECONDS", 0.05)
    assert "not done within" in run(fuzzer, 1)[0]


def test_command(capsys, monkeypatch, tmp_path):
    assert fuzz_files.main(["--count", "3", "--only", "streams"]) == 0
    assert "3 of 3 ended as they should" in capsys.readouterr().out
    assert fuzz_files.main(["--write", "3", str(tmp_path), "--only", "streams"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["streams.json"]
    monkeypatch.setattr(fuzz_files.Fuzzer, "check", lambda *_: "wrong")
    assert fuzz_files.main(["--count", "2", "--first", "9", "--only", "graph"]) == 1
    assert "--- 9: " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        fuzz_files.main(["--count", "0"])
    assert "at least 1" in capsys.readouterr().err

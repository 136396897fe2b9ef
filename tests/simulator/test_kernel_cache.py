"""Machine code on disk: damage is compiled again, and nothing is written anywhere else."""

import importlib.util
import os

import numba
import pytest

from onewafer.simulator.fast import compilation
from onewafer.simulator.fast.compilation import Keeping, keeping

SOURCE = "def twice(number):\n    return 2 * number\n"


@pytest.fixture
def make_entry(tmp_path):
    """Return what makes an entry as a new process would, with its files in a folder."""
    path = tmp_path / "kernels.py"
    path.write_text(SOURCE)

    def make(folder):
        spec = importlib.util.spec_from_file_location("kernels", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        entry = numba.njit(module.twice)
        compilation._keep_on_disk(entry, folder)
        return entry

    return make


@pytest.fixture
def filled(make_entry, tmp_path):
    """Return a folder that holds the machine code."""
    folder = tmp_path / "cache"
    entry = make_entry(folder)
    assert keeping(entry) is Keeping.NOT_YET
    assert entry(4) == 8
    assert keeping(entry) is Keeping.KEPT
    return folder


def num_loaded(entry):
    return sum(entry.stats.cache_hits.values())


def test_another_process_finds_it(make_entry, filled):
    entry = make_entry(filled)
    assert keeping(entry) is Keeping.KEPT
    assert entry(5) == 10
    assert num_loaded(entry) == 1


def flip(content, place):
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _content: b"", id="empty"),
        pytest.param(lambda content: content[: len(content) // 2], id="half"),
        pytest.param(lambda content: content[:-1], id="one byte less"),
        pytest.param(lambda content: flip(content, len(content) // 2), id="a byte in the middle"),
        pytest.param(lambda content: b"\0" * len(content), id="zeros"),
    ],
)
def test_what_is_damaged_is_compiled_again(make_entry, filled, suffix, damage):
    (path,) = filled.rglob(f"*{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    entry = make_entry(filled)
    assert keeping(entry) is Keeping.NOT_YET
    assert entry(6) == 12
    assert num_loaded(entry) == 0
    mended = make_entry(filled)
    assert mended(7) == 14
    assert num_loaded(mended) == 1


def test_nothing_is_kept_where_nothing_can_be_written(make_entry, tmp_path):
    """Least of all beside the source, where a change of another source would not be seen."""
    (tmp_path / "file").touch()
    entry = make_entry(tmp_path / "file" / "cache")
    assert keeping(entry) is Keeping.IMPOSSIBLE
    assert entry(4) == 8
    assert not [*tmp_path.rglob("*.nb?")]


def test_a_full_disk_is_no_error(make_entry, filled, monkeypatch):
    (path,) = filled.rglob("*.nbc")
    path.unlink()

    def refuse(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    assert make_entry(filled)(9) == 18
    assert not [*filled.rglob("*.nbc")]

"""Machine code on disk: damage is compiled again, and nothing is written anywhere else."""

import importlib.util
import os
import runpy
import stat
from contextlib import suppress
from pathlib import Path

import numba
import pytest

from onewafer.simulator.fast.machine_code import jit, kept, private_folder
from onewafer.simulator.fast.machine_code.kept import Keeping, keep_on_disk, keeping
from onewafer.simulator.fast.machine_code.private_folder import NotPrivateError, make_private

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
        with suppress(OSError):
            keep_on_disk(entry, folder)
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


def test_installations_of_the_same_sources_share_machine_code(tmp_path):
    """Another virtual environment does not compile again, whenever its files were written."""
    hits = []
    for date, place in enumerate(("one", "other")):
        path = tmp_path / place / "twice.py"
        path.parent.mkdir()
        path.write_text("def twice(number):\n    return 2 * number\n", encoding="utf-8")
        os.utime(path, (date, date))
        function = numba.njit(runpy.run_path(str(path))["twice"])
        keep_on_disk(function, tmp_path / "kernels")
        assert function(21) == 42
        hits.append(sum(function.stats.cache_hits.values()))
    assert hits == [0, 1]


# --- no other user can write there ---------------------------------------------------------------


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_and_folders_are_the_users_alone(make_entry, tmp_path):
    before = os.umask(0)
    try:
        make_entry(tmp_path / "caches" / "kernels" / "hash")(4)
    finally:
        os.umask(before)
    folder = tmp_path / "caches"
    paths = [folder, *folder.rglob("*")]
    assert {mode(path) for path in paths if path.is_dir()} == {0o700}
    assert {mode(path) for path in paths if path.is_file()} == {0o600}
    assert sum(path.is_file() for path in paths) == 2


def test_a_folder_that_others_can_read_becomes_private(make_entry, filled):
    filled.chmod(0o755)
    assert keeping(make_entry(filled)) is Keeping.KEPT
    assert mode(filled) == 0o700


@pytest.mark.parametrize("permission", [0o720, 0o702, 0o1777])
def test_a_folder_that_others_can_write_is_not_used(make_entry, filled, permission):
    filled.chmod(permission)
    entry = make_entry(filled)
    assert keeping(entry) is Keeping.IMPOSSIBLE
    assert entry(4) == 8
    assert num_loaded(entry) == 0
    with pytest.raises(NotPrivateError, match=f"other users can write {filled}"):
        make_private(filled)


def test_a_folder_below_one_that_others_can_write_is_not_used(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(NotPrivateError, match=f"other users can write {shared} "):
        make_private(shared / "caches" / "kernels")
    assert not [*shared.iterdir()]


def test_a_sticky_folder_as_tmp_may_be_above(tmp_path):
    """Users cannot replace files of others there."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    make_private(shared / "kernels")
    assert mode(shared / "kernels") == 0o700


def test_links_are_followed_to_the_folder_that_counts(tmp_path):
    """A link can lead to a place that others can write, or pass through one."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "inner").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(Path("open") / "inner")
    with pytest.raises(NotPrivateError, match=f"write {tmp_path / 'open'} "):
        make_private(tmp_path / "link")
    (tmp_path / "open" / "back").symlink_to(tmp_path / "private")
    (tmp_path / "private").mkdir()
    with pytest.raises(NotPrivateError, match=f"write {tmp_path / 'open'} "):
        make_private(tmp_path / "open" / "back")
    (tmp_path / "good").symlink_to("private")
    make_private(tmp_path / "good" / "kernels")
    assert mode(tmp_path / "private" / "kernels") == 0o700
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        make_private(tmp_path / "loop")


def test_what_belongs_to_another_user_is_not_used(filled, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(private_folder, "ROOT", -1)
    with pytest.raises(NotPrivateError, match=f"/ belongs to another user .number {os.getuid()}"):
        make_private(filled)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_file_that_others_can_write_is_compiled_again(make_entry, filled, suffix):
    (path,) = filled.rglob(f"*{suffix}")
    path.chmod(0o666)
    entry = make_entry(filled)
    assert keeping(entry) is Keeping.NOT_YET
    assert entry(6) == 12
    assert num_loaded(entry) == 0
    assert mode(path) == 0o600
    assert keeping(make_entry(filled)) is Keeping.KEPT


def no_home():
    raise FileNotFoundError("there is no home folder")


@pytest.mark.parametrize("has_home", [False, True])
def test_where_nothing_can_be_kept_kernels_run_all_the_same(monkeypatch, tmp_path, has_home):
    (tmp_path / "file").touch()
    monkeypatch.setattr(kept, "cache_folder", (lambda: tmp_path / "file") if has_home else no_home)
    reason = f"{tmp_path}/file/kernels cannot be written"
    assert kept.why_not_kept() == (reason if has_home else "there is no home folder")
    entry = jit.compile_entry(lambda number: 2 * number)
    assert keeping(entry) is Keeping.IMPOSSIBLE
    assert entry(4) == 8


def test_others_that_can_write_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "cache_folder", lambda: tmp_path)
    assert kept.why_not_kept() == ""
    tmp_path.chmod(0o770)
    assert kept.why_not_kept() == f"other users can write {tmp_path} (`chmod go-w` forbids it)"

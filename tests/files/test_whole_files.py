"""Output files appear whole or not at all."""

import errno

import pytest

from onewafer.files.whole_files import new_sibling, try_to_write, whole_file, write_text


def test_a_file_is_replaced_when_all_is_written(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with whole_file(path) as target:
        target.write_text("new")
        assert path.read_text() == "old"
    assert [p.read_text() for p in tmp_path.iterdir()] == ["new"]


def test_an_end_in_the_middle_leaves_what_stood_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half():
        with whole_file(path) as target:
            target.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("named", [None, "partial"])
def test_an_error_names_the_file_and_not_what_is_beside_it(named, tmp_path):
    path = tmp_path / "file"

    def fill_the_disk():
        with whole_file(path) as target:
            raise OSError(errno.ENOSPC, "[errno 28] in C++", *([str(target)] if named else []))

    with pytest.raises(OSError, match=r"No space left on device: '.*/file'"):
        fill_the_disk()
    assert not [*tmp_path.iterdir()]


def test_an_error_about_another_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), whole_file(tmp_path / "file"):
        (tmp_path / "other").open()


def test_a_link_is_written_through(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    write_text(link, "text")
    assert link.is_symlink()
    assert target.read_text() == "text"


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["first"]


def test_a_sibling_is_new_and_may_be_read_by_whom_any_file_may(tmp_path):
    path = tmp_path / "file"
    path.touch()
    siblings = {new_sibling(path, ".part") for _ in range(3)}
    assert len(siblings) == 3
    for sibling in siblings:
        assert sibling.parent == tmp_path
        assert sibling.name.startswith(".file.")
        assert sibling.suffix == ".part"
        assert sibling.stat().st_mode == path.stat().st_mode


def test_trying_leaves_nothing(tmp_path):
    try_to_write(tmp_path / "file")
    assert not [*tmp_path.iterdir()]
    (tmp_path / "file").write_text("old")
    try_to_write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"
    with pytest.raises(FileNotFoundError):
        try_to_write(tmp_path / "missing" / "file")

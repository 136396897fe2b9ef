"""Errors as a notebook shows them: the user's frames and the message, without ours."""

from pathlib import Path

import pytest

import onewafer
from onewafer.errors import ConfigurationError, InternalError, OnewaferError
from onewafer.process.tracebacks import is_own_file


def shown(call):
    with pytest.raises(OnewaferError) as error:
        call()
    return error.value._render_traceback_()


def test_our_frames_are_left_out():
    lines = shown(lambda: onewafer.compile_csl("nowhere.csl", arch="wse9"))
    text = "\n".join(lines)
    assert lines[0] == "Traceback (most recent call last):"
    assert __file__ in text
    assert "api/programs.py" not in text
    assert lines[-1].startswith("ConfigurationError: there is no machine 'wse9'; the catalog has")


def test_a_message_of_several_lines_begins_on_its_own():
    lines = shown(lambda: onewafer.compile_csl("nowhere.csl"))
    assert lines[-1].startswith("CompileError:\nerror[file-not-found]: there is no file `nowhere.")


def test_an_error_that_was_not_raised_is_its_message():
    assert ConfigurationError("no").__cause__ is None
    assert ConfigurationError("no")._render_traceback_() == ["ConfigurationError: no"]


def test_a_folder_beside_ours_is_not_ours():
    folder = Path(onewafer.__file__).parent
    assert is_own_file(f"{folder}/units.py")
    assert not is_own_file(f"{folder}_demo/train.py")


def test_a_bug_of_ours_is_shown_with_all_frames():
    def fail():
        raise InternalError("oops")

    assert any("in fail" in line for line in shown(fail))

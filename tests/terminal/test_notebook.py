"""A line in the output of a cell: what is sent to the notebook, and when."""

import sys
from types import SimpleNamespace

import pytest

from onewafer.host import CellLine, RunProgress
from onewafer.terminal import NotebookLine, find_notebook, progress_bar

PROGRESS = RunProgress("the launch of 'run'", 13_000, 12_345, 16, 1.5e6, 3.0, "16 PEs work")


class Shell:
    """An IPython shell that keeps what it is sent: text, whether it is new, and the line's name."""

    kernel = None

    def __init__(self):
        self.execution_count = 1
        self.sent = []
        self.display_pub = self

    def publish(self, data, *, transient, update):
        self.sent.append((data["text/plain"], not update, transient["display_id"]))


@pytest.fixture
def shell(monkeypatch):
    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    return shell


def test_a_kernel_has_a_notebook_and_a_terminal_has_none(shell, monkeypatch):
    assert find_notebook() is shell
    for other in (object(), None):
        other_shell = SimpleNamespace(get_ipython=lambda other=other: other)
        monkeypatch.setitem(sys.modules, "IPython", other_shell)
        assert find_notebook() is None
    monkeypatch.delitem(sys.modules, "IPython")
    assert find_notebook() is None


def test_a_line_renews_itself_and_each_cell_has_its_own(shell):
    line = NotebookLine(shell)
    line.clear()
    line.show("one")
    line.show("two \x1b[31m")
    line.clear()
    line.clear()
    shell.execution_count += 1
    line.show("three")
    texts = [(text, is_new) for text, is_new, _ in shell.sent]
    assert texts == [("one", True), ("two \\x1b[31m", False), ("", False), ("three", True)]
    assert len({name for *_, name in shell.sent}) == 2


def test_a_launch_says_how_far_it_is(shell):
    watcher = CellLine(NotebookLine(shell))
    watcher.show(PROGRESS)
    watcher.done()
    first, last = (text for text, *_ in shell.sent)
    assert first.startswith("the launch of 'run': cycle 13,000 · 16 active PEs · ")
    assert last == ""


def test_steps_of_long_work_are_shown_in_the_cell(shell):
    with progress_bar() as bar:
        bar.show(1, 3)
        bar.say("8b on cs3")
    assert [text for text, *_ in shell.sent] == ["8b on cs3 (1 of 3 done)", ""]

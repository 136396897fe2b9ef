"""Text is data on the console of all commands, wherever it stands."""

import io

import pytest
from rich.table import Table
from rich.text import Text

from onewafer.terminal import printable
from onewafer.terminal.console import PlainConsole, stdout_console, to_text
from onewafer.terminal.progress import progress_line, text_column

TEXTS = ["y = x[0]  # see [/docs]", "[x, x]", ":100: :smile:", "[bold]no[/bold]", "[link=a]b"]
HOSTILE = "a\x1b[31m\x07\x9b\r\u202eb"
ESCAPED = r"a\x1b[31m\x07\x9b\x0d\u{202e}b"


def in_table(text):
    table = Table(title=text, caption=text)
    table.add_column(text)
    table.add_row(text)
    return table


@pytest.mark.parametrize("text", TEXTS)
def test_strings_tables_and_titles_are_printed_as_they_stand(text):
    assert to_text(text, 80) == f"{text}\n"
    assert to_text(Text(text), 80) == f"{text}\n"
    assert to_text(in_table(text), 80).count(text) == 4


def test_control_characters_are_escaped_before_cells_are_measured():
    assert to_text(HOSTILE, 80) == f"{ESCAPED}\n"
    assert to_text(Text(HOSTILE), 80) == r"a\x1b[31m\x9b\u{202e}b" "\n"  # Rich drops the others
    lines = to_text(in_table(HOSTILE), 80).splitlines()
    assert sum(ESCAPED in line for line in lines) == 4
    assert len({len(line) for line in lines[1:-1]}) == 1


def test_styles_still_color():
    stream = io.StringIO()
    console = PlainConsole(
        file=stream, force_terminal=True, color_system="standard", no_color=False
    )
    console.print(Text("miss", style="red"))
    assert stream.getvalue() == "\x1b[31mmiss\x1b[0m\n"


@pytest.mark.parametrize("text", [*TEXTS, HOSTILE])
def test_a_progress_line_shows_text_as_it_stands(text, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    console = PlainConsole(file=stream, force_terminal=True, width=100, color_system=None)
    with progress_line(console, text_column("{task.description}")) as line:
        line.add_task(text)
    assert printable(text) in stream.getvalue()


def test_without_a_terminal_tables_are_as_wide_as_they_need(capsys):
    stdout_console(140).print("x" * 130)
    assert capsys.readouterr().out == "x" * 130 + "\n"


def test_lines_and_tabs_stay():
    assert printable("a\n\tb") == "a\n\tb"


def test_colors_may_be_forced_on_a_pipe_and_lines_that_renew_themselves_not(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = PlainConsole(file=io.StringIO())
    assert (console.is_terminal, console.is_watched) == (True, False)
    assert PlainConsole(file=io.StringIO(), force_terminal=True).is_watched
    with progress_line(console, text_column("{task.description}")) as line:
        line.add_task("working")
    assert console.file.getvalue() == ""

"""Values that show themselves in a terminal, at a prompt and in a notebook."""

import re
from xml.etree import ElementTree as ET

import pytest
from rich.console import Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from onewafer.terminal import SHOWN_COLUMNS, Shown
from onewafer.terminal.html import to_html


class Note(Shown):
    def __init__(self, text):
        self.text = text

    def __rich__(self):
        table = Table()
        table.add_column("a heading", style="cyan")
        table.add_row(self.text)
        return table


HOSTILE = "x[0] # see [/docs] :100: <script>alert(1)</script> & \x1b[31mred \x07\x9b"


def test_text_is_what_was_written():
    shown = str(Note(HOSTILE))
    assert "x[0] # see [/docs] :100: <script>alert(1)</script> & \\x1b[31mred" in shown
    assert "\x1b" not in shown
    assert not any(line.endswith(" ") for line in shown.splitlines())


def test_html_escapes_what_was_written():
    html = Note(HOSTILE)._repr_html_()
    assert "x[0] # see [/docs] :100: &lt;script&gt;alert(1)&lt;/script&gt; &amp; " in html
    assert "\\x1b[31mred" in html
    assert "\x1b" not in html
    assert "\x9b" not in html


class Figures(Shown):
    def __rich__(self):
        table = Table(title="a <title>")
        table.add_column("name")
        table.add_column("cycles", justify="right")
        table.add_row("first", "1\n2", end_section=True)
        table.add_row(Text("second", style="red"), "3")
        return Group("before & after", table, Text("the end", style="bold"))


def test_a_table_is_a_table_of_the_page():
    html = Figures()._repr_html_()
    tree = ET.fromstring(f"<div>{html.replace('<br>', '<br/>')}</div>")  # noqa: S314  # ours
    assert [child.tag for child in tree] == ["p", "table", "p"]
    table = tree[1]
    assert table.find("caption").text == "a <title>"
    assert [cell.get("scope") for cell in table.iter("th")] == ["col", "col", "row", "row"]
    assert [cell.text for cell in table.find("thead").iter("th")] == ["name", "cycles"]
    assert ["".join(cell.itertext()) for cell in table.iter("td")] == ["12", "3"]
    assert all("text-align:right" in cell.get("style") for cell in table.iter("td"))
    assert "border-bottom" in table.find("tbody")[0][0].get("style")


def test_no_color_is_named_so_light_and_dark_pages_do():
    assert not re.search(r"color|background|#[0-9a-f]{3}", Figures()._repr_html_())


def test_what_has_no_html_is_a_mistake_of_ours():
    with pytest.raises(TypeError, match="no HTML is written for Rule"):
        to_html(Rule())


def test_ipython_shows_the_table_at_a_prompt_and_in_a_notebook():
    bundle = Note("hello")._repr_mimebundle_(include=None, exclude=None)
    note = Note("hello")
    assert bundle == {"text/plain": str(note), "text/html": note._repr_html_()}


def test_the_width_is_the_same_everywhere(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = str(Note("word " * 60)).splitlines()
    assert max(map(len, lines)) == SHOWN_COLUMNS

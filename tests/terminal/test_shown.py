"""Values that show themselves in a terminal, at a prompt and in a notebook."""

from rich.table import Table

from onewafer.terminal import SHOWN_COLUMNS, Shown


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
    assert html.startswith("<pre style=")
    assert "color: #008080" in html


def test_ipython_shows_the_table_at_a_prompt_and_in_a_notebook():
    bundle = Note("hello")._repr_mimebundle_(include=None, exclude=None)
    note = Note("hello")
    assert bundle == {"text/plain": str(note), "text/html": note._repr_html_()}


def test_the_width_is_the_same_everywhere(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = str(Note("word " * 60)).splitlines()
    assert max(map(len, lines)) == SHOWN_COLUMNS

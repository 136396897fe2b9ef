"""The output of commands as HTML, with real tables for notebooks and screen readers.

It sets no color, so that it is readable on a light and on a dark page.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.terminal.user_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.table import Column

_TABLE = "border-collapse:collapse;margin:0.5em 0"
_CAPTION = "caption-side:top;text-align:left;font-weight:bold"
_CELL = "padding:0.1em 0.8em;text-align:{};vertical-align:top"
_END = ";border-bottom:1px solid"
_PARAGRAPH = "margin:0.3em 0;white-space:pre-wrap"


def to_html(renderable: RenderableType) -> str:
    """Return texts as paragraphs and tables as `<table>`, with all text escaped."""
    match renderable:
        case Group():
            return "\n".join(map(to_html, renderable.renderables))
        case Table():
            return "\n".join(_lines_of_table(renderable))
        case str() | Text():
            return f'<p style="{_PARAGRAPH}">{_escaped(renderable)}</p>'
        case _:
            raise TypeError(f"no HTML is written for {type(renderable).__name__}")


def _escaped(text: str | Text) -> str:
    plain = text.plain if isinstance(text, Text) else text
    return "<br>".join(map(escape, printable(plain).split("\n")))


def _lines_of_table(table: Table) -> Iterator[str]:
    yield f'<table style="{_TABLE}">'
    if table.title:
        yield f'<caption style="{_CAPTION}">{_escaped(table.title)}</caption>'
    if table.show_header:
        yield "<thead><tr>"
        for column in table.columns:
            yield _cell("th", ' scope="col"', column, column.header)
        yield "</tr></thead>"
    yield "<tbody>"
    cells = zip(*(column.cells for column in table.columns), strict=True)
    for row, (first, *others) in zip(table.rows, cells, strict=True):
        end = _END if row.end_section else ""
        heading, *columns = table.columns
        yield "<tr>" + _cell("th", ' scope="row"', heading, first, end)
        yield from (_cell("td", "", c, cell, end) for c, cell in zip(columns, others, strict=True))
        yield "</tr>"
    yield "</tbody></table>"
    if table.caption:
        yield to_html(table.caption)


def _cell(name: str, scope: str, column: Column, content: RenderableType, end: str = "") -> str:
    inner = _escaped(content) if isinstance(content, str | Text) else to_html(content)
    align = "right" if column.justify == "right" else "left"
    return f'<{name}{scope} style="{_CELL.format(align)}{end}">{inner}</{name}>'

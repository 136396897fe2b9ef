"""The documentation site: `sphinx-build -n -W docs build/site` writes it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pygments.lexers.zig import ZigLexer

from onewafer import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "onewafer"
author = "the authors of onewafer"
copyright = "the authors of onewafer"  # noqa: A001  # a name that Sphinx reads
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
nitpicky = True

html_theme = "furo"
html_title = "onewafer"
html_copy_source = False

myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # pages about errors show what is no CSL
highlight_language = "text"

_LINK = re.compile(r"\]\(([\w./-]+\.md)(?:#[\w-]+)?\)")


def _append_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give an index page the table of contents that its links are.

    Pages are read on code hosts too, where a `toctree` would stand as code.
    """
    if PurePosixPath(docname).name != "index":
        return
    folder = PurePosixPath(app.env.doc2path(docname, base=False)).parent
    found = app.env.found_docs
    linked = dict.fromkeys(link.removesuffix(".md") for link in _LINK.findall(source[0]))
    pages = [page for page in linked if ".." not in page and str(folder / page) in found]
    source[0] += "\n".join(("\n```{toctree}", ":hidden:", "", *pages, "```", ""))


def setup(app: Sphinx) -> None:
    """Connect the hooks of this file; called by Sphinx."""
    app.connect("source-read", _append_contents)
    app.add_lexer("csl", ZigLexer)  # CSL has the syntax of Zig

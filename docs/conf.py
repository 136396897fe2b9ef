"""The documentation site: `sphinx-build -n -W docs build/site` writes it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pygments.lexers.zig import ZigLexer
from sphinx.ext.napoleon import Config, GoogleDocstring

from onewafer import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "onewafer"
author = "the authors of onewafer"
copyright = "the authors of onewafer"  # noqa: A001  # a name that Sphinx reads
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
nitpicky = True
# Types in signatures that have no page: those of other projects (no inventory of theirs is read, so
# that the site builds without a network) and internal ones, by the names that annotations use.
nitpick_ignore_regex = [
    ("py:class", r"(numpy|np|torch|pandas|pathlib|collections|types|typing)\..*"),
    ("py:class", r"(onewafer\.(execution|graph|host|image|perf|pytorch)|wafer|gpu|perf)\..*"),
    ("py:class", r"[A-Z]\w*|_Key|(Mapping|Sequence|tuple|dict|list)\[.*"),
]
default_role = "code"
smartquotes_action = "qe"  # no dashes: options stand in prose as `--train`

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = "onewafer"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]
copybutton_selector = "div.highlight-sh pre, div.highlight-python pre, div.highlight-csl pre"

myst_heading_anchors = 4
suppress_warnings = [
    "misc.highlighting_failure",  # pages about errors show what is no CSL
    "ref.python",  # two classes of one name in an annotation, which has no path
]
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
    pages = [page for page in pages if not _is_of_another_index(folder / page, folder, found)]
    source[0] += "\n".join(("\n```{toctree}", ":hidden:", "", *pages, "```", ""))


def _is_of_another_index(page: PurePosixPath, folder: PurePosixPath, found: set[str]) -> bool:
    """Tell whether a page stands in the index of a deeper folder."""
    deeper = (parent / "index" for parent in page.parents if folder in parent.parents)
    return any(page != index and str(index) in found for index in deeper)


def _read_sections(  # noqa: PLR0917  # as Sphinx calls it
    app: Sphinx, what: str, name: str, documented: object, options: object, lines: list[str]
) -> None:
    """Understand `Args:` and `Raises:`.

    It is what the extension napoleon does, but that takes an attribute's "The rate: a fraction" for
    its type and its text.
    """
    if what in {"function", "method", "class", "exception"}:
        parsed = GoogleDocstring(list(lines), Config(), app, what, name, documented, options)
        lines[:] = parsed.lines()


def setup(app: Sphinx) -> None:
    """Connect the hooks of this file; called by Sphinx."""
    app.connect("source-read", _append_contents)
    app.connect("autodoc-process-docstring", _read_sections)
    app.add_lexer("csl", ZigLexer)  # CSL has the syntax of Zig

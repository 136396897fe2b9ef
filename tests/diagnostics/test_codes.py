"""Every code that the compiler uses is registered, used once registered, and has a page."""

import ast
import re
from pathlib import Path

import onewafer
from onewafer.diagnostics import CODES

PACKAGE = Path(onewafer.__file__).parent
PAGES = Path(__file__).parents[2] / "docs/reference/errors"
KEBAB_CASE = re.compile(r"[a-z]+(-[a-z]+)+")


def codes_in_source():
    """Return every kebab-case string of the compiler: it has no other use for that spelling."""
    found = set()
    for path in sorted((PACKAGE / "csl").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Constant(value=str(text)) if KEBAB_CASE.fullmatch(text):
                    found.add(text)
                case _:
                    pass
    return found


def test_every_code_is_registered_and_every_registered_code_is_used():
    assert codes_in_source() == set(CODES)


def test_every_code_has_a_page_and_every_page_a_code():
    assert {page.stem for page in PAGES.glob("*.md")} - {"index"} == set(CODES)


def test_summaries_are_one_line():
    for code, summary in CODES.items():
        assert KEBAB_CASE.fullmatch(code), code
        assert summary[0] == "`" or summary[0].isupper(), code
        assert "\n" not in summary, code
        assert not summary.endswith("."), code

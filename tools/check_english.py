"""Refuse docstrings, comments and pages of the manual that have to be decoded.

    python tools/check_english.py

A docstring begins with its subject, not with "Of …" or "Whether what …", and says who or what does
something. The rules are few; they keep out sentences that a reader would have to read twice, and
judge nothing else.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from statements import statements

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tools", "tests", "examples")

RULES: Final = (
    (re.compile(r"^(#+ )?(Of|And|Than)\b"), "begin with the subject"),
    (re.compile(r"^(#+ )?(What may|Whether what|Those (that|of)|That of)\b"), "name the thing"),
    (re.compile(r"^(#+ )?(By|Over|With|To|From|In|For) (which|whom)\b"), "begin with the noun"),
    (re.compile(r"^(#+ )?So many\b"), "name the thing"),
    (re.compile(r"\bthan which\b"), "write two sentences, or a comparison"),
    (re.compile(r"\b(no|some|every|any)body\b", re.IGNORECASE), "say who or what does it"),
)
SOURCE_RULES: Final = (
    (re.compile(r"\AWhat\b"), "begin with the noun: what the thing is, not what it does"),
    (re.compile(r"\AWhether\b"), "write `True if …`, or for a function `Tell whether …`"),
)
"""Habits that a docstring of the sources must not have; tests may say what is so."""
"""The patterns that a docstring, comment or paragraph must not match, and what to write instead."""
_COMMENT = re.compile(r"(?=(#.*))")
"""Text from each `#` of a line to its end: a comment, or part of a string."""
_FENCE = re.compile(r"^(`{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence that has to be decoded."""

    place: str
    text: str
    advice: str

    def __str__(self) -> str:
        """Return the finding as a sentence."""
        return f"{self.place}: {self.text!r}: {self.advice}"


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of a Python file with the numbers of their lines, and its comments.

    Comments come only if one may have a finding.
    """
    for node in statements(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str() as docstring)):
                yield node.lineno, docstring
            case _:
                pass
    if not any(rule.search(found[1]) for found in _COMMENT.finditer(text) for rule, _ in RULES):
        return  # no comment either; to find them takes as long as all else
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs of a page, without blocks of code, with the numbers of their lines."""
    blanked = _FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
    for found in re.finditer(r"\S.*?(?=\n\s*\n|\Z)", blanked, re.DOTALL):
        yield blanked.count("\n", 0, found.start()) + 1, found[0]


def check(path: Path) -> Iterator[Finding]:
    """Yield the findings of one Python file or page."""
    name = path.relative_to(ROOT).as_posix()
    read = paragraphs if path.suffix == ".md" else prose
    is_source = path.suffix == ".py" and not name.startswith("tests/")
    rules = (*RULES, *SOURCE_RULES) if is_source else RULES
    for line, text in sorted(read(path.read_text(encoding="utf-8"))):
        for pattern, advice in rules:
            if found := pattern.search(text):
                start = max(0, found.start() - 20)
                shown = " ".join(text[start : found.end() + 40].split())
                yield Finding(f"{name}:{line}", shown, advice)


def main() -> int:
    """Print every finding; return 1 if there is one."""
    sources = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    paths = [*sources, *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    findings = [finding for path in paths for finding in check(path)]
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

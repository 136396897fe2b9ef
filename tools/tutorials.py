"""A tutorial as its steps: what a reader writes into files, types, and sees.

A tutorial is a Markdown page. Its fenced blocks are read in order:

    ```csl pe.csl     a file of this name, in the folder that all blocks work in
    ```python         Python, in one session for the whole page
    ```sh             commands of a shell
    ```text           what the block before it prints; a line `…` stands for any lines

Blocks of other languages are only shown. `tests/docs/test_tutorials.py` runs every page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = re.compile(r"^(`{3,})([^`\n]*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_GAP: Final = "…"


class Kind(StrEnum):
    """The kinds of steps."""

    PROSE = "prose"
    FILE = "file"
    PYTHON = "python"
    SHELL = "sh"
    OUTPUT = "text"
    SHOWN = "shown"


@dataclass(frozen=True, slots=True)
class Step:
    """A block, or the prose between two blocks."""

    kind: Kind
    text: str
    name: str = ""
    """The name of a file."""
    output: str | None = None
    """The output of the step, if the page shows it."""


def parse_tutorial(page: str) -> list[Step]:
    """Return the steps of a page, each output with the step that prints it."""
    steps: list[Step] = []
    for step in _parse(page):
        if step.kind is not Kind.OUTPUT:
            steps.append(step)
            continue
        index = max(i for i, s in enumerate(steps) if s.kind in (Kind.PYTHON, Kind.SHELL))
        steps[index] = replace(steps[index], output=step.text)
    return steps


def _parse(page: str) -> Iterator[Step]:
    end = 0
    for block in _BLOCK.finditer(page):
        yield Step(Kind.PROSE, page[end : block.start()])
        yield _block_step(block[2], block[3])
        end = block.end()
    yield Step(Kind.PROSE, page[end:])


def _block_step(info: str, text: str) -> Step:
    language, _, name = info.partition(" ")
    if name:
        return Step(Kind.FILE, text, name)
    known = (Kind.PYTHON, Kind.SHELL, Kind.OUTPUT)
    return Step(Kind(language) if language in known else Kind.SHOWN, text)


def prints(expected: str, actual: str) -> bool:
    r"""Tell whether an output is the one that a page shows.

    >>> prints("one\n…\nthree\n", "one\ntwo \ntwo\nthree\n"), prints("one\n", "one\ntwo\n")
    (True, False)
    """
    lines = [line.rstrip() for line in expected.splitlines()]
    pattern = "".join("(?:.*\n)*" if line == _GAP else re.escape(line) + "\n" for line in lines)
    shown = "".join(f"{line.rstrip()}\n" for line in actual.splitlines())
    return re.fullmatch(pattern, shown) is not None

"""A tutorial or lab as its steps: what a reader writes into files, types, and sees.

Both are Markdown pages. Its fenced blocks are read in order:

    ```csl pe.csl     a file of this name, in the folder that all blocks work in
    ```python         Python, in one session for the whole page
    ```sh             commands of a shell
    ```text           what the block before it prints; a line `…` stands for any lines

Blocks of other languages are only shown. `tests/docs/test_tutorials.py` runs every tutorial.

A lab has exercises, too. A block leaves some lines to the reader, between two comments:

    # your code: …    (in CSL `// your code: …`)
    # end of your code

A comment of the page behind the block, `<!-- solution`, the lines, `-->`, has those that belong
there: a notebook for readers leaves it out. A block of Python with the name `check` fails with a
sentence of advice until the exercise is solved. `tests/docs/test_labs.py` runs labs both ways.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = re.compile(
    r"^(`{3,})([^`\n]*)\n(.*?)^\1$(?:\n+<!-- solution\n(.*?)^-->$)?", re.MULTILINE | re.DOTALL
)
_YOURS: Final = re.compile(
    r"(^ *(?:#|//) your code\b[^\n]*\n).*?(^ *(?:#|//) end of your code$)",
    re.MULTILINE | re.DOTALL,
)
_GAP: Final = "…"


class Kind(StrEnum):
    """The kinds of steps."""

    PROSE = "prose"
    FILE = "file"
    PYTHON = "python"
    CHECK = "check"
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
    solution: str | None = None
    """The lines that an exercise leaves to the reader."""

    @property
    def is_run(self) -> bool:
        """True if the step prints something."""
        return self.kind in {Kind.PYTHON, Kind.CHECK, Kind.SHELL}

    def solved(self) -> Step:
        r"""Return the step with the solution where the reader's lines belong.

        >>> exercise = "# your code: the sum\ntotal = 0\n# end of your code\n"
        >>> print(Step(Kind.PYTHON, exercise, solution="total = 1 + 2\n").solved().text)
        # your code: the sum
        total = 1 + 2
        # end of your code
        <BLANKLINE>

        Raises:
            ValueError: the block has no such place, or several.
        """
        if self.solution is None:
            return self
        match _YOURS.split(self.text):
            case [before, first, last, after]:
                return replace(self, text=f"{before}{first}{self.solution}{last}{after}")
            case _:
                raise ValueError(f"no place, or several, for the solution {self.solution!r}")


def parse_tutorial(page: str) -> list[Step]:
    """Return the steps of a page, each output with the step that prints it."""
    steps: list[Step] = []
    for step in _parse(page):
        if step.kind is not Kind.OUTPUT:
            steps.append(step)
            continue
        index = max(i for i, s in enumerate(steps) if s.is_run)
        steps[index] = replace(steps[index], output=step.text)
    return steps


def _parse(page: str) -> Iterator[Step]:
    end = 0
    for block in _BLOCK.finditer(page):
        yield Step(Kind.PROSE, page[end : block.start()])
        yield replace(_block_step(block[2], block[3]), solution=block[4])
        end = block.end()
    yield Step(Kind.PROSE, page[end:])


def _block_step(info: str, text: str) -> Step:
    language, _, name = info.partition(" ")
    if name == Kind.CHECK:
        return Step(Kind.CHECK, text)
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

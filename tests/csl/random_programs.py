"""Random programs of CSL by a grammar.

A grammar says for each letter what it may stand for: forms with letters in them and, before the
blank line, forms that end an expansion. By convention U, I, F and C are expressions of u16, i16,
f32 and bool, K a u16 that is known while compiling, and S a statement. In a form, N is a number
below 32, V a new variable of u16, which statements inside of the form may read, and L a new label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

Grammar = dict[str, tuple[list[str], list[str]]]


def grammar(forms: Mapping[str, str]) -> Grammar:
    """Return the forms of each letter, one a line."""
    parts = {letter: text.strip("\n").split("\n\n") for letter, text in forms.items()}
    return {
        letter: (_lines(ends), _lines(others[0]) if others else [])
        for letter, (ends, *others) in parts.items()
    }


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


@dataclass
class Writer:
    """Writes random programs."""

    random: Random
    forms: Grammar
    num_names: int = 0
    variables: list[str] = field(default_factory=list[str])

    def write(self, letter: str, depth: int) -> str:
        """Return something that a letter stands for."""
        leaves, forms = self.forms[letter]
        if letter == "U":
            leaves = leaves + self.variables
        form = self.random.choice(forms if depth and self.random.random() < 0.8 else leaves)
        self.num_names += 1
        name = f"v{self.num_names}"
        is_visible = "V" in form

        def part(match: re.Match[str]) -> str:
            match match[0]:
                case "N":
                    return str(self.random.randrange(32))
                case "V" | "L":
                    return name
                case "S" if is_visible:
                    self.variables.append(name)
                    written = self.write("S", depth - 1)
                    self.variables.pop()
                    return written
                case inner:
                    return self.write(inner, depth - 1 if depth else 0)

        return re.sub(r"\b[UIFCKSNVL]\b", part, form)

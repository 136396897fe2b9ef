"""Incremental parser of tool calls in the text of an answer.

The grammar of `constraints.py` fixes the format of calls, so that a few markers separate the parts:

    text ──head──▶ name ──middle──▶ arguments (up to the bracket that closes them) ──tail──▶ text
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

from onewafer.server.text.stop_texts import StopTexts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.server.text.call_format import CallFormat


@dataclass(frozen=True, slots=True)
class Said:
    """Text outside of calls."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegins:
    """The start of a call of the tool with this name."""

    name: str


@dataclass(frozen=True, slots=True)
class CallGoesOn:
    """The next part of the arguments."""

    arguments: str


Part: TypeAlias = Said | CallBegins | CallGoesOn


class _Place(Enum):
    TEXT = auto()
    NAME = auto()
    ARGUMENTS = auto()
    TAIL = auto()


class CallReader:
    """Divides the text of one answer into plain text and calls."""

    def __init__(self, form: CallFormat) -> None:
        self._form = form
        self._place = _Place.TEXT
        self._rest = ""
        """Received text that is not parsed yet."""
        self._heads = StopTexts((form.head,))
        self._is_plain = False
        """True if the answer is known to be no call."""
        self.num_calls = 0
        """The number of calls that have begun."""
        self._brackets = Brackets()

    def push(self, text: str) -> Iterator[Part]:
        """Parse more text, and yield the parts found."""
        self._rest += text
        while self._rest:
            before = self._place
            match before:
                case _Place.TEXT:
                    yield from self._read_text()
                case _Place.NAME:
                    yield from self._read_name()
                case _Place.ARGUMENTS:
                    yield from self._read_arguments()
                case _Place.TAIL:
                    self._read_tail()
            if self._place is before:
                return

    def flush(self) -> Iterator[Said]:
        """Yield the held text at the end of the answer."""
        held = self._heads.flush()
        if held and not self.num_calls:
            yield Said(held)

    def _read_text(self) -> Iterator[Part]:
        text, self._rest = self._rest, ""
        if self._is_plain:
            yield Said(text)
            return
        length = len(self._heads.held)
        if self._form.is_whole_answer and not self._may_begin(self._heads.held + text):
            self._is_plain = True
            yield Said(self._heads.flush() + text)
            return
        released = self._heads.push(text)
        # Between and after calls there is only white space.
        if released.text and not self.num_calls:
            yield Said(released.text)
        if released.stop is not None:
            used = len(released.text) + len(self._form.head) - length
            self._rest, self._place = text[used:], _Place.NAME

    def _may_begin(self, text: str) -> bool:
        head = self._form.head
        return text.startswith(head) or head.startswith(text)

    def _read_name(self) -> Iterator[Part]:
        name, middle, rest = self._rest.partition(self._form.middle)
        if middle:
            self._rest, self._place = rest, _Place.ARGUMENTS
            self.num_calls += 1
            self._brackets = Brackets()
            yield CallBegins(json.loads(name))

    def _read_arguments(self) -> Iterator[Part]:
        length = self._brackets.close_in(self._rest)
        if length is None:
            arguments, self._rest = self._rest, ""
        else:
            arguments, self._rest = self._rest[:length], self._rest[length:]
            self._place = _Place.TAIL
        yield CallGoesOn(arguments)

    def _read_tail(self) -> None:
        tail = self._form.tail
        if len(self._rest) >= len(tail):
            self._rest, self._place = self._rest[len(tail) :], _Place.TEXT


class Brackets:
    """Finds the end of a JSON object in text that arrives in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._is_text = self._is_escaped = False

    def close_in(self, text: str) -> int | None:
        """Return the offset in `text` at which the object ends; None: it goes on.

        >>> brackets = Brackets()
        >>> brackets.close_in('{"a": "}'), brackets.close_in('"}}')
        (None, 2)
        """
        for index, letter in enumerate(text):
            if self._is_escaped:
                self._is_escaped = False
            elif self._is_text:
                self._is_escaped = letter == "\\"
                self._is_text = letter != '"'
            elif letter == '"':
                self._is_text = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return index + 1
        return None

"""Detection of stop texts, which may span several tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Released:
    """Text that is certainly not part of a stop text."""

    text: str
    stop: str | None = None
    """The stop text that followed; it ends the answer."""


class StopTexts:
    """Holds back the end of a text while it may be the start of a stop text.

    >>> texts = StopTexts(("END",))
    >>> texts.push("a E").text, texts.push("Nd E").text, texts.push("ND b")
    ('a ', 'ENd ', Released(text='', stop='END'))
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(filter(None, stops))
        self.held = ""
        """The text that is held back."""

    def push(self, text: str) -> Released:
        """Add text; return the text that can be sent."""
        if not self._stops:
            return Released(text)
        text, self.held = self.held + text, ""
        found = [(text.find(stop), stop) for stop in self._stops if stop in text]
        if found:
            start, stop = min(found, key=lambda place: place[0])
            return Released(text[:start], stop)
        length = max((_beginning_at_end(text, stop) for stop in self._stops), default=0)
        free = len(text) - length
        self.held = text[free:]
        return Released(text[:free])

    def flush(self) -> str:
        """Return the held text at the end of the answer."""
        text, self.held = self.held, ""
        return text


def _beginning_at_end(text: str, stop: str) -> int:
    """Return the length of the longest end of a text that is a start of a stop text."""
    most = min(len(text), len(stop) - 1)
    return next((n for n in range(most, 0, -1) if text.endswith(stop[:n])), 0)

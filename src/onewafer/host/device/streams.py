"""Streams of wavelets between the host and colors of the program.

The host sends without waiting: the fabric takes the wavelets in as it can. It receives wavelets in
the order in which a PE sends them; of two receptions of one color at one PE the earlier one gets
them first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.image import NUM_COLORS
from onewafer.simulator import host_streams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.geometry import Rectangle
    from onewafer.image import WaferImage
    from onewafer.simulator import Machine


@dataclass(slots=True)
class Reception:
    """The words received so far of `num_words` of a color from each PE of a rectangle."""

    color: int
    num_words: int
    rectangle: Rectangle
    name: str = ""
    """Its name in messages; empty: its color."""
    _words: dict[tuple[int, int], list[int]] = field(init=False)

    def __post_init__(self) -> None:
        """Begin without words."""
        r = self.rectangle
        self._words = {
            (x, y): [] for y in range(r.y, r.y + r.height) for x in range(r.x, r.x + r.width)
        }

    @property
    def is_complete(self) -> bool:
        """True if all words have arrived."""
        return all(len(words) == self.num_words for words in self._words.values())

    @property
    def words(self) -> NDArray[np.uint32]:
        """The words of a complete reception, `[height, width, num_words]`."""
        flat = np.array([*self._words.values()], np.uint32)
        return flat.reshape(self.rectangle.height, self.rectangle.width, self.num_words)

    def collect(self, machine: Machine) -> int:
        """Take available wavelets, up to the missing number; return how many were taken."""
        num_taken = 0
        for (x, y), words in self._words.items():
            if missing := self.num_words - len(words):
                taken = machine.collect(x, y, self.color, missing)
                words.extend(taken)
                num_taken += len(taken)
        return num_taken

    def describe(self) -> str:
        """Return a sentence about the missing words."""
        missing = {pe: words for pe, words in self._words.items() if len(words) < self.num_words}
        (x, y), words = next(iter(missing.items()))
        others = len(missing) - 1
        more = f" and {others} more" if others else ""
        what = f"stream {self.name!r}" if self.name else f"color {self.color}"
        return (
            f"the host waits for {self.num_words} wavelets of {what} from PE ({x}, {y}){more}, "
            f"which sent {len(words)}"
        )


class HostStreams:
    """The host's streams to and from a machine, and the receptions that are not complete."""

    def __init__(self, image: WaferImage) -> None:
        self._sends, self._receives = host_streams(image)
        self._pending: list[Reception] = []

    @property
    def pending(self) -> Reception | None:
        """The earliest reception that is not complete."""
        return next(iter(self._pending), None)

    def send(
        self, machine: Machine, color: int, words: NDArray[np.uint32], rectangle: Rectangle
    ) -> None:
        """Put `words[height, width, num_words]` into the fabric.

        Raises:
            HostError: the program does not take the color from the host on one of the PEs.
        """
        _check(self._sends, color, rectangle, "MEMCPYH2D")
        for row in range(rectangle.height):
            for column in range(rectangle.width):
                at = rectangle.x + column, rectangle.y + row
                machine.inject(*at, color, words[row, column].tolist())

    def expect(
        self, color: int, num_words: int, rectangle: Rectangle, *, name: str = ""
    ) -> Reception:
        """Begin to wait for wavelets.

        Raises:
            HostError: the program does not send the color to the host on one of the PEs.
        """
        _check(self._receives, color, rectangle, "MEMCPYD2H")
        reception = Reception(color, num_words, rectangle, name)
        self._pending.append(reception)
        return reception

    def collect(self, machine: Machine) -> int:
        """Take available wavelets for all receptions; return how many were taken."""
        num_taken = sum(reception.collect(machine) for reception in self._pending)
        self._pending = [r for r in self._pending if not r.is_complete]
        return num_taken


def _check(has_stream: NDArray[np.bool_], color: int, rectangle: Rectangle, kind: str) -> None:
    """Refuse a rectangle with a PE at which the color is not connected with the host."""
    rows = slice(rectangle.y, rectangle.y + rectangle.height)
    columns = slice(rectangle.x, rectangle.x + rectangle.width)
    if not 0 <= color < NUM_COLORS:
        raise HostError(f"a stream has a color, 0 to {NUM_COLORS - 1}; {color} is none")
    lacking = np.argwhere(~has_stream[rows, columns, color])
    if not len(lacking):
        return
    x, y = rectangle.x + int(lacking[0][1]), rectangle.y + int(lacking[0][0])
    known = np.flatnonzero(has_stream[y, x]).tolist()
    others = f"it has {', '.join(map(str, known))}" if known else "it has none"
    raise HostError(
        f"color {color} is not a {kind} color of PE ({x}, {y}); {others}: pass "
        f"`.{kind}_1 = @get_color({color})` to <memcpy/get_params> and what it returns to "
        f"<memcpy/memcpy>"
    )

"""The configuration words of a PE: their addresses, and who writes them.

They are the registers of M102, M131 to M136, M143 and M147 in `docs/explanation/machine.md`. Public
texts name few of the real machine's addresses; this project chose the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onewafer.image import (
    ASKED_WORDS,
    COLORS_OF_A_WORD,
    CONTROL_MASK_WORD,
    EXCEPTIONS_WORD,
    FLUSHED_WORDS,
    INPUT_QUEUE_WORDS,
    NUM_COLORS,
    OUTPUT_QUEUE_WORDS,
    ROUTER_WORDS,
    STATUS_WORDS,
    TORN_DOWN_WORDS,
)

if TYPE_CHECKING:
    from onewafer.arch import Architecture

NUM_QUEUES: Final = 8
"""Words of each side that are queues."""
_COLOR_WORDS: Final = 32
"""Address distance between two kinds of router words."""


@dataclass(frozen=True, slots=True)
class ConfigWords:
    """Words of one kind, at addresses that follow each other."""

    first: int
    count: int
    what: str
    """Name of such a word; `{n}` is its number."""
    by_name: str
    """The builtin with the same effect, without an address."""
    at_start: str = ""
    """The construct that sets such words, if the compiler writes them; empty: a program may."""
    is_of_queues: bool = False
    known_on: tuple[str, ...] = ()
    """Machines on which public programs use the addresses."""

    @property
    def last(self) -> int:
        """The last address."""
        return self.first + self.count - 1

    def name_of(self, address: int) -> str:
        """Return the name of the word at an address."""
        return self.what.format(n=address - self.first)


_FILTER: Final = "write `.filter` in"
_STATE: Final = "it is a status, not a setting; read it in a task"
_OUTPUT_QUEUES: Final = ConfigWords(
    OUTPUT_QUEUE_WORDS,
    NUM_QUEUES,
    "the color of output queue {n}",
    "`output_queue_config` of `<tile_config>`",
    is_of_queues=True,
    known_on=("wse3",),
)
"""Only machines that tie output queues to colors have them."""
_INPUT_QUEUES: Final = ConfigWords(
    INPUT_QUEUE_WORDS,
    NUM_QUEUES,
    "the color of input queue {n}",
    "`input_queue_config` of `<tile_config>`",
    "use `@initialize_queue`",
    is_of_queues=True,
)


def _both_sides(first: int, what: str, by_name: str) -> tuple[ConfigWords, ...]:
    """Return a word about all input queues and one about all output queues."""
    return tuple(
        ConfigWords(
            first + i,
            1,
            what.format(side=side),
            by_name.format(side=side),
            _STATE,
            is_of_queues=True,
        )
        for i, side in enumerate(("input", "output"))
    )


def _router(place: int, what: str, by_name: str, at_start: str, *known_on: str) -> ConfigWords:
    """Return router words with one word for each color."""
    first = ROUTER_WORDS + place * _COLOR_WORDS
    by_name = f"`{by_name}` of `<tile_config>`"
    at_start = f"{at_start} `@set_color_config` or `@set_local_color_config`"
    return ConfigWords(first, NUM_COLORS, what, by_name, at_start, known_on=known_on)


_OTHERS: Final = (
    *_both_sides(FLUSHED_WORDS, "which {side} queues have become empty", "`@queue_flush`"),
    *_both_sides(ASKED_WORDS, "which {side} queues shall tell when empty", "`@queue_flush`"),
    *_both_sides(
        STATUS_WORDS,
        "which {side} queues are empty or full",
        "`{side}_queue_status` of `<tile_config>`",
    ),
    _router(0, "the routes of color {n}", "color_config", "use", "wse2"),
    *(
        ConfigWords(
            TORN_DOWN_WORDS + half,
            1,
            f"which of the colors {COLORS_OF_A_WORD * half} to {last} were torn down",
            "`teardown` of `<tile_config>`",
            _STATE,
        )
        for half, last in enumerate((COLORS_OF_A_WORD - 1, NUM_COLORS - 1))
    ),
    ConfigWords(
        CONTROL_MASK_WORD,
        1,
        "the mask of kept control wavelets",
        "`control_transform` of `<tile_config>`",
    ),
    ConfigWords(EXCEPTIONS_WORD, 1, "the mask of exceptions", "`exceptions` of `<tile_config>`"),
    _router(1, "the switch of color {n}", "switch_config", "use", "wse2"),
    _router(2, "the second sides of the switch of color {n}", "switch_config", "use"),
    _router(3, "the counter in the filter of color {n}", "filters", _FILTER),
    _router(4, "the limit in the filter of color {n}", "filters", _FILTER),
    _router(5, "the maximum in the filter of color {n}", "filters", _FILTER),
    _router(6, "how many counts the filter of color {n} lets pass", "filters", _FILTER),
)


def config_words(machine: Architecture) -> tuple[ConfigWords, ...]:
    """Return the words that a PE of a machine has, by address."""
    of_outputs = (_OUTPUT_QUEUES,) if machine.queues_need_initialization else ()
    return (*of_outputs, _INPUT_QUEUES, *_OTHERS)


def words_at(machine: Architecture, address: int) -> ConfigWords | None:
    """Return the kind of the word at an address; None: there is none."""
    return next((w for w in config_words(machine) if w.first <= address <= w.last), None)

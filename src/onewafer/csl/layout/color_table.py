"""The routes of the whole program: one small number for every PE and color.

In: color configurations as layout and PE programs state them, one (PE, color) at a time. Out: the
dense table of the wafer image and the interned configurations. A wafer has 18 million cells, so a
cell costs two array writes and no object.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from onewafer.diagnostics import Annotation, Diagnostic
from onewafer.image import NO_ROUTE, NUM_COLORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.diagnostics import DiagnosticSink, Span
    from onewafer.image import ColorConfig

_Value = TypeVar("_Value")

_MAX_CONFIGS = np.iinfo(np.int16).max
_NO_SPAN = -1


class ColorTable:
    """Collects the color configurations of a `width` × `height` rectangle of PEs."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        num_cells = width * height * NUM_COLORS
        self._configs = array("h", [NO_ROUTE]) * num_cells
        self._spans = array("i", [_NO_SPAN]) * num_cells
        self._config_interner: _Interner[ColorConfig] = _Interner()
        self._span_interner: _Interner[Span] = _Interner()

    def set(
        self,
        x: int,
        y: int,
        color: int,
        config: ColorConfig,
        *,
        span: Span,
        sink: DiagnosticSink,
    ) -> None:
        """Configure `color` (0–23) at PE (x, y), as stated at `span`.

        Reports a PE outside of the rectangle and a second configuration of the same color there;
        the first one stays. Passing the same objects for equal configs and spans is fastest.
        """
        if not (0 <= x < self.width and 0 <= y < self.height):
            sink.report(self._outside(x, y, color, span))
            return
        cell = (y * self.width + x) * NUM_COLORS + color
        if self._configs[cell] != NO_ROUTE:
            sink.report(self._duplicate(x, y, color, span))
            return
        config_index = self._config_interner.index_of(config)
        if config_index > _MAX_CONFIGS:
            sink.report(_too_many(span))
            return
        self._configs[cell] = config_index
        self._spans[cell] = self._span_interner.index_of(span)

    def config_at(self, x: int, y: int, color: int) -> ColorConfig | None:
        """Return the configuration of `color` at PE (x, y); None: it has none."""
        index = self._configs[(y * self.width + x) * NUM_COLORS + color]
        return None if index == NO_ROUTE else self._config_interner.values[index]

    @property
    def routes(self) -> NDArray[np.int16]:
        """`[height, width, 24]` → index into `configs`; NO_ROUTE where the color is unknown."""
        return np.array(self._configs, dtype=np.int16).reshape(self.height, self.width, NUM_COLORS)

    @property
    def configs(self) -> tuple[ColorConfig, ...]:
        """The distinct configurations, in the order in which they were first stated."""
        return tuple(self._config_interner.values)

    @property
    def spans(self) -> NDArray[np.int32]:
        """`[height, width, 24]` → number of the statement that configured it; −1: none."""
        return np.array(self._spans, dtype=np.int32).reshape(self.height, self.width, NUM_COLORS)

    def span_at(self, x: int, y: int, color: int) -> Span | None:
        """Return where `color` was configured at PE (x, y); None if it was not."""
        index = self._spans[(y * self.width + x) * NUM_COLORS + color]
        return None if index == _NO_SPAN else self._span_interner.values[index]

    def _outside(self, x: int, y: int, color: int, span: Span) -> Diagnostic:
        return Diagnostic(
            "pe-outside-rectangle",
            f"color {color} is configured at PE ({x}, {y}), outside of the program's "
            f"{self.width}×{self.height} rectangle",
            Annotation(span),
            help=f"x goes from 0 to {self.width - 1} and y from 0 to {self.height - 1}; "
            "`@set_rectangle(width, height)` sets the size",
        )

    def _duplicate(self, x: int, y: int, color: int, span: Span) -> Diagnostic:
        earlier = self.span_at(x, y, color)
        secondary = (Annotation(earlier, "first configured here"),) if earlier else ()
        return Diagnostic(
            "duplicate-color-config",
            f"color {color} is configured twice at PE ({x}, {y})",
            Annotation(span, "configured again here"),
            secondary,
            help="a color has one configuration at a PE: remove one of the two, merge their "
            "directions into one `.routes`, or use another color",
        )


class _Interner(Generic[_Value]):
    """Numbers distinct values; a known object is found by identity, without hashing."""

    def __init__(self) -> None:
        self.values: list[_Value] = []
        self._by_value: dict[_Value, int] = {}
        self._by_identity: dict[int, tuple[int, _Value]] = {}

    def index_of(self, value: _Value) -> int:
        known = self._by_identity.get(id(value))
        if known is not None:
            return known[0]
        index = self._by_value.setdefault(value, len(self.values))
        if index == len(self.values):
            self.values.append(value)
        # Keeping the object keeps its id from being given to another one.
        self._by_identity[id(value)] = (index, value)
        return index


def _too_many(span: Span) -> Diagnostic:
    return Diagnostic(
        "too-many-color-configs",
        f"the program has more than {_MAX_CONFIGS} different color configurations",
        Annotation(span),
        help="let PEs that play the same role share one configuration",
    )

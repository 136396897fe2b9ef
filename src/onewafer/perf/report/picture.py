# pyright: basic
# Matplotlib's type hints are partial.
"""Files of pictures: their formats, their style, and how they are written."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FORMATS = (".png", ".svg", ".pdf")
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "font.size": 9}
_WIDTH_INCHES = 9.0
LINE_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colors that people with color blindness can tell apart: Okabe and Ito."""


def check_picture(path: Path) -> None:
    """Raise `ConfigurationError` for an ending that is no format, or if Matplotlib is missing."""
    if path.suffix.lower() not in _FORMATS:
        raise ConfigurationError(
            f"{path}: the ending says the format of a picture: {', '.join(_FORMATS)}"
        )
    if find_spec("matplotlib") is None:
        raise ConfigurationError(
            "plots need Matplotlib, which is not installed: pip install 'onewafer[view]'"
        )


def as_label(text: str) -> str:
    """Escape `$` in a text, which Matplotlib takes for mathematics."""
    return text.replace("$", r"\$")


@contextmanager
def picture(path: Path, *, title: str, height: float) -> Iterator[Any]:
    """Yield axes to draw on, and write the file afterwards.

    Raises:
        ConfigurationError: the file has no ending of a picture, or cannot be written.
    """
    check_picture(path)
    import matplotlib as mpl  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise

    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(as_label(title), loc="left", fontsize=10)
        yield axes
        is_svg = path.suffix.lower() == ".svg"
        try:
            figure.savefig(path, dpi=150, metadata={"Date": None} if is_svg else None)
        except OSError as error:
            raise ConfigurationError(f"{path}: {error}") from error

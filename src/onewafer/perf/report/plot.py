# pyright: basic
# Matplotlib's type hints are partial.
"""A comparison as a picture: where the time of a token goes on each system, bars on one scale."""

from __future__ import annotations

from itertools import cycle
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError
from onewafer.perf.breakdown import Limit
from onewafer.perf.report.curve import describe_curve
from onewafer.perf.report.picture import LINE_COLORS, picture
from onewafer.perf.report.table import describe
from onewafer.units import format_rate, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onewafer.perf.answer import Answer, Comparison

_COLORS = {
    Limit.COMPUTE: "#009e73",
    Limit.SRAM_BANDWIDTH: "#56b4e9",
    Limit.FABRIC_LATENCY: "#0072b2",
    Limit.FABRIC_BANDWIDTH: "#004b75",
    Limit.OFF_WAFER: "#f0e442",
    Limit.HBM: "#d55e00",
    Limit.NVLINK: "#e69f00",
    Limit.NETWORK: "#cc79a7",
    Limit.LAUNCH: "#999999",
    Limit.BUBBLE: "#dddddd",
}
"""Colors that people with color blindness can tell apart: Okabe and Ito, and grays."""
_BAR_INCHES, _FRAME_INCHES = 0.62, 1.7
_CURVE_INCHES = 4.5
_LABEL_COLUMNS = 28


def draw(comparison: Comparison, path: Path) -> None:
    """Write the picture of a comparison; the ending of the file says the format.

    Raises:
        ConfigurationError: there is nothing to draw, or the file cannot be written.
    """
    answers = comparison.answers
    if not answers:
        raise ConfigurationError("no system can do the job, so there is nothing to draw")
    title = f"{comparison.model}: {describe(comparison.job)}"
    height = _FRAME_INCHES + _BAR_INCHES * len(answers)
    with picture(path, title=title, height=height) as axes:
        _draw_bars(axes, answers)


def draw_curve(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write the picture of serving: tokens/s of a system against tokens/s that each user sees.

    Raises:
        ConfigurationError: there is nothing to draw, or the file cannot be written.
    """
    curves: dict[str, list[Answer]] = {}
    for answer in (answer for comparison in comparisons for answer in comparison.answers):
        curves.setdefault(answer.system, []).append(answer)
    if not curves:
        raise ConfigurationError("no system can do the job, so there is nothing to draw")
    title = f"{comparisons[0].model}: {describe_curve(comparisons)}"
    with picture(path, title=title, height=_CURVE_INCHES) as axes:
        for (system, answers), color in zip(curves.items(), cycle(LINE_COLORS), strict=False):
            x = [answer.tokens_per_second_per_user or 0.0 for answer in answers]
            y = [answer.tokens_per_second / answer.num_devices for answer in answers]
            axes.plot(x, y, marker="o", markersize=4, color=color, label=system)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("tokens/s per user")
        axes.set_ylabel("tokens/s per wafer or GPU")
        axes.grid(visible=True, linewidth=0.5, alpha=0.5)
        axes.legend(frameon=False)


def _draw_bars(axes: Any, answers: Sequence[Answer]) -> None:  # noqa: ANN401  # Matplotlib's
    shown: dict[Limit, None] = {}
    longest = max(answer.breakdown.seconds for answer in answers)
    for row, answer in enumerate(answers):
        left = 0.0
        by_limit = answer.breakdown.by(lambda item: item.limit)
        for limit in Limit:
            if not (seconds := by_limit.get(limit, 0.0)):
                continue
            label = None if limit in shown else limit.value
            axes.barh(row, seconds, left=left, color=_COLORS[limit], label=label, height=0.6)
            shown[limit] = None
            left += seconds
        axes.text(left + 0.01 * longest, row, _caption(answer), va="center")
    axes.set_yticks(range(len(answers)), [_label(answer) for answer in answers])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.28 * longest)
    axes.xaxis.set_major_formatter(lambda seconds, _: format_seconds(seconds) if seconds else "0")
    axes.figure.legend(frameon=False, ncols=4, loc="outside lower center")


def _label(answer: Answer) -> str:
    return "\n".join((answer.system, *wrap(answer.choice.text, _LABEL_COLUMNS)))


def _caption(answer: Answer) -> str:
    if answer.samples_per_second is not None:
        return f"{format_rate(answer.samples_per_second)} samples/s"
    rate = answer.tokens_per_second_per_user
    if rate is None:
        return f"{format_rate(answer.tokens_per_second)} tokens/s"
    return f"{format_rate(rate)} tokens/s a user"

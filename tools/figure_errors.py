"""Write the errors of the equations that reports print beside their figures.

    python tools/figure_errors.py

In: docs/explanation/perf-validation.md, as `onewafer validate perf --page` writes it. Out:
src/onewafer/perf/known_errors.toml, the median and the largest error of each kind of job.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from statistics import median

from onewafer.perf.published import published_figures

_ROOT = Path(__file__).resolve().parent.parent
PAGE = _ROOT / "docs" / "explanation" / "perf-validation.md"
FILE = _ROOT / "src" / "onewafer" / "perf" / "known_errors.toml"
_COLUMNS = 8
_JOBS = {
    ("wafer", "tokens/s"): "decode",
    ("wafer", "seconds"): "train",
    ("wafer", "times one CS-3"): "train",
    ("gpu", "samples/s"): "forward",
    ("gpu", "mfu"): "train",
    ("gpu", "tokens/s/GPU"): "train",
}
"""Kind of machine and quantity of a published figure → the job that it is of."""
_SERVING = {"tpot_seconds": "decode", "ttft_seconds": "prefill"}
_HEAD = """\
# Errors of the equations by kind of machine and of job, as fractions: |ours - theirs| / theirs.
# Written by `python tools/figure_errors.py` from docs/explanation/perf-validation.md, which is what
# `onewafer validate perf` prints. Figures that constants were fitted on do not count.
"""


def main() -> None:
    """Write the file."""
    FILE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def render(page: str) -> str:
    """Return the text of the file for a page."""
    errors: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    statistics: dict[tuple[str, str], tuple[float, int]] = {}
    for name, cells in _rows(page):
        if len(cells) == _COLUMNS and cells[3] == "validation" and cells[6].endswith("%"):
            machine = "wafer" if re.match(r"cs\d", cells[1]) else "gpu"
            job = _JOBS.get((machine, cells[2]))
            if job is not None:
                errors[machine, _topics().get(name, job)].append(abs(_fraction(cells[6])))
        if name == "all serving runs":
            key = "gpu", _SERVING[cells[1]]
            statistics[key] = _fraction(cells[3]), int(cells[2].replace(",", ""))
    rows = {key: (median(found), len(found), max(found)) for key, found in errors.items()}
    rows |= {key: (*found, None) for key, found in statistics.items()}
    return _HEAD + "".join(_entry(*key, *rows[key]) for key in sorted(rows))


def _rows(page: str) -> list[tuple[str, list[str]]]:
    """Return the rows of all tables: name and cells; a name may go on in the lines below."""
    found: list[tuple[str, list[str]]] = []
    for line in page.splitlines():
        if not line.startswith("│"):
            continue
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        if any(cells[1:]):
            found.append((cells[0], cells))
        elif found:
            found[-1] = found[-1][0] + cells[0], found[-1][1]
    return found


@cache
def _topics() -> dict[str, str]:
    """Return the kinds of training that are told apart by the topic of a figure: name → kind."""
    kinds = {
        "gpu_training_experts": "train with experts",
        "gpu_training_samples": "train on feature maps",
    }
    return {
        figure.name: kind for topic, kind in kinds.items() for figure in published_figures(topic)
    }


def _entry(machine: str, job: str, middle: float, count: int, largest: float | None) -> str:
    lines = [
        "",
        "[[error]]",
        f'machine = "{machine}"',
        f'job = "{job}"',
        f"median = {middle:.4f}",
        *([] if largest is None else [f"largest = {largest:.4f}"]),
        f"count = {count}",
    ]
    return "\n".join(lines) + "\n"


def _fraction(text: str) -> float:
    return float(text.removesuffix("%").replace(",", "")) / 100


if __name__ == "__main__":
    main()

"""Write the errors of the equations that reports print beside their figures.

    python tools/figure_errors.py

In: what `onewafer validate perf`, `onewafer validate fabric` and `tools/cost_table.py` wrote into
docs/explanation. Out: src/onewafer/perf/known_errors.toml, the median and the largest error of each
kind of job, of the simulator, and of the closed form.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.perf.known_models import find_model
from onewafer.perf.published import published_figures, topics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ROOT = Path(__file__).resolve().parent.parent
_PAGES = _ROOT / "docs" / "explanation"
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
# Errors as fractions: |ours - theirs| / theirs. Written by `python tools/figure_errors.py`.
#
# gpu, wafer     the equations by kind of job: docs/explanation/perf-validation.md, which is what
#                `onewafer validate perf` prints, without figures that constants were fitted on.
#                least_weights: those of the smallest model among them
# simulator      cycles of the fabric by timing profile, sdk against the vendor's simulator, silicon
#                against real machines: docs/explanation/validation.md
# closed form    cycles of a launch against the fabric: docs/explanation/costs.md
"""
_SIZE = re.compile(r"-([\d.]+)([bt])\b")
_OF_PROFILE = re.compile(r"validation on (\w+): median error ([\d.]+ %), \d+ of (\d+)")
_OF_LAUNCH = re.compile(r"^\|.*\| \d+×\d+ \|.*\(([+-][\d.]+)%\) \|$", re.MULTILINE)


def main() -> None:
    """Write the file."""
    FILE.write_text(render(), encoding="utf-8")


def render() -> str:
    """Return the text of the file for the pages of the documentation."""
    rows = _errors_of_equations(_page("perf-validation")) | _errors_of_cycles()
    return _HEAD + "".join(_entry(*key, rows[key]) for key in sorted(rows))


def _page(name: str) -> str:
    return (_PAGES / f"{name}.md").read_text(encoding="utf-8")


def _errors_of_equations(page: str) -> dict[tuple[str, str], dict[str, str]]:
    """Return the fields of an entry by machine and job."""
    errors: defaultdict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    served: list[str] = []
    for name, cells in _rows(page):
        if len(cells) == _COLUMNS and cells[3] == "validation" and cells[6].endswith("%"):
            machine = "wafer" if re.match(r"cs\d", cells[1]) else "gpu"
            job = _JOBS.get((machine, cells[2]))
            if job is not None:
                error = abs(_fraction(cells[6]))
                errors[machine, _topics().get(name, job)].append((_models()[name], error))
        if len(cells) > 1 and cells[1] in _SERVING and " · " in name:
            served.append(name.split(" · ")[2])
        if name == "all serving runs":
            middle, count = _fraction(cells[3]), int(cells[2].replace(",", ""))
            rows["gpu", _SERVING[cells[1]]] = _fields(middle, None, count, served)
    for key, found in errors.items():
        models, each = zip(*found, strict=True)
        rows[key] = _fields(median(each), max(each), len(each), models)
    return rows


def _errors_of_cycles() -> dict[tuple[str, str], dict[str, str]]:
    """Return the fields of the entries of the simulator and of the closed form."""
    launches, _, _ = _page("costs").partition("## Operations")
    each = [abs(float(error)) / 100 for error in _OF_LAUNCH.findall(launches)]
    return {
        ("simulator", profile): _fields(_fraction(middle), None, int(count))
        for profile, middle, count in _OF_PROFILE.findall(_page("validation"))
    } | {("closed form", "launch"): _fields(median(each), max(each), len(each))}


def _fields(
    middle: float, largest: float | None, count: int, models: Iterable[str] = ()
) -> dict[str, str]:
    sizes = [_num_weights(model) for model in models]
    return {
        "median": f"{middle:.4f}",
        **({} if largest is None else {"largest": f"{largest:.4f}"}),
        "count": str(count),
        **({"least_weights": f"{min(sizes):_}"} if sizes else {}),
    }


def _num_weights(model: str) -> int:
    """Return the weights of a model, of one that is not in the catalogue by its name."""
    try:
        return find_model(model).num_weights
    except ConfigurationError:
        number, unit = next(iter(_SIZE.findall(model)))
        return round(float(number) * {"b": 1e9, "t": 1e12}[unit])


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


@cache
def _models() -> dict[str, str]:
    """Return the name of each published figure with that of its model."""
    return {figure.name: figure.model for topic in topics() for figure in published_figures(topic)}


def _entry(machine: str, job: str, fields: Mapping[str, str]) -> str:
    lines = [f"{name} = {value}" for name, value in fields.items()]
    return "\n".join(["", "[[error]]", f'machine = "{machine}"', f'job = "{job}"', *lines, ""])


def _fraction(text: str) -> float:
    return float(text.removesuffix("%").replace(",", "")) / 100


if __name__ == "__main__":
    main()

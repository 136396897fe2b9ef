"""The page of the manual: what the command printed, what the figures mean, and the curves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from onewafer.benchmarks.report import render_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onewafer.benchmarks.report import Results

PAGE_HEAD = """\
# How fast the simulator is

<!-- Written by `onewafer bench --page`. -->

Each benchmark has a process of its own, and a result that is not NumPy's has no time: every launch
is checked. The programs are in `src/onewafer/benchmarks/programs/`. Goals are for one core of the
class of computer named below the tables; a goal that is missed says by how much.

* **Rates are by processor second**, all threads together, so that what else a computer does counts
  little. It counts a little all the same: caches and memory are shared. Times that people wait for
  (compile, run, start) are by the clock on the wall, with the processor time beside them; where
  only the latter meets the goal, the computer had other work.
* **A wavelet-hop** is the traversal of one link between two PEs; a multicast to two neighbours is
  two. *With ramp* adds the moves from a router down to its compute element. The engine that the
  goals of hops/s come from counted moves of routers: for a chain reduce that is *with ramp*, for a
  multicast it is nearly the hops. The chain reduce is held against the goal in both ways.
* **PE-cycles/s** is simulated cycles times PEs that have code. It grows with PEs that wait, so it
  says little alone.
* **Elements** are those of DSD operations, **instructions** those of the main threads.
* **Peak memory** is the resident memory of the process, compiler and input included, the check not.

For scale: BookSim2, the usual open network-on-chip simulator, does 0.29 M flit-hops/s on a loaded
32×32 mesh on such a core. It also allocates virtual channels, which static routes do not need, and
it simulates no compute elements. It was measured once, when the goals were set, and the command was
not kept: the figure is for orientation.
"""
_CURVES_HEAD = """
## How it grows

Left: wavelet-hops by processor second. Right: processor seconds of a run. Both axes are
logarithmic; each point is a median in a process of its own.
"""


def render_page(results: Results, *, command: str, plots: Mapping[str, Path], page: Path) -> str:
    """Return the Markdown; `plots` are the pictures by their titles, linked relative to `page`."""
    text = f"{PAGE_HEAD}\n```console\n$ {command}\n{render_text(results)}```\n"
    if not plots:
        return text
    links = [f"![{title}]({_relative(path, page)})" for title, path in plots.items()]
    return text + _CURVES_HEAD + "\n" + "\n\n".join(links) + "\n"


def _relative(path: Path, page: Path) -> str:
    return os.path.relpath(path.absolute(), page.absolute().parent).replace(os.sep, "/")

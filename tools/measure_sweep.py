"""Measure how many points an hour a sweep computes on this computer.

    python tools/measure_sweep.py [--workers 2]

The study is decode of Llama 3.1 8B with numbers of the machine as axes: PEs, SRAM, hop latency, the
clock and the link to the outside. Programs are built anew for every hop latency, layouts are
searched for anew for every wafer and memory, and all else is shared. A larger grid has more points
for each search, so its rate is higher. Printed are seconds of the cores, and points an hour.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from onewafer.cli.main import execute
from onewafer.sweep import points_of, read_study

_STUDY = """
title = "Points an hour"

[compare]
model = "llama-3.1-8b"
job = "decode"
context = 4096

[axes]
hop_latency = [1, 2]
pes = [700000, 883350]
sram = ["64KiB", "96KiB"]
clock = { from = 700e6, to = 1.3e9, count = 10 }
off_wafer_link = { from = "75GB/s", to = "600GB/s", count = 8 }
"""


def main() -> None:
    """Sweep the study, and print the rate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="processes [default: 2]")
    workers = parser.parse_args().workers
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder, "study.toml")
        study.write_text(_STUDY, encoding="utf-8")
        begin, used = time.perf_counter(), _core_seconds()
        code = execute(["sweep", str(study), "--workers", str(workers)])
        seconds, cores = time.perf_counter() - begin, _core_seconds() - used
        num_points = len(points_of(read_study(study)))
    if code:
        raise SystemExit(code)
    print(f"{num_points:,} points with {workers} workers")
    print(f"{seconds:,.1f} s, {cores:,.1f} s of cores: {1e3 * cores / num_points:.1f} ms a point")
    print(f"{3600 * num_points / seconds:,.0f} points an hour as measured")
    print(f"{2 * 3600 * num_points / cores:,.0f} points an hour on two cores of their own")


def _core_seconds() -> float:
    """Return the seconds of cores that this process and its ended children have used."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(
        usage.ru_utime + usage.ru_stime for usage in (resource.getrusage(kind) for kind in kinds)
    )


if __name__ == "__main__":
    main()

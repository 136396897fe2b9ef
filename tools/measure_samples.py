"""Record an all-reduce over time, and measure what the looks at its PEs take.

    python tools/measure_samples.py FILE [--width 755] [--height 1170] [--every 1000]

FILE is the recording, of which `onewafer view` draws the README's picture. The program is launched
without looks first. Printed are seconds of the cores and of the clock, and the size of the file.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

import onewafer
from onewafer.host.runs.samples import RunSamples
from onewafer.units import format_size

if TYPE_CHECKING:
    from onewafer.simulator import Machine

PROGRAM = Path(onewafer.__file__).parent / "benchmarks" / "programs" / "all_reduce.csl"
NUM_WORDS = 16


class Recorded(TypedDict, total=False):
    """How a run is recorded: options of `onewafer.load`; none: it is not."""

    record: Path
    sample_every: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of something."""

    cores: float
    clock: float

    @classmethod
    def now(cls) -> Spent:
        """Return what this process has taken so far."""
        return cls(time.process_time(), time.perf_counter())

    def __add__(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(self.cores + other.cores, self.clock + other.clock)

    def __sub__(self, begin: Spent) -> Spent:
        """Return what was taken since `begin`."""
        return Spent(self.cores - begin.cores, self.clock - begin.clock)

    def __str__(self) -> str:
        """Return both as text."""
        return f"{self.cores:.2f} s of cores, {self.clock:.2f} s by the clock"


def main() -> None:
    """Record the run, and print what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--width", type=int, default=755, help="PEs [default: 755]")
    parser.add_argument("--height", type=int, default=1170, help="PEs [default: 1170]")
    parser.add_argument("--every", type=int, default=1000, help="cycles [default: 1000]")
    options = parser.parse_args()
    sizes = {"width": options.width, "height": options.height, "num_words": NUM_WORDS, "kind": 0}
    program = onewafer.compile_csl(PROGRAM, params=sizes)
    with tempfile.TemporaryDirectory() as name:
        folder = program.save(Path(name, "out"))
        shape = options.height, options.width, NUM_WORDS
        usual, cycles = launch(folder, shape)
        print(f"{options.width}×{options.height} PEs, {cycles:,} cycles: {usual}", flush=True)
        looks = measured_looks()
        sampled, _ = launch(folder, shape, record=options.file, sample_every=options.every)
    spent = sum(looks, Spent(0, 0))
    print(f"with a look every {options.every:,} cycles: {sampled}")
    share = spent.cores / sampled.cores
    print(f"{len(looks)} looks: {spent}; {share:.1%} of what the launch took of the cores")
    print(f"{options.file}: {format_size(options.file.stat().st_size)}")


def measured_looks() -> list[Spent]:
    """Let each look add its seconds to the list that is returned."""
    look, spent = RunSamples.look, list[Spent]()

    def timed(self: RunSamples, machine: Machine) -> None:
        begin = Spent.now()
        look(self, machine)
        spent.append(Spent.now() - begin)

    RunSamples.look = timed
    return spent


def launch(
    folder: Path, shape: tuple[int, int, int], **recorded: Unpack[Recorded]
) -> tuple[Spent, int]:
    """Launch an all-reduce of numbers of a shape; return what it took, and its cycles."""
    with onewafer.load(folder, **recorded) as wafer:
        wafer.write("values", np.random.default_rng(1).random(shape, np.float32) * 2 - 1)
        begin = Spent.now()
        launched = wafer.launch("main")
        return Spent.now() - begin, launched.cycles


if __name__ == "__main__":
    main()

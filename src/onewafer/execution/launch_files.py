"""Files of simulated launches, so that later runs do not simulate them again.

In: the text of a program and the machine. Out: the results of its launches as simulated by the same
version of our sources, image and machine. Files are JSON. A damaged file is ignored, and so is the
failure to write one.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from onewafer import __version__
from onewafer.execution.activity import Activity, PeMemory
from onewafer.execution.agreement import Agreement
from onewafer.execution.sampling import Spent
from onewafer.files.digests import digest, digest_of_sources
from onewafer.files.whole_files import write_text
from onewafer.graph import LayerPart, Slot
from onewafer.mesh import Launch, Purpose
from onewafer.settings import cache_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onewafer.arch import Architecture
    from onewafer.mesh import EmittedProgram

FORMAT = "onewafer-launches-3"
_SOURCES = (
    "arch/**/*.py",
    "arch/**/*.toml",
    "csl/**/*.py",
    "csl/**/*.csl",
    "graph/**/*.py",
    "image/**/*.py",
    "mesh/**/*.py",
    "simulator/**/*.py",
    "execution/sampling.py",
)
"""The source files that affect the image, its simulation, and the values for comparison."""
_LARGEST_FILE_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class SimulatedLaunch:
    """The result of simulating a launch."""

    activity: Activity
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class ImageFigures:
    """Figures of a compiled program."""

    memory: PeMemory
    num_tile_programs: int


@dataclass(slots=True)
class LaunchFile:
    """The simulated launches of one image on one machine."""

    path: Path | None
    """None: nothing is kept."""
    figures: ImageFigures | None = None
    launches: dict[Launch, SimulatedLaunch] = field(default_factory=dict["Launch", SimulatedLaunch])

    @classmethod
    def of(cls, emitted: EmittedProgram, architecture: Architecture) -> LaunchFile:
        """Return the launches of a program that earlier runs simulated."""
        key = json.dumps(
            [
                __version__,
                digest_of_sources(*_SOURCES),
                emitted.files,
                emitted.params,
                repr(architecture),  # its numbers, too: a user's machine may change
            ]
        )
        try:
            path = cache_folder() / "launches" / f"{digest(key)[:32]}.json"
        except OSError:  # this user has no home folder
            return cls(None)
        return read_launches(path) or cls(path)

    def keep(self, launch: Launch, found: SimulatedLaunch, figures: ImageFigures) -> None:
        """Add a launch, and write the file where that is possible."""
        self.launches[launch] = found
        self.figures = figures
        if self.path is None:
            return
        body = _to_json(self)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, f"{digest(body)}\n{body}")
        except OSError:
            self.path = None  # a cache that cannot be written costs time, nothing else


def read_launches(path: Path) -> LaunchFile | None:
    """Return the contents of a file; None: there is none, or it is damaged."""
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            return None
        expected, _, body = path.read_text(encoding="utf-8").partition("\n")
        if expected != digest(body):
            return None
        content = cast("dict[str, Any]", json.loads(body))
        if content["format"] != FORMAT:
            return None
        figures = content["figures"]
        launches = {
            Launch(tuple(Slot(*slot) for slot in item["slots"]), item["entry"]): _read_launch(item)
            for item in content["launches"]
        }
        memory = PeMemory(**figures["memory"])
        return LaunchFile(path, ImageFigures(memory, figures["tile_programs"]), launches)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _to_json(file: LaunchFile) -> str:
    assert file.figures is not None, "set with the first launch"  # invariant
    return json.dumps(
        {
            "format": FORMAT,
            "figures": {
                "memory": dataclasses.asdict(file.figures.memory),
                "tile_programs": file.figures.num_tile_programs,
            },
            "launches": [
                {
                    "entry": launch.entry,
                    "slots": [dataclasses.astuple(slot) for slot in launch.slots],
                    "activity": _write_activity(found.activity),
                    "agreement": dataclasses.asdict(found.agreement),
                }
                for launch, found in file.launches.items()
            ],
        },
        indent=1,
    )


def _write_activity(activity: Activity) -> dict[str, object]:
    return {
        "cycles": activity.cycles,
        "observed_cycles": activity.observed_cycles,
        "wavelet_hops": activity.wavelet_hops,
        "busy_pe_cycles": activity.busy_pe_cycles,
        "link_wavelets": activity.link_wavelets,
        "spent": [
            [purpose.part, purpose.is_collective, spent.cycles, spent.busy_cycles]
            for purpose, spent in activity.spent.items()
        ],
    }


def _read_launch(item: Mapping[str, Any]) -> SimulatedLaunch:
    counts = dict(item["activity"])
    spent = {
        Purpose(None if part is None else LayerPart(part), bool(is_collective)): Spent(
            float(cycles), float(busy)
        )
        for part, is_collective, cycles, busy in counts.pop("spent")
    }
    activity = Activity(**{name: int(count) for name, count in counts.items()}, spent=spent)
    if activity.cycles <= 0:
        raise ValueError("a launch takes time")
    return SimulatedLaunch(activity, Agreement(**item["agreement"]))

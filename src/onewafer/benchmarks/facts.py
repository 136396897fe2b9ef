"""The conditions of every figure: the computer and the versions it was measured with."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from onewafer import __version__
from onewafer.benchmarks.clock import today
from onewafer.settings import available_cores

_CPU_FILE = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The computer, the versions, and how busy the computer was with other things."""

    date: str
    cpu: str
    num_cores: int
    memory_bytes: int | None
    system: str
    python: str
    numpy: str
    numba: str
    onewafer: str
    load_average: float | None
    """Processes that wanted a core in the minute before the first benchmark."""
    load_average_after: float | None = None
    """The load average at the end; the benchmarks themselves contribute to it."""

    def to_fields(self) -> dict[str, Any]:
        """Return the facts as values for JSON."""
        return asdict(self)

    def lines(self) -> tuple[str, ...]:
        """Return the facts as lines for people."""
        memory = f", {self.memory_bytes / 1e9:.0f} GB" if self.memory_bytes else ""
        load = (
            ""
            if self.load_average is None
            else f"; {self.load_average:.1f} processes wanted a core before"
        )
        if self.load_average_after is not None:
            load += f", {self.load_average_after:.1f} at the end"
        versions = (
            f"onewafer {self.onewafer}, Python {self.python}, NumPy {self.numpy}, "
            f"Numba {self.numba}, {self.date}"
        )
        return (
            f"{self.cpu}, {self.num_cores} cores{memory}, {self.system}{load}",
            versions,
        )


def find_facts() -> Facts:
    """Return the facts of this computer, now."""
    return Facts(
        date=today(),
        cpu=_cpu_name(),
        num_cores=available_cores(),
        memory_bytes=_memory_bytes(),
        system=platform.system(),
        python=platform.python_version(),
        numpy=_version("numpy"),
        numba=_version("numba"),
        onewafer=__version__,
        load_average=load_average(),
    )


def load_average() -> float | None:
    """Return how many processes wanted a core in the last minute; None: unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _cpu_name() -> str:
    if _CPU_FILE.exists():
        for line in _CPU_FILE.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

"""How much memory the process had at most."""

from __future__ import annotations

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_KIB = 1024


def peak_bytes() -> int | None:
    """Return the most bytes that were resident at once so far; None: unknown."""
    if _STATUS.exists():  # not `ru_maxrss`: on Linux it starts with that of the parent
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KIB
    try:
        import resource  # noqa: PLC0415 - not everywhere
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB

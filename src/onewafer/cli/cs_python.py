"""`cs_python script.py …`: run a host program with the Python that onewafer is installed in.

The process becomes that Python, so arguments, exit codes, signals and tracebacks are its own; the
`cerebras` package is importable because it is installed beside onewafer.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Replace this process by `python` with the same arguments."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])  # noqa: S606 - our own interpreter


if __name__ == "__main__":
    main()

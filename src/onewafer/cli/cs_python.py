"""`cs_python script.py …`: run a host program with the Python that onewafer is installed in.

The process becomes that Python, so arguments, exit codes, signals and tracebacks are its own; the
`cerebras` package is importable because it is installed beside onewafer. Only errors that onewafer
raises under the script are shown without onewafer's frames.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Replace this process by `python` with the same arguments."""
    sys.stdout.flush()
    environment = {**os.environ, "ONEWAFER_SHORT_TRACEBACKS": "1"}  # noqa: TID251 - for the child
    command = [sys.executable, *sys.argv[1:]]
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter


if __name__ == "__main__":
    main()

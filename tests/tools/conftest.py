"""Make the packages in `tools` importable, as `python -m tools.…` does at the root."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)

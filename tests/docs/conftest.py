"""Make what lies in `tools` importable: as `tools.…` at the root, and as the scripts import it."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
for folder in (str(ROOT), str(ROOT / "tools")):
    if folder not in sys.path:
        sys.path.append(folder)

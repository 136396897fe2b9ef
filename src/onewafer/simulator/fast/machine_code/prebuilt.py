"""Machine code of the kernels that comes with the package: users need not wait for a compiler.

It is used only if it was made of exactly the sources beside it, and is undamaged: `kernels.json`
holds the digest of the sources, and that of each file. `tools/prebuild_kernels.py` writes them.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import InternalError, OnewaferError
from onewafer.simulator.fast.machine_code.sources import sources_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FOLDER = Path(__file__).with_name("binaries")
MANIFEST = "kernels.json"
NUM_WORDS = {
    "run_cycles": 5,
    "wake_routers": 4,
    "wake_elements": 4,
    "settle_elements": 3,
    "count_totals": 6,
}
"""The entries, and the 64-bit words of their arguments: an address, for PEs also a length."""
SYMBOL = "onewafer_{}"
"""The name of an entry in a file."""
FAILED = -1
"""The result of an entry whose kernel raised an exception, which no kernel does."""
_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


class NotUsableError(OnewaferError):
    """No prebuilt machine code fits; the message ends the sentence "compiled here because …"."""


@dataclass(frozen=True, slots=True)
class PrebuiltEntry:
    """A prebuilt entry, called like its Python function."""

    name: str
    code: Any

    def __call__(self, bound: NDArray[np.int64], *arguments: int | NDArray[np.int64]) -> int:
        """Execute the entry on the result of `native.bind`."""
        words = [bound.ctypes.data]
        kept: list[NDArray[np.int64]] = []  # to the end of the call
        for argument in arguments:
            match argument:
                case np.ndarray():
                    kept.append(np.ascontiguousarray(argument, np.int64))
                    words += [kept[-1].ctypes.data, len(argument)]
                case _:
                    words.append(int(argument))
        result = self.code(*words)
        if result == FAILED:
            raise InternalError(f"a kernel of {self.name} raised an exception")
        return result


def platform_name() -> str:
    """Return the name of this kind of computer, in the names of files."""
    machine = platform.machine().lower()
    return f"{sys.platform}-{_MACHINES.get(machine, machine)}"


def file_name(platform: str) -> str:
    """Return the name of the file for a platform."""
    return f"kernels-{platform}.so"


def load_entries(folder: Path, platform: str) -> Mapping[str, PrebuiltEntry]:
    """Return the entries by name.

    Raises:
        NotUsableError: there is no machine code for exactly these sources and this computer.
    """
    path = check_file(folder, platform)
    try:
        library = ctypes.CDLL(str(path))
        codes = {name: getattr(library, SYMBOL.format(name)) for name in NUM_WORDS}
    except (OSError, AttributeError) as error:
        raise NotUsableError(f"the prebuilt ones cannot be loaded ({error})") from error
    for name, code in codes.items():
        code.argtypes = [ctypes.c_int64] * NUM_WORDS[name]
        code.restype = ctypes.c_int64
    return {name: PrebuiltEntry(name, code) for name, code in codes.items()}


def check_file(folder: Path, platform: str) -> Path:
    """Return the file for a platform; raise `NotUsableError` unless its digest is right."""
    path = folder / file_name(platform)
    if not path.is_file():
        raise NotUsableError(f"there are no prebuilt ones for {platform}")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sources, expected = manifest["sources"], manifest["files"][path.name]
        content = path.read_bytes()
        found = sources_digest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotUsableError("the prebuilt ones cannot be checked") from error
    if sources != found:
        raise NotUsableError("the prebuilt ones were made of other sources")
    if hashlib.sha256(content).hexdigest() != expected:
        raise NotUsableError("the prebuilt ones are damaged")
    return path

"""Make the machine code of the fast engine's kernels that comes with the package.

    python tools/prebuild_kernels.py                      make it, for every platform: two minutes
    python tools/prebuild_kernels.py --check              compare digests of sources and files
    python tools/prebuild_kernels.py --check --rebuild    make it again and compare the bytes

Run it when the first check says that sources of kernels have changed. Until then the package works,
but every computer compiles the kernels once. A change of comments or docstrings is no change.

The bytes depend on the sources and on the tools named in `TOOLS`, which are installed into a
virtual environment of their own; on nothing of this computer, which has to run Linux on x86-64.
Numba compiles for a processor without any extension, so that its optimised LLVM code suits all
computers. LLVM makes an object file of it for each platform, and LLD a shared library. That needs
one function of the C library (`sched_yield`), and neither Python nor Numba.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_objects import HOST, PLATFORMS, emit

from onewafer.simulator.fast.machine_code.prebuilt import FOLDER, MANIFEST, file_name
from onewafer.simulator.fast.machine_code.sources import sources_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "3.11"
TOOLS = ("llvmlite==0.50.0", "numba==0.68.1", "numpy==2.4.6", "ziglang==0.13.0")
"""The tools that the bytes depend on; `ziglang` brings LLD for every platform."""
ADVICE = "run `python tools/prebuild_kernels.py` and commit what it writes"

_ENVIRONMENT = {
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
    "ONEWAFER_PREBUILT": "off",
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": str(ROOT / "src"),
}


# --- what is there -------------------------------------------------------------------------------


def check() -> list[str]:
    """Return what is wrong with the files that come with the package, without making them."""
    manifest = read_manifest()
    findings: list[str] = []
    if manifest["sources"] != sources_digest():
        findings.append(f"the sources of kernels have changed: {ADVICE}")
    names = {file_name(platform) for platform in PLATFORMS}
    if set(manifest["files"]) != names:
        findings.append(f"{MANIFEST} does not name exactly {', '.join(sorted(names))}: {ADVICE}")
    for name, digest in manifest["files"].items():
        path = FOLDER / name
        if not path.is_file() or _digest(path) != digest:
            findings.append(f"{path.relative_to(ROOT)} is not the file that was made: {ADVICE}")
    return findings


def read_manifest() -> dict[str, Any]:
    """Return what is said of the files."""
    return json.loads((FOLDER / MANIFEST).read_text(encoding="utf-8"))


def compare(made: Path) -> list[str]:
    """Return which files that come with the package are not as they were just made."""
    return [
        f"{path.name} is not what the sources give: {ADVICE}"
        for path in sorted(made.iterdir())
        if not (FOLDER / path.name).is_file()
        or (FOLDER / path.name).read_bytes() != path.read_bytes()
    ]


# --- making it -----------------------------------------------------------------------------------


def make(folder: Path) -> None:
    """Write the files into a folder, with exactly the tools that are named above."""
    here = f"{platform.python_version().rpartition('.')[0]} on {sys.platform}-{platform.machine()}"
    if here != f"{PYTHON} on {HOST}":
        sys.exit(f"this is made by Python {PYTHON} on {HOST}, not {here}")
    with tempfile.TemporaryDirectory() as name:
        environment = Path(name)
        venv.create(environment / "venv", with_pip=True)
        python = environment / "venv" / "bin" / "python"
        run([python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", *TOOLS])
        cache = {"ONEWAFER_CACHE_DIR": str(environment / "cache")}
        run([python, __file__, "--emit", folder], {**_ENVIRONMENT, **cache})


def write_manifest(folder: Path) -> None:
    """Say what the files of a folder were made of, and their digests."""
    files = {path.name: _digest(path) for path in sorted(folder.glob("*.so"))}
    tools = [f"python=={PYTHON}", *TOOLS]
    manifest = {"sources": sources_digest(), "made_with": tools, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(command: Sequence[str | Path], added: dict[str, str] | None = None) -> None:
    """Run a command, and end with it if it fails."""
    environment = {**os.environ, **(added or {})}
    done = subprocess.run(command, env=environment, check=False)  # noqa: S603  # ours
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}")


# --- the command ---------------------------------------------------------------------------------


def main() -> int:
    """Make the files, or print what is wrong with them; return 1 if anything is."""
    parser = argparse.ArgumentParser(description="Make the prebuilt kernels of the fast engine.")
    parser.add_argument("--check", action="store_true", help="change nothing, say what is wrong")
    parser.add_argument("--rebuild", action="store_true", help="check by making everything again")
    parser.add_argument("--emit", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.emit:
        emit(options.emit)
        write_manifest(options.emit)
        return 0
    if not options.check:
        FOLDER.mkdir(exist_ok=True)
        make(FOLDER)
        return 0
    findings = check()
    if options.rebuild and not findings:
        with tempfile.TemporaryDirectory() as name:
            make(Path(name))
            findings = compare(Path(name))
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

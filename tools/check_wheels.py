"""Build the wheels that are published, look into them, and use them as their users would.

`check_installs.py wheels` runs it. One wheel is for Linux on x86-64 and one for Linux on Arm, each
with its prebuilt kernels; the third is for all other computers, which compile the kernels once.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.simulator.fast.machine_code.prebuilt import platform_name

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "examples/csl/axpy-sum"
WHEELS = {
    "linux-x86_64": "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64",
    "linux-aarch64": "py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64",
    "any": "py3-none-any",
}
"""`ONEWAFER_WHEEL` of `hatch_build.py` → the tags of the wheel, sorted."""
_NEEDED = re.compile(r"^Requires-Dist: .*?; *extra", re.MULTILINE)
_KERNELS = "onewafer/simulator/fast/machine_code/binaries/kernels-{}.so"
_OPTIONS = ("--arch=wse3", "--fabric-dims=9,3", "--fabric-offsets=4,1", "--memcpy")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that was built."""

    platform: str
    path: Path

    def findings(self) -> list[str]:
        """Return what is wrong with its files and its tags."""
        with zipfile.ZipFile(self.path) as opened:
            names = set(opened.namelist())
            (metadata,) = (n for n in names if n.endswith(".dist-info/METADATA"))
            tags = re.findall(
                r"^Tag: py3-none-(.*)$", _text(opened, metadata, "WHEEL"), re.MULTILINE
            )
            described = _text(opened, metadata, "METADATA")
        kernels = {p for p in WHEELS if _KERNELS.format(p) in names}
        vendored = {n for n in names if "/vendor/" in n and n.endswith(".js")}
        checks = {
            f"kernels of {sorted(kernels)}": kernels == {self.platform} - {"any"},
            f"tags {sorted(tags)}": f"py3-none-{'.'.join(sorted(tags))}" == WHEELS[self.platform],
            "no licence": any(n.endswith(".dist-info/licenses/LICENSE") for n in names),
            "vendored files without licences": not vendored
            or any("/licenses/" in n and "/vendor/" in n for n in names),
            "no py.typed": {"onewafer/py.typed", "onewafer/__init__.pyi"} <= names,
            "no long description in Markdown": "Description-Content-Type: text/markdown"
            in described,
            "no extras": _NEEDED.search(described) is not None,
            "other packages": {n.partition("/")[0] for n in names if n.endswith(".py")}
            == {"onewafer", "cerebras"},
        }
        return [f"{self.path.name}: {wrong}" for wrong, is_right in checks.items() if not is_right]

    @property
    def runs_here(self) -> bool:
        """True if this computer can install it."""
        return self.platform in ("any", platform_name())


def _text(opened: zipfile.ZipFile, metadata: str, name: str) -> str:
    return opened.read(metadata.replace("METADATA", name)).decode()


def build_wheels(folder: Path, build: Callable[..., str]) -> list[Wheel]:
    """Build the wheels; `build` runs `python -m build` with options and variables."""
    found: list[Wheel] = []
    for platform in WHEELS:
        out = folder / platform
        build("--wheel", "--outdir", out, ROOT, ONEWAFER_WHEEL=platform)
        (path,) = out.glob("*.whl")
        found.append(Wheel(platform, path))
    return found


def try_program(command: Callable[..., str], folder: Path, engines: tuple[str, ...]) -> None:
    """Compile and run a CSL program in a folder outside the checkout; `command` runs a command."""
    shutil.copytree(ROOT / PROGRAM, program := folder / "program")
    command("onewafer", "--version", folder=folder)
    command("cslc", "layout.csl", *_OPTIONS, "--params=block_size:8", folder=program)
    for engine in engines:
        command("cs_python", f"--engine={engine}", "run.py", "--name", "out", folder=program)


def compiled_kernels(cache: Path) -> bool:
    """Tell whether the fast engine compiled its kernels on this computer."""
    return any(name for _, _, names in os.walk(cache) for name in names)

"""Wheels of one platform: hatchling asks this file when `ONEWAFER_WHEEL` names one.

    ONEWAFER_WHEEL=linux-x86_64 python -m build --wheel     the prebuilt kernels of x86-64
    ONEWAFER_WHEEL=linux-aarch64 python -m build --wheel    those of 64-bit Arm
    ONEWAFER_WHEEL=any python -m build --wheel              none: a computer compiles them once

Without the variable, as where pip installs from sources, a wheel has the kernels of all platforms.
The kernels need one function of the C library, as old as the oldest tag of these platforms.
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_TAGS = {
    "linux-x86_64": "py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64",
    "linux-aarch64": "py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64",
    "any": "py3-none-any",
}
_KERNELS = "onewafer/simulator/fast/machine_code/binaries/kernels-{}.so"


class PlatformHook(BuildHookInterface[Any]):
    """Keep the kernels of one platform, and name the platform in the tag of the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Change what hatchling is about to put into a wheel."""
        del version
        wanted = os.environ.get("ONEWAFER_WHEEL")  # noqa: TID251  # a build, not the package
        if not wanted:
            return
        if wanted not in _TAGS:
            raise ValueError(f"ONEWAFER_WHEEL={wanted!r}: choose from {', '.join(_TAGS)}")
        build_data["tag"] = _TAGS[wanted]
        build_data["pure_python"] = wanted == "any"
        others = [platform for platform in _TAGS if platform != wanted]
        self.build_config.target_config["exclude"] = [
            f"src/{_KERNELS.format(platform)}" for platform in others
        ]

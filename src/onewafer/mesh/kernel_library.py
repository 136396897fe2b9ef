"""The library of kernels: CSL files anywhere in this package, found by name."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

_IMPORT = re.compile(r'@import_module\("(\w+\.csl)"')


def read_kernel(name: str) -> str:
    """Return the text of a kernel file."""
    return kernel_library()[name]


@cache
def kernel_library() -> Mapping[str, str]:
    """Return the text of every kernel file, by name."""
    files = sorted(_files(resources.files("onewafer.mesh")), key=lambda file: file.name)
    return {file.name: file.read_text(encoding="utf-8") for file in files}


def imported_kernels(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the kernel files that some texts import, directly or indirectly, by name."""
    found: dict[str, str] = {}
    left = [*texts.values()]
    while left:
        for name in _IMPORT.findall(left.pop()):
            if name not in texts and name not in found:
                found[name] = read_kernel(name)
                left.append(found[name])
    return dict(sorted(found.items()))


def _files(folder: Traversable) -> Iterator[Traversable]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry)
        elif entry.name.endswith(".csl"):
            yield entry

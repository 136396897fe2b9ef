"""Modules that prepare data: they are not meant for an accelerator, so they are never offered.

Transforms of pictures and sounds are `nn.Module`s, but part of the input pipeline: they have no
parameters, and run on the host, sample by sample, in a PyTorch script too. Reported as fallbacks,
thousands of them would hide what matters.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch.utils import _pytree as pytree
from torch.utils import data

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

_PACKAGE = "transforms"
"""The package that libraries keep them in: torchvision, torchaudio and those that follow them."""
_LOADING = f"{Path(data.__file__).parent}/"
_READERS = frozenset({"__getitem__", "__getitems__", "__iter__", "__next__"})
"""Methods of a data set that give samples."""


def is_transform(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> bool:
    """Tell whether a call outside of all other modules prepares data.

    It does if the module has no parameters and is one of a library's transforms, gets no tensor (a
    picture, for instance), or is called while a data set or a data loader makes a sample.
    """
    if any(True for _ in module.parameters()):
        return False
    if _is_of_library(module):
        return True
    leaves = cast("list[object]", pytree.tree_leaves((args, dict(kwargs))))
    return not any(isinstance(leaf, torch.Tensor) for leaf in leaves) or _is_loading()


def _is_of_library(module: torch.nn.Module) -> bool:
    """Tell whether a module, or all that a container has, is a transform of a library."""
    if _PACKAGE in type(module).__module__.split("."):
        return True
    children = [*module.children()]
    is_container = type(module) in (torch.nn.Sequential, torch.nn.ModuleList)
    return is_container and bool(children) and all(map(_is_of_library, children))


def _is_loading() -> bool:
    """Tell whether this thread is inside a data loader or a data set."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_LOADING):
            return True
        if code.co_name in _READERS and code.co_argcount:
            owner: object = frame.f_locals.get(code.co_varnames[0])
            if isinstance(owner, data.Dataset):
                return True
        frame = frame.f_back
    return False

"""`cuda` means the wafer while a script runs.

Tensors stay in host memory and say that they are on `cuda:0`; module calls that need no gradient
run on the wafer, everything else on the host, as for any other script.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from onewafer.pytorch.compiled import torch_compile
from onewafer.pytorch.cuda.device import device_replacements
from onewafer.pytorch.cuda.legacy import legacy_replacements
from onewafer.pytorch.cuda.moves import Moves

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from onewafer.pytorch.cuda.moves import Replacement
    from onewafer.pytorch.session import Session

NOTICE = (
    "the script asks for CUDA: cuda:0 is the wafer (its tensors stay in host memory); "
    "--no-cuda-alias turns this off"
)
_ABSENT = object()


def has_cuda_device() -> bool:
    """Tell whether the host has a CUDA device that PyTorch can use."""
    return torch.cuda.is_available()


def _ask() -> bool:
    return torch.compiler.is_compiling()


def _let_dynamo_list_functions() -> None:
    """Trace something, since Dynamo then lists functions of PyTorch, and must find the original."""
    torch_compile(_ask, backend="eager")()


@contextmanager
def alias_cuda(session: Session, announce: Callable[[str], None]) -> Generator[None]:
    """Let `cuda` mean the session's wafer; `announce` gets one line when a script first uses it."""
    announced: list[str] = []

    def notice() -> None:
        if not announced:
            announced.append(NOTICE)
            announce(NOTICE)

    _let_dynamo_list_functions()
    undo: list[Replacement] = []
    try:
        for owner, name, value in (
            *Moves(notice).replacements(),
            *device_replacements(session, notice),
            *legacy_replacements(notice),
        ):
            undo.append((owner, name, vars(owner).get(name, _ABSENT)))
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(undo):
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)

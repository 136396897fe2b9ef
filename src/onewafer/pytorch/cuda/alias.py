"""`cuda` means the wafer while a script runs.

Tensors stay in host memory and say that they are on `cuda:0`; module calls and
training loops run on the wafer, everything else on the host, as for any other script.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from onewafer.pytorch.compiled import torch_compile
from onewafer.pytorch.cuda.device import device_replacements
from onewafer.pytorch.cuda.legacy import legacy_replacements
from onewafer.pytorch.cuda.moves import Moves
from onewafer.pytorch.cuda.presence import CudaAlias, Presence

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from onewafer.pytorch.cuda.moves import Replacement
    from onewafer.pytorch.session import Session

_ABSENT = object()


def _ask() -> bool:
    return torch.compiler.is_compiling()


def _let_dynamo_list_functions() -> None:
    """Trace something, since Dynamo then lists functions of PyTorch, and must find the original."""
    torch_compile(_ask, backend="eager")()


@contextmanager
def alias_cuda(
    session: Session, announce: Callable[[str], None], alias: CudaAlias = CudaAlias.ON
) -> Generator[Presence]:
    """Let `cuda` mean the session's wafer, when `alias` says so; yield whether it does.

    `announce` gets one line when a script first uses the device.
    """
    presence = Presence(announce, alias)
    if alias is CudaAlias.OFF:
        yield presence
        return
    _let_dynamo_list_functions()
    undo: list[Replacement] = []
    try:
        for owner, name, value in (
            *Moves(presence.insist).replacements(),
            *device_replacements(session, presence),
            *legacy_replacements(presence.insist),
        ):
            undo.append((owner, name, vars(owner).get(name, _ABSENT)))
            setattr(owner, name, value)
        yield presence
    finally:
        for owner, name, value in reversed(undo):
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)

"""Run a module's Python code for its trace only, and undo what else it does.

`torch.export` runs `forward` once, on tensors without values. What the code leaves behind besides
its result (an attribute, an element of a list, a printed line, a drawn random number) would hold
no values after a call on the wafer and be there twice after a fallback. So it is noticed, undone,
and a reason to leave the call to the host. `python_state` says what is watched.
"""

from __future__ import annotations

import random  # noqa: TID251  # the script's generator is put back, no number is drawn
import sys
import threading
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, TextIO, cast

import numpy as np
import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.python_state import PythonState

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Generator


@contextmanager
def without_effects(module: torch.nn.Module, *, are_allowed: bool = False) -> Generator[None]:
    """Capture `module` inside; raise UnsupportedOperationError at the end if it had an effect.

    Effects `are_allowed` if the result is not used as that of a call.
    Whatever happens, the module's state is as before; after an error the random number generators
    are, too, since the host will run the code again.
    """
    state, restore_generators = PythonState(module), save_generators()
    output, errors = _OutputOfThisThread(sys.stdout), _OutputOfThisThread(sys.stderr)
    changes: list[str] = []

    def note_changes(*_: object) -> None:
        changes.extend(state.changes())

    hook = module.register_forward_hook(note_changes, always_call=True)
    try:
        with (
            redirect_stdout(cast("io.TextIOBase", output)),
            redirect_stderr(cast("io.TextIOBase", errors)),
        ):
            yield
        if not are_allowed:
            _refuse_effects(changes, has_printed=output.is_written or errors.is_written)
    except BaseException:
        restore_generators()
        raise
    finally:
        hook.remove()
        state.restore()


def _refuse_effects(changes: list[str], *, has_printed: bool) -> None:
    if changes:
        raise UnsupportedOperationError(f"its code changes {changes[0]}")
    if has_printed:
        raise UnsupportedOperationError("its code prints")


class _OutputOfThisThread:
    """Stands for a stream: drops what this thread writes, passes on what others write."""

    def __init__(self, stream: TextIO) -> None:
        self.is_written = False
        self._stream = stream
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        """Note or pass on a text."""
        if threading.get_ident() != self._thread:
            return self._stream.write(text)
        self.is_written |= bool(text)
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def save_generators() -> Callable[[], None]:
    """Return a function that restores the generators of PyTorch (CPU), Python and NumPy."""
    of_torch, of_python = torch.get_rng_state(), random.getstate()
    of_numpy = np.random.get_state()  # noqa: NPY002, TID251  # the script's, as above

    def restore() -> None:
        torch.set_rng_state(of_torch)
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002, TID251  # the script's, as above

    return restore

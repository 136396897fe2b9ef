"""Run a module's Python code for its trace only, and undo what else it does.

`torch.export` runs `forward` once, on tensors without values. What the code leaves behind besides
its result (an attribute, an element of a list, a printed line, a drawn random number) would hold
no values after a call on the wafer and be there twice after a fallback. So it is noticed, undone,
and a reason to leave the call to the host. Objects of other classes that the code changes are not
followed.
"""

from __future__ import annotations

import random  # noqa: TID251  # the script's generator is put back, no number is drawn
import sys
import threading
from collections import deque
from contextlib import contextmanager, redirect_stdout
from copy import copy
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from onewafer.errors import UnsupportedOperationError

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Generator, Iterator

_Container = dict[Any, Any] | list[Any] | set[Any] | deque[Any]
_CONTAINERS = (dict, list, set, deque)
_ABSENT = object()

_TENSORS = ("_parameters", "_buffers")
"""Dictionaries in which export puts stand-ins while it runs the code."""
_HOOKS = ("_forward_hooks", "_forward_hooks_always_called")
"""Dictionaries in which the watcher itself stands meanwhile."""


@contextmanager
def without_effects(module: torch.nn.Module) -> Generator[None]:
    """Capture `module` inside; raise UnsupportedOperationError at the end if it had an effect.

    Whatever happens, the module's state is as before; after an error the random number generators
    are, too, since the host will run the code again.
    """
    state, output, restore_generators = _State(module), _OutputOfThisThread(), _save_generators()
    changes: list[str] = []

    def note_changes(*_: object) -> None:
        changes.extend(state.changes())

    hook = module.register_forward_hook(note_changes, always_call=True)
    try:
        with redirect_stdout(cast("io.TextIOBase", output)):
            yield
        _refuse_effects(changes, has_printed=output.is_written)
    except BaseException:
        restore_generators()
        raise
    finally:
        hook.remove()
        state.restore()


def _refuse_effects(changes: list[str], *, has_printed: bool) -> None:
    if changes:
        raise UnsupportedOperationError(f"its code changes the attribute {changes[0]!r}")
    if has_printed:
        raise UnsupportedOperationError("its code prints")


class _OutputOfThisThread:
    """Stands for `sys.stdout`: drops what this thread writes, passes on what others write."""

    def __init__(self) -> None:
        self.is_written = False
        self._stdout = sys.stdout
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        """Note or pass on a text."""
        if threading.get_ident() != self._thread:
            return self._stdout.write(text)
        self.is_written |= bool(text)
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stdout, name)


class _State:
    """Attributes of a module and of all modules in it, with the containers that they hold."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._attributes: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        """Prefix of the module's path, its attributes, a copy of them."""
        self._containers: dict[int, tuple[str, _Container, _Container]] = {}
        """Identity of a container → attribute that leads to it, itself, a copy of it."""
        for path, inner in cast("Iterator[tuple[str, torch.nn.Module]]", module.named_modules()):
            attributes = vars(inner)
            prefix = f"{path}." if path else ""
            self._attributes.append((prefix, attributes, dict(attributes)))
            for name, value in attributes.items():
                if name not in _HOOKS:
                    self._add(f"{prefix}{name}", value)

    def _add(self, where: str, value: object) -> None:
        if id(value) in self._containers or not isinstance(value, (*_CONTAINERS, tuple)):
            return
        held = cast("_Container | tuple[object, ...]", value)
        if not isinstance(held, tuple):
            self._containers[id(held)] = where, held, copy(held)
        for element in held.values() if isinstance(held, dict) else held:
            self._add(where, element)

    def changes(self) -> Iterator[str]:
        """Yield the paths of attributes that are not as they were."""
        for prefix, attributes, saved in self._attributes:
            for name in {**saved, **attributes}:
                if attributes.get(name, _ABSENT) is not saved.get(name, _ABSENT):
                    yield f"{prefix}{name}"
        for where, container, saved in self._containers.values():
            names_only = where.rpartition(".")[2] in _TENSORS
            before = _contents(saved, names_only=names_only)
            if _contents(container, names_only=names_only) != before:
                yield where

    def restore(self) -> None:
        """Put back every attribute and the contents of every container."""
        for _, attributes, saved in self._attributes:
            _restore(attributes, saved)
        for _, container, saved in self._containers.values():
            _restore(container, saved)


def _contents(container: _Container, *, names_only: bool = False) -> object:
    """Return what is equal for containers that hold the same objects, not merely equal ones."""
    if isinstance(container, dict):
        return [(key, names_only or id(value)) for key, value in container.items()]
    if isinstance(container, set):
        return container
    return [id(element) for element in container]


def _restore(container: _Container, saved: _Container) -> None:
    if _contents(container) == _contents(saved):
        return
    container.clear()
    match container:
        case dict() | set():
            container.update(saved)
        case _:
            container.extend(saved)


def _save_generators() -> Callable[[], None]:
    """Return what puts the generators of PyTorch (CPU), Python and NumPy back to now."""
    of_torch, of_python = torch.get_rng_state(), random.getstate()
    of_numpy = np.random.get_state()  # noqa: NPY002, TID251  # the script's, as above

    def restore() -> None:
        torch.set_rng_state(of_torch)
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002, TID251  # the script's, as above

    return restore

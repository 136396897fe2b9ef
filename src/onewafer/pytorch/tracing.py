"""Let PyTorch trace in one thread without a trace in the others, and without a word.

While it traces, torch.fx replaces `nn.Module.__call__` and `__getattr__` for all threads; a module
that another thread calls meanwhile would become part of the trace, or break it. Here the
replacements hold in the tracing thread only, and only one thread traces at a time.
"""

from __future__ import annotations

import functools
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.fx._symbolic_trace import (
    _Patcher as Patcher,  # pyright: ignore[reportPrivateUsage]  # no public name
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_LOCK = threading.Lock()
"""One for the process, as the attributes of `nn.Module` are."""


class _Turn(threading.local):
    """How often this thread has taken its turn without ending it."""

    depth = 0


_turn = _Turn()
_tracing_threads: list[int] = []
"""The thread that traces, as often as it began to."""


_LOGS = (
    logging.getLogger("torch._subclasses.fake_tensor"),
    logging.getLogger("torch.fx.experimental.symbolic_shapes"),
)
"""They get what PyTorch has to say of an error before it is raised: the traceback of an operation
whose shapes do not go together, the symbols of a branch that depends on a tensor's values."""


# Dynamo asks while it traces, and could not trace this.
@torch.compiler.assume_constant_result  # pyright: ignore[reportUnknownMemberType]  # partly typed
def is_another_thread_tracing() -> bool:
    """Tell whether `torch.compiler.is_compiling()`, which holds for all threads, means another."""
    return any(thread != threading.get_ident() for thread in [*_tracing_threads])


@contextmanager
def taking_turn() -> Generator[None]:
    """Be the only thread inside: what traces here, or runs code that does, holds for all."""
    if not _turn.depth:
        _LOCK.acquire()
    _turn.depth += 1
    try:
        yield
    finally:
        if _turn.depth:  # else it was interrupted while it waited for its turn to go on
            _turn.depth -= 1
            if not _turn.depth:
                _LOCK.release()


@contextmanager
def leaving_turn() -> Generator[None]:
    """Let other threads take their turn while this one does what no trace can see, or disturb."""
    depth, thread = _turn.depth, threading.get_ident()
    if not depth:
        yield
        return
    traces = _tracing_threads.count(thread)
    for _ in range(traces):
        _tracing_threads.remove(thread)
    _turn.depth = 0
    _LOCK.release()
    try:
        yield
    finally:
        try:
            _LOCK.acquire()
            _turn.depth = depth
        finally:  # also if it is interrupted while it waits
            _tracing_threads.extend([thread] * traces)


@contextmanager
def tracing_alone() -> Generator[None]:
    """Trace inside; other threads keep `nn.Module` as it is."""
    thread = threading.get_ident()

    def patch(
        patcher: Patcher,
        owner: type,
        name: str,
        replacement: Callable[..., object],
        **options: bool,
    ) -> None:
        if owner is torch.nn.Module:
            replacement = _only_in(thread, replacement, getattr(owner, name))
        patch_method(patcher, owner, name, replacement, **options)

    with taking_turn():
        patch_method = Patcher.patch_method
        Patcher.patch_method = patch  # pyright: ignore[reportAttributeAccessIssue]  # other names
        _tracing_threads.append(thread)
        try:
            yield
        finally:
            _tracing_threads.remove(thread)
            Patcher.patch_method = patch_method


@contextmanager
def tracing_quietly() -> Generator[None]:
    """Trace inside; PyTorch's log of what cannot be traced is kept from the user.

    The user gets the error.
    """
    thread = threading.get_ident()

    def is_of_another_thread(record: logging.LogRecord) -> bool:
        return record.thread != thread

    for log in _LOGS:
        log.addFilter(is_of_another_thread)
    _tracing_threads.append(thread)
    try:
        yield
    finally:
        _tracing_threads.remove(thread)
        for log in _LOGS:
            log.removeFilter(is_of_another_thread)


def _only_in(
    thread: int, replacement: Callable[..., object], original: Callable[..., object]
) -> Callable[..., object]:
    @functools.wraps(replacement)
    def choose(*args: object, **kwargs: object) -> object:
        chosen = replacement if threading.get_ident() == thread else original
        return chosen(*args, **kwargs)

    return choose

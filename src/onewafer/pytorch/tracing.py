"""Let PyTorch trace in one thread without an effect on the others, and without logs.

While it traces, torch.fx replaces `nn.Module.__call__` and `__getattr__` for all threads; a module
that another thread calls meanwhile would become part of the trace, or break it. Here the
replacements hold in the tracing thread only, and only one thread traces at a time.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from contextlib import contextmanager
from traceback import FrameSummary, StackSummary
from typing import TYPE_CHECKING

import torch
from torch.fx import proxy
from torch.fx._symbolic_trace import (
    _Patcher as Patcher,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch.utils._traceback import CapturedTraceback

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

_LOCK = threading.Lock()
"""One for the process, as the attributes of `nn.Module` are."""


class _Turn(threading.local):
    """How often this thread has taken its turn without ending it."""

    depth = 0


_turn = _Turn()
_tracing_threads: list[int] = []
"""The identity of the thread that traces, once for each trace that it has begun."""


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
    """Be the only thread inside: what PyTorch replaces while it traces is so for all threads."""
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
    """Let other threads take their turn while this one does work that no trace disturbs."""
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

    with taking_turn(), _short_tracebacks():
        patch_method = Patcher.patch_method
        Patcher.patch_method = patch  # pyright: ignore[reportAttributeAccessIssue]  # other names
        _tracing_threads.append(thread)
        try:
            yield
        finally:
            _tracing_threads.remove(thread)
            Patcher.patch_method = patch_method


class _ForwardFrames:
    """The frames of the stack that torch.fx keeps: those of functions named `forward`.

    torch.fx writes the whole stack down for every operation and then keeps these; that took a
    quarter of the time of a capture.
    """

    def summary(self) -> StackSummary:
        """Return the frames, the outermost first."""
        found: list[FrameSummary] = []
        annotated: set[tuple[str, str]] = getattr(proxy, "_STACK_TRACE_ANCHORS", set())
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented
        while frame is not None:
            code = frame.f_code
            place = code.co_filename, code.co_name
            if code.co_name == "forward" or place in annotated:  # by users
                found.append(FrameSummary(place[0], frame.f_lineno, place[1], lookup_line=False))
            frame = frame.f_back
        return StackSummary.from_list(reversed(found))


@contextmanager
def _short_tracebacks() -> Generator[None]:
    """Trace inside; a PyTorch that keeps more than these frames gets what it asks for."""
    if not hasattr(proxy.TracerBase, "_record_forward_stack_traces_only"):
        yield
        return
    thread, whole = threading.get_ident(), CapturedTraceback

    class Chosen:
        @staticmethod
        def extract() -> _ForwardFrames | CapturedTraceback:
            return _ForwardFrames() if threading.get_ident() == thread else whole.extract()

    name = "CapturedTraceback"
    setattr(proxy, name, Chosen)
    try:
        yield
    finally:
        setattr(proxy, name, whole)


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

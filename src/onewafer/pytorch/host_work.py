"""Work of the host: calls and floating point operations by cause and place.

In: calls that `session` does not take, and FLOP that `flop` counts, from any thread. Out: one
record for each cause and place, from which a report says what would bring more to the wafer.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left, bisect_right
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, cast

import torch
from torch._C import (
    _current_autograd_node as current_autograd_node,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch.utils import _pytree as pytree

from onewafer.pytorch.elements import Observer, kind_of
from onewafer.pytorch.names import name_of_module
from onewafer.pytorch.places import Place, users_place

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Mapping

    from torch.autograd.graph import Node

    from onewafer.errors import Refusal

next_node: Callable[[], int] = vars(torch.autograd)["_get_sequence_nr"]  # no public name
"""Returns the number that the next node of autograd's graph gets in this thread."""
_MOST_STRETCHES = 1 << 16
"""The most stretches of nodes whose reasons are kept: graphs of older ones are usually gone."""

_MOST_KINDS = 256
"""The most kinds of calls of one module whose element-wise results are remembered."""


class Cause(StrEnum):
    """Why something ran on the host."""

    REFUSAL = "refusal"
    """The wafer refused a call."""
    GRADIENT = "gradient"
    """A call whose result needs a gradient."""
    BACKWARD = "backward"
    """The backward pass of such calls, or of what the script computes outside of them."""
    OUTSIDE = "outside"
    """The script computes it outside of modules."""


@dataclass(frozen=True, slots=True)
class HostTask:
    """The key of a record in the ledger: work of one kind."""

    cause: Cause
    place: Place | None
    """Where the script computes it, or makes the outermost call that it belongs to."""
    module: str = ""
    """Class of the module that was called, if it was a call."""
    whole: str | None = None
    """Class of the outermost module, if this is a part of it, which was refused, too."""
    refusal: Refusal | None = None
    has_parameters: bool = True
    """True if the module has some: without, it may have no FLOP, as losses have none."""
    is_refused_anyway: bool = False
    """True if the call needs a gradient, and the wafer refuses its graph without one, too."""


@dataclass(slots=True)
class HostWork:
    """How much was done of one kind."""

    calls: int = 0
    flop: int = 0
    """FLOP, without those of calls inside that have a record of their own."""
    elements: int = 0
    """Element-wise results of forward passes."""
    backpropagated_calls: int = 0
    """Calls whose results a backward pass has reached."""
    pending: weakref.WeakSet[_Pending] = field(default_factory=weakref.WeakSet["_Pending"])
    """Calls whose results a backward pass may still reach."""

    def take(self, other: HostWork, result: object) -> None:
        """Add what a call has computed, and watch its result."""
        self.flop += other.flop
        self.elements += other.elements
        self.watch(result)

    def watch(self, result: object) -> None:
        """Notice whether a backward pass reaches the result of a call."""
        pending: _Pending | None = None
        for leaf in cast("list[object]", pytree.tree_leaves(result)):
            if isinstance(leaf, torch.Tensor) and leaf.grad_fn is not None:
                pending = pending or _Pending(self)
                leaf.grad_fn.register_prehook(pending)
        if pending is not None:
            self.pending.add(pending)


class _Pending:
    """A hook that notices a backward pass; it lives as long as the graph of its call."""

    def __init__(self, work: HostWork) -> None:
        self._work = work
        self._is_reached = False

    def __call__(self, gradients: object) -> None:
        del gradients
        if not self._is_reached:
            self._is_reached = True
            self._work.backpropagated_calls += 1


class _Current(threading.local):
    """The state of a thread."""

    place: Place | None = None
    """The place of the outermost call."""
    work: HostWork | None = None
    """The record of the call that runs; None: none runs."""
    backward: HostWork | None = None
    """The record of the backward pass to come; None: that of the line that asks for it."""

    def __init__(self) -> None:
        self.origins = _Origins()


class _Origins:
    """The reasons for which the host has nodes of autograd's graph, those of one thread.

    Nodes have numbers, which count up. Those of a block are the host's for one reason.
    """

    def __init__(self) -> None:
        self._firsts: list[int] = []
        """The first node of each stretch."""
        self._reasons: list[Refusal | None] = []
        """The reason of each stretch; None: its nodes belong to no call."""

    def note(self, first: int, end: int, reason: Refusal) -> None:
        """Note that the host has nodes, from a first one to before an end, for a reason."""
        before = self.find(end)
        place = bisect_left(self._firsts, first)
        if place == len(self._firsts):  # as it is nearly always
            self._firsts += [first, end]
            self._reasons += [reason, before]
        elif first < end:
            inner = bisect_left(self._firsts, end)
            kept = [one or reason for one in self._reasons[place:inner]]
            self._firsts[place:inner] = [first, *self._firsts[place:inner], end]
            self._reasons[place:inner] = [reason, *kept, before]
        if len(self._firsts) > _MOST_STRETCHES:
            del self._firsts[: _MOST_STRETCHES // 2], self._reasons[: _MOST_STRETCHES // 2]

    def find(self, number: int) -> Refusal | None:
        """Return why the host has a node; None: the script made it outside of calls."""
        place = bisect_right(self._firsts, number)
        return self._reasons[place - 1] if place else None


class _Doing:
    """A block in which this thread does some work; a generator would take longer at each call."""

    __slots__ = ("_before", "_current", "_work")

    def __init__(self, current: _Current, work: HostWork) -> None:
        self._current, self._work = current, work

    def __enter__(self) -> HostWork:
        current = self._current
        self._before, current.work = current.work, self._work
        return self._work

    def __exit__(self, *_: object) -> None:
        self._current.work = self._before


class HostLedger:
    """The work of the host; threads may write at the same time."""

    def __init__(self) -> None:
        self.works: dict[HostTask, HostWork] = {}
        self.counts_flop = False
        """True if `add_flop` gets what the process computes."""
        self.sees_all_calls = True
        """True if every module call is offered; else what the script compiled for the wafer is."""
        self.not_counted: Counter[tuple[str, Place | None]] = Counter()
        """Operation whose FLOP nothing counts, and place → calls."""
        self._outside: dict[tuple[Cause, Place | None, Refusal | None], HostWork] = {}
        """Records of work outside of calls, found without making a task."""
        self._elements: weakref.WeakKeyDictionary[torch.nn.Module, dict[Hashable, int]] = (
            weakref.WeakKeyDictionary()
        )
        """Kinds of calls of a module → their element-wise results."""
        self._current = _Current()
        self._elsewhere = HostWork()
        """Work of the host for the wafer, which counts as the wafer's."""
        self._lock = threading.Lock()

    def of(self, cause: Cause) -> list[tuple[HostTask, HostWork]]:
        """Return the records of one cause."""
        return [(task, work) for task, work in [*self.works.items()] if task.cause is cause]

    @property
    def num_calls(self) -> int:
        """Calls of all causes."""
        return sum(work.calls for work in [*self.works.values()])

    @contextmanager
    def outermost(self) -> Generator[None]:
        """Give calls inside the present place of the thread, unless they are inside another one."""
        current = self._current
        before = current.place
        current.place = before or users_place()
        try:
            yield
        finally:
            current.place = before

    def count_call(
        self,
        module: torch.nn.Module,
        cause: Cause,
        *,
        refusal: Refusal | None = None,
        whole: torch.nn.Module | None = None,
        is_refused_anyway: bool = False,
    ) -> HostWork:
        """Count a call that the host makes; return the record that it belongs to."""
        return self.count(
            name_of_module(module),
            cause,
            refusal=refusal,
            whole=None if whole is None else name_of_module(whole),
            has_parameters=any(True for _ in module.parameters()),
            is_refused_anyway=is_refused_anyway,
        )

    def count(
        self,
        name: str,
        cause: Cause,
        *,
        refusal: Refusal | None = None,
        whole: str | None = None,
        has_parameters: bool = True,
        is_refused_anyway: bool = False,
    ) -> HostWork:
        """Count something that the host does; return the record that it belongs to."""
        place = self._current.place or users_place()
        task = HostTask(
            *(cause, place, name, whole, refusal),
            has_parameters=has_parameters,
            is_refused_anyway=is_refused_anyway,
        )
        with self._lock:
            work = self.works.setdefault(task, HostWork())
            work.calls += 1
            return work

    def doing(self, work: HostWork) -> _Doing:
        """Count FLOP of this thread inside a block as of some work, which the block gets."""
        return _Doing(self._current, work)

    @contextmanager
    def counting_elements(
        self,
        work: HostWork,
        module: torch.nn.Module,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> Generator[None]:
        """Count element-wise results of the call inside as of some work."""
        known, kind = self._elements.setdefault(module, {}), kind_of(module, args, kwargs)
        if (count := known.get(kind)) is not None:
            yield
        else:
            with Observer() as seen:
                yield
            if len(known) >= _MOST_KINDS:
                known.clear()
            count = known[kind] = seen.count
        with self._lock:
            work.elements += count

    @contextmanager
    def recording(self, reason: Refusal) -> Generator[None]:
        """Note the nodes of autograd's graph made inside as the host's, for a reason.

        What a backward pass computes at them is counted with that reason.
        """
        first = next_node()
        try:
            yield
        finally:
            self.note_nodes(first, reason)

    def note_nodes(self, first: int, reason: Refusal, last: int | None = None) -> None:
        """Note that nodes of this thread are the host's, up to a `last` one or the latest."""
        end = next_node() if last is None else last + 1
        if first < end:
            self._current.origins.note(first, end, reason)

    def expect_backward(self, work: HostWork | None) -> None:
        """Count FLOP of backward passes of this thread as of some work; None: as before."""
        self._current.backward = work

    @contextmanager
    def computing_for_wafer(self) -> Generator[None]:
        """Do not count FLOP of this thread: they are those of a call on the wafer."""
        with self.doing(self._elsewhere):
            yield

    def add_flop(self, flop: int) -> None:
        """Count FLOP that this thread has just computed."""
        work = self._current.work
        if work is None:
            node = current_autograd_node()
            if node is None:  # pyright: ignore[reportUnnecessaryComparison]  # stub
                work = self._work_outside_of_calls(Cause.OUTSIDE)
            else:
                work = self._current.backward or self._work_of_node(node)
        with self._lock:
            work.flop += flop

    def note_not_counted(self, name: str) -> None:
        """Note an operation of this thread, of the host, whose FLOP nothing counts."""
        if self._current.work is not self._elsewhere:
            place = users_place()
            with self._lock:
                self.not_counted[name, place] += 1

    def add_backward(self, flop: int, reason: Refusal) -> None:
        """Count FLOP of a backward pass that the host has just computed for a reason."""
        work = self._work_outside_of_calls(Cause.BACKWARD, reason)
        with self._lock:
            work.flop += flop

    def _work_of_node(self, node: Node) -> HostWork:
        """Return the record of a backward pass at a node."""
        number = node._sequence_nr()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
        return self._work_outside_of_calls(Cause.BACKWARD, self._current.origins.find(number))

    def _work_outside_of_calls(self, cause: Cause, refusal: Refusal | None = None) -> HostWork:
        place = users_place()
        work = self._outside.get((cause, place, refusal))
        if work is None:
            task = HostTask(cause, place, refusal=refusal)
            work = self._outside[cause, place, refusal] = self.works.setdefault(task, HostWork())
        return work

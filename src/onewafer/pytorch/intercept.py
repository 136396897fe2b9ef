"""The choice of the module calls that go to the wafer, while a script runs unmodified.

The outermost `nn.Module` call runs on the wafer; one whose result needs a gradient is trained
there. Calls inside a call belong to it, but if the wafer refuses a call, those inside it are
offered in its place (`parts` says which). Any thread may call; the wafer serves one at a time.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch._C import (
    _is_tracing as is_tracing,  # pyright: ignore[reportPrivateUsage]  # `torch.jit`'s asks more first, at each call
)
from torch._dynamo import OptimizedModule
from torch.utils import _pytree as pytree
from torch.utils import data

from onewafer.errors import Refusal, UnsupportedOperationError
from onewafer.process.blocks import OpenBlocks, Replacement
from onewafer.pytorch.compiled import compiled_for_wafer
from onewafer.pytorch.cuda import call_plain
from onewafer.pytorch.elements import set_aside
from onewafer.pytorch.flop import counting_flop
from onewafer.pytorch.fused_paths import IS_OFF, may_take_fused_path
from onewafer.pytorch.host_work import HostWork
from onewafer.pytorch.parts import is_worth_offering
from onewafer.pytorch.refusals import SurroundingsError
from onewafer.pytorch.tracing import is_another_thread_tracing
from onewafer.pytorch.training import NOT_REPEATED, engine, training_on

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from types import FrameType

    from onewafer.process.worker_calls import CallFile
    from onewafer.pytorch.host_work import HostLedger
    from onewafer.pytorch.session import Session


class _Nesting(threading.local):
    """Where this thread is among the module calls of a script."""

    is_inside = False
    """True if a call made now is part of a call that already runs on the wafer or the host."""
    whole: torch.nn.Module | None = None
    """The outermost module, which the wafer refused: a call made now is one of a part of it."""
    trains = False
    """True if the call of that module needs a gradient."""


@contextmanager
def intercept_calls(session: Session) -> Generator[None]:
    """Send eligible module calls to a session while the block is open.

    Blocks may be nested, and several threads may open some: `OpenBlocks` says which one counts.
    """
    session.ledger.host.counts_flop = True
    with (
        counting_flop(session.ledger.host.add_flop, session.ledger.host.note_not_counted),
        session.ledger.workers.in_folder() as workers,
        training_on(session.training),
        _CALL.in_place() as original,
        _ROUTERS.open(_Router(session, original, _Nesting(), os.getpid(), workers)),
    ):
        yield


def _replace_call(original: Callable[..., object]) -> Callable[..., object]:
    def call(module: torch.nn.Module, *args: object, **kwargs: object) -> object:
        # Tracers must see PyTorch's own call.
        if torch.compiler.is_compiling() or is_tracing():
            is_traced = not is_another_thread_tracing()
            router = None if is_traced else _ROUTERS.current
        else:
            router = _ROUTERS.current
        if router is None or router.nesting.is_inside:
            return original(module, *args, **kwargs)
        result = router.repeat(module, args, kwargs)
        if result is not NOT_REPEATED:
            return result
        if not router.is_offered(module, args, kwargs):
            return original(module, *args, **kwargs)
        nesting = router.nesting
        nesting.is_inside = True
        try:
            with router.host.outermost(), engine.outside(), set_aside():
                return router.route(module, args, kwargs)
        finally:
            nesting.is_inside = False

    return call


@dataclass(frozen=True, slots=True)
class _Router:
    """Runs calls where they belong, and counts them."""

    session: Session
    original: Callable[..., object]
    """`nn.Module.__call__` as it was."""
    nesting: _Nesting
    process_id: int
    workers: CallFile
    """Where a process that is forked from this one counts its calls."""
    evaluated: weakref.WeakSet[torch.nn.Module] = field(
        default_factory=weakref.WeakSet["torch.nn.Module"]
    )
    """Modules that have been called without a gradient."""

    @property
    def host(self) -> HostLedger:
        """Where work of the host is counted."""
        return self.session.ledger.host

    def is_offered(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> bool:
        """Tell whether to offer a call: an outermost one but for transforms, or one of a part."""
        nesting = self.nesting
        if self.session.is_on_host:
            return False
        if nesting.whole is None:
            return not is_transform(module, args, kwargs)
        return is_worth_offering(module, args, kwargs)

    def repeat(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Return the result of a call that begins a step like ones before, or NOT_REPEATED."""
        nesting, session = self.nesting, self.session
        if session.training.is_broken:
            return NOT_REPEATED
        repeats = session.training.repeats
        takes_loss = repeats.takes_loss(module, args)
        known = None if takes_loss else repeats.find(module, args, kwargs)
        is_outside = nesting.whole is None and not session.is_on_host
        if not (takes_loss or known) or not is_outside or os.getpid() != self.process_id:
            return NOT_REPEATED
        nesting.is_inside = True
        try:
            if known is None:
                repeats.loss_work.flop = 0
                return self._train_on_host(module, args, kwargs, repeats.loss_work)
            return repeats.call(known, self.original, (module, args, kwargs))
        finally:
            nesting.is_inside = False

    def route(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Run the outermost call of a script, or the call of a part.

        A forked worker has no session to report to.
        """
        if os.getpid() != self.process_id:
            self.workers.count(module)
            return self.original(module, *args, **kwargs)
        self._note_fused_path(module, args, kwargs)
        if isinstance(module, OptimizedModule) and module in compiled_for_wafer:
            module = module._orig_mod  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
        elif isinstance(module, OptimizedModule):
            return self._call_compiled(module, args, kwargs)
        whole = self.nesting.whole
        if needs_gradient(module, args, kwargs):
            return self._train(module, args, kwargs)
        call = self.session.call if whole is None else partial(self.session.call_part, whole)
        try:
            return call_plain(partial(call, module), args, kwargs)
        except UnsupportedOperationError as error:
            work = self._count_fallback(module, error.refusal)
            parts = self._parts_of(module, error)
        # Outside the handler, so that an error of the module shows no other error as its context.
        counting = self.host.counting_elements(work, module, args, kwargs)
        with self.host.doing(work), parts, counting:
            return self.original(module, *args, **kwargs)

    def _note_fused_path(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        """Note at the first evaluation of a module that results may differ from PyTorch's."""
        is_known = self.nesting.whole is not None or module in self.evaluated
        if is_known or needs_gradient(module, args, kwargs):
            return
        self.evaluated.add(module)
        if may_take_fused_path(module):
            self.session.ledger.notes[IS_OFF] = None

    def _train(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Run a call whose result needs a gradient."""
        session, whole = self.session, self.nesting.whole
        if not any(True for _ in module.parameters()):
            return self._train_on_host(module, args, kwargs, HostWork())
        call = session.train if whole is None else partial(session.train_part, whole)
        try:
            return call_plain(partial(call, module), args, kwargs)
        except UnsupportedOperationError as error:
            refused, parts = error, self._parts_of(module, error, trains=True)
        work = HostWork()
        counting = self.host.counting_elements(work, module, args, kwargs)
        with self.host.doing(work), self.host.recording(refused.refusal), parts, counting:
            result = self.original(module, *args, **kwargs)
        session.count_gradient_call(module, whole, refused).take(work, result)
        return result

    def _train_on_host(
        self,
        module: torch.nn.Module,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        work: HostWork,
    ) -> object:
        """Run a call without parameters whose result needs a gradient: perhaps that of a loss."""
        training = self.session.training
        seen = training.num_losses
        counting = self.host.counting_elements(work, module, args, kwargs)
        if work is training.repeats.loss_work:  # of a known step, whose loss the wafer takes
            counting = nullcontext()
        with self.host.doing(work), self.host.recording(_WITHOUT_PARAMETERS), counting:
            result = self.original(module, *args, **kwargs)
        if training.num_losses > seen:  # the wafer has taken it
            training.following.note_criterion(module)
            return result
        self.session.count_gradient_call(module, self.nesting.whole).take(work, result)
        return result

    def _call_compiled(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Call a module that the script compiled; our backend then gets its graphs one by one."""
        seen = self.session.ledger.num_calls
        compiled = partial(self.original, module)
        with self.host.doing(HostWork()) as work, self.host.recording(_COMPILED_BY_ANOTHER):
            result = call_plain(lambda args, kwargs: compiled(*args, **kwargs), args, kwargs)
        if self.session.ledger.num_calls == seen:
            self._count_fallback(module, _COMPILED_BY_ANOTHER).flop += work.flop
        else:
            self.host.add_flop(work.flop)
        return result

    def _count_fallback(self, module: torch.nn.Module, refusal: Refusal) -> HostWork:
        """Note a call that the host makes; it is an error if strict, unless it is trained."""
        nesting = self.nesting
        return self.session.count_fallback(
            module, refusal, nesting.whole, is_trained=nesting.trains
        )

    @contextmanager
    def _parts_of(
        self, module: torch.nn.Module, error: UnsupportedOperationError, *, trains: bool = False
    ) -> Generator[None]:
        """Offer the calls made inside as parts, of the outermost module where there is one.

        The error says why the wafer refused the call, and perhaps its parts.
        """
        if isinstance(error, SurroundingsError):
            yield
            return
        nesting = self.nesting
        before = nesting.whole, nesting.trains
        nesting.is_inside = False
        if nesting.whole is None:
            nesting.whole, nesting.trains = module, trains
        try:
            yield
        finally:
            nesting.is_inside = True
            nesting.whole, nesting.trains = before


def needs_gradient(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
) -> bool:
    """Tell whether autograd would record the call."""
    if not torch.is_grad_enabled():
        return False
    leaves = pytree.tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return any(tensor.requires_grad for tensor in (*module.parameters(), *tensors))


_COMPILED_BY_ANOTHER = Refusal("it is compiled by another backend of torch.compile")
_WITHOUT_PARAMETERS = Refusal("the module has no parameters to train")
_ROUTERS = OpenBlocks["_Router"]()
_CALL = Replacement(torch.nn.Module, "__call__", _replace_call)


_PACKAGE = "transforms"
"""The package in which libraries have transforms: torchvision, torchaudio and their like."""
_LOADING = f"{Path(data.__file__).parent}/"
_READERS = frozenset({"__getitem__", "__getitems__", "__iter__", "__next__"})
"""Methods of a data set that give samples."""


def is_transform(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> bool:
    """Tell whether a call outside of all other modules prepares data.

    Such a call is never offered: reported as fallbacks, thousands of them would hide what matters.

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

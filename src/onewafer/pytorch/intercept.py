"""Which module calls go to the wafer, while a script runs unmodified.

The outermost `nn.Module` call whose result needs no gradient runs on the wafer, all others on the
host. Calls inside a call are part of it. Any thread may call; the wafer serves one at a time.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch

# What torch.compile(module) returns has no public name. Dynamo must be imported before `__call__`
# is replaced: it brings torch.fx, which keeps for ever the `__call__` that it finds.
from torch._dynamo import OptimizedModule
from torch.utils import _pytree as pytree

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.compiled import compiled_for_wafer
from onewafer.pytorch.cuda import call_plain
from onewafer.pytorch.tracing import is_another_thread_tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from onewafer.pytorch.session import Session


class _Nesting(threading.local):
    """How deep in module calls this thread is."""

    depth = 0


@contextmanager
def intercept_calls(session: Session) -> Generator[None]:
    """Send eligible module calls to a session; restore `nn.Module.__call__` whatever happens."""
    original: Callable[..., object] = torch.nn.Module.__call__
    nesting = _Nesting()
    process_id = os.getpid()

    def call(module: torch.nn.Module, *args: object, **kwargs: object) -> object:
        # Tracers must see PyTorch's own call; a forked worker has no session to report to.
        is_traced = (
            torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]  # documented
        )
        is_traced &= not is_another_thread_tracing()
        is_inner = nesting.depth or session.is_on_host
        if is_traced or is_inner or os.getpid() != process_id:
            return original(module, *args, **kwargs)
        nesting.depth += 1
        try:
            return _route(session, original, module, args, kwargs)
        finally:
            nesting.depth -= 1

    torch.nn.Module.__call__ = call
    try:
        yield
    finally:
        torch.nn.Module.__call__ = original


def _route(
    session: Session,
    original: Callable[..., object],
    module: torch.nn.Module,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> object:
    """Run an outermost call where it belongs, and count it."""
    if isinstance(module, OptimizedModule) and module in compiled_for_wafer:
        module = module._orig_mod  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
    elif isinstance(module, OptimizedModule):
        # With our backend, the call below comes back to the session graph by graph.
        seen = session.ledger.num_calls
        compiled = partial(original, module)
        result = call_plain(lambda args, kwargs: compiled(*args, **kwargs), args, kwargs)
        if session.ledger.num_calls == seen:
            session.count_fallback(module, "it is compiled by another backend of torch.compile")
        return result
    if needs_gradient(module, args, kwargs):
        session.count_gradient_call(module)
        return original(module, *args, **kwargs)
    try:
        return call_plain(partial(session.call, module), args, kwargs)
    except UnsupportedOperationError as error:
        session.count_fallback(module, str(error))
    # Outside the handler, so that an error of the module shows no other error as its context.
    return original(module, *args, **kwargs)


def needs_gradient(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
) -> bool:
    """Tell whether autograd would record the call."""
    if not torch.is_grad_enabled():
        return False
    leaves = pytree.tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return any(tensor.requires_grad for tensor in (*module.parameters(), *tensors))

"""A repeated backward pass, begun without the checks of `Tensor.backward`.

These take as long as a small product. Their results are known here, so that autograd's engine is
called at once. The engine computes with dense tensors of the CPU; only hooks of the script may make
others. Hooks are Python code, which a mode of PyTorch sees; it sees no operation of the engine.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import _tensor  # no public name
from torch._C import (
    _len_torch_function_stack,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch._C._functorch import peek_interpreter_stack  # no public name
from torch.autograd.graph import (
    _engine_run_backward as run_engine,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode,  # pyright: ignore[reportPrivateUsage]  # no public name
    _pop_mode_temporarily,  # pyright: ignore[reportPrivateUsage]  # no public name
)

from onewafer.pytorch import flop
from onewafer.pytorch.call_checks import are_observed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping


def _if_own(function: Callable[..., None], file: str | None) -> Callable[..., None] | None:
    """Return a function if it is the one of PyTorch's file; None: a script has replaced it."""
    code = getattr(function, "__code__", None)
    return function if code is not None and code.co_filename == file else None


_BACKWARD = _if_own(torch.autograd.backward, torch.autograd.__file__)
_OF_TENSORS = _if_own(vars(torch.Tensor)["backward"], _tensor.__file__)
_ALONE = (False, False, ())
"""The graph is not kept, none is made, and all leaves get gradients."""


def can_begin_at(tensor: torch.Tensor, original: Callable[..., None]) -> bool:
    """Tell whether the engine may be called for a backward pass of a tensor, with a gradient of 1.

    `original` is `Tensor.backward` as it was when the session began.
    """
    is_pytorchs = original is _OF_TENSORS and torch.autograd.backward is _BACKWARD
    if not is_pytorchs or type(tensor) is not torch.Tensor or tensor.numel() != 1:
        return False
    if _len_torch_function_stack() or peek_interpreter_stack() is not None:  # pyright: ignore[reportUnnecessaryComparison]  # stub
        return False
    return tensor.is_floating_point() and not are_observed()


def go_back(tensor: torch.Tensor) -> None:
    """Run the backward pass of a tensor without counting its FLOP."""
    seed = torch.ones_like(tensor)
    before = flop.pause(is_dense=True)
    try:
        with _CODE_OF_HOOKS:
            run_engine((tensor,), (seed,), *_ALONE, allow_unreachable=True, accumulate_grad=True)
    finally:
        flop.go_on(before)


@contextmanager
def outside() -> Generator[None]:
    """Leave our mode for calls of modules by hooks, since Dynamo's guards would see it."""
    if _get_current_function_mode() is not _CODE_OF_HOOKS:
        yield
        return
    with _pop_mode_temporarily(), flop.of_any_kind():
        yield


class _CodeOfHooks(TorchFunctionMode):
    """Lets the code of hooks use tensors of any device and layout."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # as in torch
        del types
        with flop.of_any_kind():
            return func(*args, **(kwargs or {}))


_CODE_OF_HOOKS = _CodeOfHooks()

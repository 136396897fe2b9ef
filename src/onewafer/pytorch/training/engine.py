"""A backward pass like one before, begun without what PyTorch asks first.

`Tensor.backward` looks at its arguments for as long as a small product takes. What it would find is
known here, so that autograd's engine is called at once. The engine computes with dense tensors of
the CPU; only hooks of the script may make others. These are Python code, which a mode of PyTorch
sees, as no operation of the engine itself.
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
    """Return a function if PyTorch has it in a file; None: a script had replaced it before us."""
    code = getattr(function, "__code__", None)
    return function if code is not None and code.co_filename == file else None


_BACKWARD = _if_own(torch.autograd.backward, torch.autograd.__file__)
_OF_TENSORS = _if_own(vars(torch.Tensor)["backward"], _tensor.__file__)
_ALONE = (False, False, ())
"""The graph is not kept, none is made, and all leaves get gradients."""


def can_begin_at(tensor: torch.Tensor, original: Callable[..., None]) -> bool:
    """Tell whether a backward pass of a tensor is the engine's alone, with a gradient of 1.

    `original` is what `Tensor.backward` was when a session has begun.
    """
    is_pytorchs = original is _OF_TENSORS and torch.autograd.backward is _BACKWARD
    if not is_pytorchs or type(tensor) is not torch.Tensor or tensor.numel() != 1:
        return False
    if _len_torch_function_stack() or peek_interpreter_stack() is not None:  # pyright: ignore[reportUnnecessaryComparison]  # stub
        return False
    return tensor.is_floating_point() and not are_observed()


def go_back(tensor: torch.Tensor) -> None:
    """Compute the backward pass of a tensor, of which no FLOP are counted."""
    seed = torch.ones_like(tensor)
    before = flop.pause(is_dense=True)
    try:
        with _CODE_OF_HOOKS:
            run_engine((tensor,), (seed,), *_ALONE, allow_unreachable=True, accumulate_grad=True)
    finally:
        flop.go_on(before)


@contextmanager
def outside() -> Generator[None]:
    """Let calls of modules by hooks be what they are elsewhere: Dynamo's guards see modes."""
    if _get_current_function_mode() is not _CODE_OF_HOOKS:
        yield
        return
    with _pop_mode_temporarily(), flop.of_any_kind():
        yield


class _CodeOfHooks(TorchFunctionMode):
    """Lets what the code of hooks calls be of any device and layout."""

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

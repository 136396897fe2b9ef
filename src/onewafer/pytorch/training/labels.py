"""Steps of optimizers without the wrapper of PyTorch, which labels them and calls hooks.

With neither a profiler nor a hook, the wrapper does nothing, and takes as long as a step of several
small parameters. `zero_grad` has such a label, too.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import _compile  # no public name
from torch._C._autograd import (
    _profiler_enabled as is_profiling,  # pyright: ignore[reportPrivateUsage]  # no public name
)

from onewafer.pytorch.call_checks import are_observed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Step = Callable[..., Any]

_label = torch.optim.Optimizer.profile_hook_step
_LABELLED = _label(lambda: None).__code__
"""The code of all steps that PyTorch has labelled."""
_FILE = inspect.getfile(torch.optim.Optimizer)
"""Where PyTorch has its optimizers."""


def label(kinds: Iterable[type[torch.optim.Optimizer]]) -> None:
    """Wrap the steps of classes in PyTorch's label now, not when their first optimizer is made.

    So the label is inside of our replacement of a step. Every class gets a step of its own, lest it
    inherit the replacement of another class' step.
    """
    for kind in kinds:
        step: Any = kind.step
        if not getattr(step, "hooked", False):
            step = _label(step)
            step.hooked = True
        if "step" not in vars(kind) or kind.step is not step:
            setattr(kind, "step", step)  # noqa: B010  # partly typed


def unlabelled(step: Step) -> Step:
    """Return a step for optimizers without hooks, labelled only while a profiler runs."""
    if getattr(step, "__code__", None) is not _LABELLED:
        return step  # a script has replaced it
    inside: Step = vars(step)["__wrapped__"]

    @functools.wraps(step)
    def take(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # as in torch
        return step(*args, **options) if is_profiling() else inside(*args, **options)

    return take


def is_pytorchs_zeroing(function: Callable[..., None]) -> bool:
    """Tell whether a function is PyTorch's `zero_grad`, which no script has replaced."""
    inside = getattr(function, "__wrapped__", None)
    codes = [getattr(one, "__code__", None) for one in (function, inside)]
    files = [None if code is None else code.co_filename for code in codes]
    return files == [_compile.__file__, _FILE]


def zero_gradients(optimizer: torch.optim.Optimizer, *, is_removing: bool) -> bool:
    """Set the gradients of an optimizer to 0, or remove them, without the label.

    Returns False, and has done nothing, if PyTorch's `zero_grad` may do anything else: for a
    profiler, for gradients with a history, or for tensors of other kinds.
    """
    if is_profiling() or are_observed():
        return False
    groups = cast("list[dict[str, list[torch.Tensor]]]", optimizer.param_groups)
    parameters = [one for group in groups for one in group["params"]]
    if is_removing:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = None
        return True
    gradients = [one for one in [parameter.grad for parameter in parameters] if one is not None]
    for one in gradients:
        is_plain = type(one) is torch.Tensor and one.layout is torch.strided
        if not is_plain or one.requires_grad:  # as one with a history does
            return False
    if gradients:
        torch._foreach_zero_(gradients)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]  # no public name
    return True

"""Steps of optimizers, and what PyTorch puts around them: a label for profilers, and hooks.

With neither a profiler nor a hook, it does nothing, and takes as long as a step of several small
parameters.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch._C._autograd import (
    _profiler_enabled as is_profiling,  # pyright: ignore[reportPrivateUsage]  # no public name
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Step = Callable[..., Any]

_label = torch.optim.Optimizer.profile_hook_step
_LABELLED = _label(lambda: None).__code__
"""The code of all steps that PyTorch has labelled."""


def label(kinds: Iterable[type[torch.optim.Optimizer]]) -> None:
    """Let PyTorch's label be around the steps of classes now, not at their first optimizers.

    Then it is inside of what is put in place of a step. Every class gets a step of its own: one
    that has not inherits what is put in place of another class' step.
    """
    for kind in kinds:
        step: Any = kind.step
        if not getattr(step, "hooked", False):
            step = _label(step)
            step.hooked = True
        if "step" not in vars(kind) or kind.step is not step:
            setattr(kind, "step", step)  # noqa: B010  # partly typed


def unlabelled(step: Step) -> Step:
    """Return a step that is the same if an optimizer has no hooks, without the label if it can be.

    A profiler that runs gets the label.
    """
    if getattr(step, "__code__", None) is not _LABELLED:
        return step  # a script has replaced it
    inside: Step = vars(step)["__wrapped__"]

    @functools.wraps(step)
    def take(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # as in torch
        return step(*args, **options) if is_profiling() else inside(*args, **options)

    return take

"""Calls of a training loop besides modules, offered to the wafer: losses, clipping, steps.

The functions of PyTorch are replaced while a script runs, as `nn.Module.__call__` is. A tracer sees
PyTorch's own.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn import functional
from torch.nn.utils import clip_grad
from torch.optim.optimizer import register_optimizer_step_pre_hook

from onewafer.errors import UnsupportedOperationError
from onewafer.process.blocks import OpenBlocks, Replacement, with_globals_of
from onewafer.pytorch.training.clipping import Clipped
from onewafer.pytorch.training.labels import (
    is_pytorchs_zeroing,
    label,
    unlabelled,
    zero_gradients,
)
from onewafer.pytorch.training.losses import KINDS
from onewafer.pytorch.training.optimizers import STEPPED

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from onewafer.pytorch.training.training import Training

    Parameters = torch.Tensor | Iterable[torch.Tensor]

Function = Callable[..., Any]


@contextmanager
def training_on(training: Training) -> Generator[None]:
    """Offer the losses and steps of a script to the wafer while the block is open."""
    with ExitStack() as stack:
        for replacement in _REPLACEMENTS:
            stack.enter_context(replacement.in_place())
        hook = register_optimizer_step_pre_hook(note_other_step)
        stack.callback(hook.remove)
        stack.enter_context(_BLOCKS.open((os.getpid(), training)))
        yield


def note_other_step(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Count a step of a class that the wafer has no steps of."""
    training = _current()
    if training is not None and type(optimizer) not in STEPPED:
        training.count_step(optimizer)


class _Nesting(threading.local):
    """The state of a thread."""

    is_stepping = False
    """True inside a step that was offered: steps that it calls are parts of it."""


def _current() -> Training | None:
    if torch.compiler.is_compiling():
        return None
    process_id, training = _BLOCKS.current or (None, None)
    if training is None or training.is_broken:
        return None
    return training if process_id == os.getpid() else None


def _replace_loss(kind: str) -> Callable[[Function], Function]:
    def replace(original: Function) -> Function:
        def take_loss(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # as in torch
            return offer(kind, original, args, options)

        offer = _offer_loss
        return with_globals_of(original, take_loss)

    return replace


def _offer_loss(
    kind: str, original: Function, args: tuple[Any, ...], options: dict[str, Any]
) -> Any:  # noqa: ANN401  # as in torch
    training = _current()
    if training is None:
        return original(*args, **options)
    if "input" in options:
        args = (options.pop("input"), *args)
    return training.take_loss(kind, original, args, options)


def _replace_log_softmax(original: Function) -> Function:
    """Note inputs of `log_softmax`, of which the wafer takes the losses of its results."""

    def log_softmax(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # as in torch
        result = compute(*args, **options)
        note(args, options, result)
        return result

    compute, note = original, _note_logarithms
    return with_globals_of(original, log_softmax)


def _note_logarithms(args: tuple[Any, ...], options: dict[str, Any], result: object) -> None:
    training = _current()
    names = ("input", "dim", "_stacklevel", "dtype")
    given = {**dict(zip(names, args, strict=False)), **options}
    source, dim = given.get("input"), given.get("dim")
    if training is None or given.get("dtype") is not None or not isinstance(dim, int):
        return
    if isinstance(source, torch.Tensor) and isinstance(result, torch.Tensor):
        training.note_logarithms(source, result, dim)


@functools.cache  # PyTorch has each function in two modules
def _replace_norm_clipping(original: Function) -> Function:
    @functools.wraps(original)
    def clip_grad_norm_(
        parameters: Parameters,
        max_norm: float,
        norm_type: float = 2.0,
        error_if_nonfinite: bool = False,  # noqa: FBT001, FBT002
        foreach: bool | None = None,  # noqa: FBT001
    ) -> torch.Tensor:
        training, known = _find_gradients(parameters)
        rest = max_norm, norm_type, error_if_nonfinite, foreach
        if training is None:
            return original(known, *rest)
        most, on_host = float(max_norm), functools.partial(original, known, *rest)

        def on_wafer(clipped: Clipped) -> torch.Tensor | None:
            return clipped.clip_norm(most, must_be_finite=error_if_nonfinite)

        norm = training.clip("clip_grad_norm_", known, on_wafer, on_host, _refusal_of(norm_type))
        return on_host() if norm is None else norm  # it raises

    return clip_grad_norm_


def _refusal_of(norm_type: float) -> UnsupportedOperationError | None:
    """Return why the wafer does not take a norm of this order."""
    if float(norm_type) == _EUCLIDEAN:
        return None
    return UnsupportedOperationError(
        f"the norm of order {float(norm_type):g} is not supported on the wafer"
    )


def _replace_norm(original: Function) -> Function:
    @functools.wraps(original)
    def get_total_norm(
        tensors: Parameters,
        norm_type: float = 2.0,
        error_if_nonfinite: bool = False,  # noqa: FBT001, FBT002
        foreach: bool | None = None,  # noqa: FBT001
    ) -> torch.Tensor:
        training, known = _find_gradients(tensors)
        on_host = functools.partial(original, known, norm_type, error_if_nonfinite, foreach)
        parameters = training and training.places.parameters_of(known)
        if not training or not parameters:
            return on_host()
        refusal = _refusal_of(norm_type)
        norm = training.clip("get_total_norm", parameters, Clipped.norm, on_host, refusal)
        must_raise = error_if_nonfinite and not torch.isfinite(norm)
        return on_host() if must_raise else norm

    return get_total_norm


def _replace_scaling(original: Function) -> Function:
    @functools.wraps(original)
    def clip_grads_with_norm_(
        parameters: Parameters,
        max_norm: float,
        total_norm: torch.Tensor,
        foreach: bool | None = None,  # noqa: FBT001
    ) -> None:
        training, known = _find_gradients(parameters)
        on_host = functools.partial(original, known, max_norm, total_norm, foreach)
        if training is None:
            return on_host()
        norm, most = total_norm, float(max_norm)
        return training.clip(
            "clip_grads_with_norm_", known, lambda clipped: clipped.scale(norm, most), on_host
        )

    return clip_grads_with_norm_


@functools.cache
def _replace_value_clipping(original: Function) -> Function:
    @functools.wraps(original)
    def clip_grad_value_(
        parameters: Parameters,
        clip_value: float,
        foreach: bool | None = None,  # noqa: FBT001
    ) -> None:
        training, known = _find_gradients(parameters)
        if training is None:
            return original(known, clip_value, foreach)
        bound, on_host = float(clip_value), functools.partial(original, known, clip_value, foreach)
        return training.clip(
            "clip_grad_value_", known, lambda clipped: clipped.clamp(bound), on_host
        )

    return clip_grad_value_


def _find_gradients(parameters: Parameters) -> tuple[Training | None, Sequence[torch.Tensor]]:
    """Return the training, None if PyTorch is to clip, and the parameters as a sequence."""
    if isinstance(parameters, torch.Tensor):
        parameters = [parameters]
    training = _current()
    if training is None:
        return None, cast("Sequence[torch.Tensor]", parameters)
    found = [*parameters]
    if not found:
        return None, cast("Sequence[torch.Tensor]", parameters)  # it may warn of them
    is_once = len({*map(id, found)}) == len(found)
    return training if is_once else None, found


def _replace_step(original: Function) -> Function:
    alone = unlabelled(original)

    @functools.wraps(original)
    def step(optimizer: torch.optim.Optimizer, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # as in torch
        training = _current()
        on_host = functools.partial(original, optimizer, *args, **options)
        if training is None or _NESTING.is_stepping:
            return on_host()
        _NESTING.is_stepping = True
        try:
            closure = args[0] if args else options.get("closure")
            if closure is None and training.repeats.step(optimizer):
                result = alone(optimizer, *args, **options)
                training.repeats.note_step()
                return result
            return training.step(optimizer, on_host, has_closure=closure is not None)
        finally:
            _NESTING.is_stepping = False

    return step


def _replace_zeroing(original: Function) -> Function:
    if not is_pytorchs_zeroing(original):
        return original

    @functools.wraps(original)
    def zero_grad(optimizer: torch.optim.Optimizer, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002
        training = _current()
        if training is None or not zero_gradients(optimizer, is_removing=bool(set_to_none)):
            original(optimizer, set_to_none)

    return zero_grad


def _replace_backward(original: Function) -> Function:
    """Let a backward pass without arguments be repeated, if it is one of a known step."""

    @functools.wraps(original)
    def backward(tensor: torch.Tensor, *args: Any, **options: Any) -> None:  # noqa: ANN401  # as in torch
        training = None if args or options else _current()
        if training is None or not training.repeats.go_back(tensor, original):
            original(tensor, *args, **options)

    return backward


def _replace_hook_registration(original: Function) -> Function:
    @functools.wraps(original)
    def register_hook(tensor: torch.Tensor, hook: Function) -> Any:  # noqa: ANN401  # as in torch
        training = _current()
        if training is not None:
            training.repeats.note_hook()
        return original(tensor, hook)

    return register_hook


def _replace_initialization(original: Function) -> Function:
    @functools.wraps(original)
    def initialize(optimizer: torch.optim.Optimizer, *args: object, **options: object) -> None:
        original(optimizer, *args, **options)
        training = _current()
        if training is not None:
            training.optimizers.note(optimizer)

    return initialize


label(STEPPED)
_EUCLIDEAN = 2.0
"""The order of the norm that the wafer takes."""
_BLOCKS = OpenBlocks["tuple[int, Training]"]()
_NESTING = _Nesting()
_CLIPPING: dict[str, Callable[[Function], Function]] = {
    "clip_grad_norm_": _replace_norm_clipping,
    "clip_grad_value_": _replace_value_clipping,
}
"""Name of a function, which PyTorch has in two modules → its replacement."""
_REPLACEMENTS = (
    *(Replacement(functional, kind, _replace_loss(kind)) for kind in KINDS),
    Replacement(functional, "log_softmax", _replace_log_softmax),
    *(Replacement(kind, "step", _replace_step) for kind in STEPPED),
    Replacement(torch.optim.Optimizer, "zero_grad", _replace_zeroing),
    Replacement(torch.Tensor, "backward", _replace_backward),
    Replacement(torch.Tensor, "register_hook", _replace_hook_registration),
    Replacement(torch.optim.Optimizer, "__init__", _replace_initialization),
    *(
        Replacement(owner, name, replace)
        for owner in (torch.nn.utils, clip_grad)
        for name, replace in _CLIPPING.items()
    ),
    Replacement(torch.nn.utils, "get_total_norm", _replace_norm),
    Replacement(torch.nn.utils, "clip_grads_with_norm_", _replace_scaling),
)

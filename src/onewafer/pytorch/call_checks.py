"""Checks of a call before it is captured: modes, hooks, arguments and parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch._C._functorch import peek_interpreter_stack  # no public name
from torch.nn.modules import module as nn_module
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import (
    _get_current_dispatch_mode as get_current_dispatch_mode,  # pyright: ignore[reportPrivateUsage]  # no public name
)

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.lowering import FORMATS, INDICES
from onewafer.pytorch.refusals import SurroundingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_GLOBAL_HOOKS: tuple[dict[int, object], ...] = tuple(
    vars(nn_module)[name]  # no public accessor
    for name in ("_global_forward_pre_hooks", "_global_forward_hooks")
)


def check_call(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> None:
    """Refuse calls by what shows without running the module; cheap, and part of `capture`."""
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedOperationError("it is a TorchScript module, which torch.export refuses")
    leaves = pytree.tree_leaves((args, dict(kwargs)))
    _check_surroundings(leaves)
    _check_hooks(module)
    _check_arguments(leaves)
    _check_parameters(module)


def are_observed() -> bool:
    """Tell whether a mode or a global hook sees every operation, or every call of a module."""
    return get_current_dispatch_mode() is not None or any(_GLOBAL_HOOKS)


def asks_for_gradient(hook: object) -> bool:
    """Tell whether a hook does nothing but call `requires_grad_(True)` of a tensor.

    Libraries have such hooks of embeddings for `checkpoint`; Dynamo reads them as any code.
    """
    code = getattr(hook, "__code__", None)
    if code is None or code.co_freevars or code.co_names != ("requires_grad_",):
        return False
    return {*code.co_consts} <= {None, True, hook.__doc__}


def _check_surroundings(leaves: Sequence[object]) -> None:
    """Refuse while a mode of PyTorch is active that sees or changes every operation."""
    if peek_interpreter_stack() is not None:  # pyright: ignore[reportUnnecessaryComparison]  # stub
        raise SurroundingsError("the call is inside a torch.func transform")
    mode = get_current_dispatch_mode()
    if mode is not None:
        raise SurroundingsError(f"the call is under a {type(mode).__name__}")
    # Autocast changes what is computed from tensors of its own device only.
    devices = {"cpu"} | {leaf.device.type for leaf in leaves if isinstance(leaf, torch.Tensor)}
    if any(torch.is_autocast_enabled(device) for device in devices):
        raise SurroundingsError("the call is under autocast, which mixes number formats")


def _check_hooks(module: torch.nn.Module) -> None:
    if any(_GLOBAL_HOOKS):
        msg = "there are global forward hooks, which would see tensors that are never computed"
        raise SurroundingsError(msg)
    modules = cast("Iterator[tuple[str, torch.nn.Module]]", module.named_modules())
    for name, inner in modules:
        attributes = vars(inner)  # no public accessor to the hooks
        hooks = [*attributes["_forward_hooks"].values(), *attributes["_forward_pre_hooks"].values()]
        if not all(asks_for_gradient(hook) and inner is not module for hook in hooks):
            where = f"module {name!r}" if name else "the module"
            msg = f"{where} has forward hooks, which would see tensors that are never computed"
            raise UnsupportedOperationError(msg)


def _check_arguments(leaves: Sequence[object]) -> None:
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            continue
        is_plain = type(leaf) in (torch.Tensor, torch.nn.Parameter) and not leaf.is_nested
        if not is_plain or leaf.layout != torch.strided:
            nested = "nested " if leaf.is_nested else ""
            kind = f"{nested}{type(leaf).__name__} with layout {leaf.layout}"
            raise UnsupportedOperationError(
                f"an argument is a {kind}; the wafer takes plain tensors"
            )
        if leaf.dtype not in (*FORMATS, *INDICES, torch.bool):
            msg = f"an argument has dtype {leaf.dtype}; the wafer computes in float32 and float16"
            raise UnsupportedOperationError(msg)
        if leaf.numel() == 0:
            raise UnsupportedOperationError(f"an argument is empty: shape {tuple(leaf.shape)}")


def _check_parameters(module: torch.nn.Module) -> None:
    held = (vars(inner)["_parameters"].values() for inner in module.modules())  # names take long
    if all(parameter is None or _is_known(parameter) for each in held for parameter in each):
        return
    for name, parameter in module.named_parameters():
        if not _is_known(parameter):
            msg = f"parameter {name!r} has dtype {parameter.dtype}; the wafer computes in "
            raise UnsupportedOperationError(msg + "float32 and float16")


def _is_known(parameter: torch.Tensor) -> bool:
    """Tell whether the wafer has the type of a parameter, or has nothing to do with it."""
    if parameter.dtype in FORMATS:
        return True
    return not (parameter.is_floating_point() or parameter.is_complex())

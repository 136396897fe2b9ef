"""The choice of the calls with gradients that are tried on the wafer, and their capture."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, cast

import torch
from torch._dynamo import config as dynamo_config
from torch.autograd import forward_ad
from torch.nn.modules import module as nn_module
from torch.utils import _pytree as pytree

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.attempts import Attempts
from onewafer.pytorch.call_checks import check_call
from onewafer.pytorch.call_signatures import signature_of
from onewafer.pytorch.guarded import GuardedCall, NotTraceableError
from onewafer.pytorch.refusals import SurroundingsError
from onewafer.pytorch.training.autograd import has_hooks_of_saved_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.execution import WaferOptions
    from onewafer.pytorch.call_signatures import CallSignature
    from onewafer.pytorch.guarded import Run
    from onewafer.pytorch.training.training import Training

_BACKWARD_HOOKS = ("_backward_hooks", "_backward_pre_hooks")
_GLOBAL_BACKWARD_HOOKS: tuple[dict[int, object], ...] = tuple(
    vars(nn_module)[f"_global{name}"]  # no public accessor
    for name in _BACKWARD_HOOKS
)
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel", "DataParallel")
"""Classes that distribute a model over devices."""


class Admission:
    """The captures of calls that need a gradient."""

    def __init__(self, run: Run, options: WaferOptions, training: Training) -> None:
        """Take the function that runs captured calls, and the training that learns of results."""
        self._run, self._options, self._training = run, options, training
        self.attempts = Attempts()
        self._calls: weakref.WeakKeyDictionary[
            torch.nn.Module, dict[CallSignature, GuardedCall]
        ] = weakref.WeakKeyDictionary()

    def call(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """Return the result of a call.

        Raises UnsupportedOperationError, and has changed nothing, if the wafer cannot do it.
        """
        check_call(module, args, kwargs)
        _check_surroundings()
        _check_module(module)
        signature = signature_of(module, args, kwargs), _flow(args, kwargs)
        self.attempts.admit(module, signature)
        guarded = self._guarded(module, signature)
        num_graphs = guarded.num_graphs
        self.attempts.admit_guarded(module, num_calls=guarded.num_calls, num_graphs=num_graphs)
        try:
            result = guarded(module, args, kwargs)
        except NotTraceableError as error:
            reason = str(error).strip().splitlines()[0]
            refusal = UnsupportedOperationError(f"Dynamo cannot read its code: {reason}")
            if error.is_about_logs and not guarded.passes_over_logs:
                guarded.passes_over_logs = True  # the host says it now, and another call need not
            else:
                self.attempts.note_refusal(module, signature, refusal)
            raise refusal from None
        except UnsupportedOperationError as error:
            if guarded.num_graphs > num_graphs:
                self.attempts.note_refusal(module, signature, error)
            raise
        if guarded.num_graphs > num_graphs:
            self.attempts.note_success(module, signature)
        self._training.note_call((module, args, kwargs), guarded, result)
        return result

    def _guarded(self, module: torch.nn.Module, signature: CallSignature) -> GuardedCall:
        known = self._calls.setdefault(module, {})
        if signature not in known:
            known[signature] = GuardedCall(self._run, self._options)
        return known[signature]


def _flow(args: tuple[object, ...], kwargs: Mapping[str, object]) -> tuple[object, ...]:
    """Return `requires_grad` and `is_leaf` of each tensor argument, which Dynamo's guards have."""
    leaves = cast("list[object]", pytree.tree_leaves((args, dict(kwargs))))
    return tuple(
        (leaf.requires_grad, leaf.is_leaf) for leaf in leaves if isinstance(leaf, torch.Tensor)
    )


def _check_surroundings() -> None:
    """Refuse calls inside of anything that sees or changes the graph of autograd."""
    if dynamo_config.disable:
        raise SurroundingsError("Dynamo, which captures calls, is disabled")
    if has_hooks_of_saved_tensors():
        raise SurroundingsError("hooks of saved tensors, as those of `checkpoint`, are in place")
    if any(_GLOBAL_BACKWARD_HOOKS):
        raise SurroundingsError(
            "there are global backward hooks, which would see gradients that are never computed"
        )
    if vars(forward_ad)["_current_level"] >= 0:
        raise SurroundingsError("the call is differentiated in forward mode")


def _check_module(module: torch.nn.Module) -> None:
    """Refuse modules that do more in training than a graph says: wrappers and backward hooks."""
    if type(module).__name__ in _WRAPPERS:
        name = type(module).__name__
        raise SurroundingsError(f"{name} shares the module out over devices")
    if _sees_nodes(module):
        raise SurroundingsError(f"{type(module).__name__} has a hook by `register_backward_hook`")
    for inner in module.modules():
        if any(vars(inner).get(name) for name in _BACKWARD_HOOKS):
            raise UnsupportedOperationError(
                f"{type(inner).__name__} has backward hooks, which would see gradients that are "
                "never computed"
            )


def _sees_nodes(module: torch.nn.Module) -> bool:
    """Tell whether hooks of a module see the node of autograd that its result comes from.

    The node of a part on the wafer would take its place.
    """
    attributes = vars(module)
    return bool(attributes.get("_backward_hooks")) and not attributes["_is_full_backward_hook"]

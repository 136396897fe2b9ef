"""Calls as nodes of autograd's graph, whose backward passes the wafer or the host computes.

To a script, a call is one node, whose result and gradients are ordinary tensors. Hooks,
`retain_graph` and edits between the passes are autograd's own business, which sees a node as any
other. Gradients that are to be differentiated again are the host's.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from onewafer.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from onewafer.pytorch.training.calls import LossOfCall, TrainingCall

    Tensors = tuple[torch.Tensor, ...]
    Given = tuple[torch.Tensor | None, ...]
    """Gradients of results, or of operands; None: there is none."""

Context = Any
"""Tensors that a node saves in its forward pass for its backward pass."""


class Launcher(Protocol):
    """Runs the passes of nodes on the wafer, or accounts for those that the host computes."""

    def launch(self, call: TrainingCall) -> Tensors:
        """Return the results of a call, computed on the wafer."""
        ...

    def launch_loss(self, taken: LossOfCall) -> float:
        """Return a loss, computed on the wafer."""
        ...

    def launch_backward(self, call: TrainingCall, gradients: Given) -> Mapping[str, torch.Tensor]:
        """Return the gradients of a call's operands from the wafer, as PyTorch is to add them.

        Raises UnsupportedOperationError if the wafer cannot compute them.
        """
        ...

    def account_backward(
        self,
        call: TrainingCall,
        gradients: Given,
        leaves: Sequence[torch.Tensor],
        compute: Callable[[], Given],
    ) -> Given:
        """Return the gradients of leaves that `compute` gives, and account for launches."""
        ...

    def differentiate(
        self,
        call: TrainingCall,
        compute: Callable[[], Given],
        refusal: UnsupportedOperationError | None = None,
    ) -> Given:
        """Return the gradients that `compute` gives on the host because of a refusal.

        Without one, it is because they can be differentiated again.
        """
        ...


_AUTOGRAD: Any = vars(sys.modules["torch._C"])["_autograd"]  # no public name


def has_hooks_of_saved_tensors() -> bool:
    """Tell whether hooks of saved tensors are in place, as those of `checkpoint`."""
    return _AUTOGRAD._top_saved_tensors_default_hooks(True) is not None  # noqa: SLF001, FBT003


def _keeps_graph() -> bool:
    """Tell whether the backward pass that runs keeps its graph, so that it may run again."""
    return bool(_AUTOGRAD._get_current_graph_task_keep_graph())  # noqa: SLF001


@contextmanager
def recording() -> Generator[None]:
    """Let autograd record, in a backward pass in inference mode, too."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


@dataclass(slots=True)
class _HostGraph:
    """Results of the host with a graph of autograd of their own."""

    leaves: Sequence[object]
    """An alias of each tensor of the script that needs a gradient; others as they are."""
    results: Tensors
    is_shared: bool = False
    """True if gradients of its gradients may follow, whose graph contains this one."""

    @classmethod
    def of(
        cls, compute: Callable[[Sequence[object]], Tensors], leaves: Sequence[object]
    ) -> _HostGraph:
        """Compute results from leaves, and return their graph."""
        with recording():
            own = [_alias(leaf) for leaf in leaves]
            return cls(own, compute(own))

    def differentiate(
        self, needed: Sequence[bool], gradients: Given, *, creates_graph: bool = False
    ) -> Given:
        """Return the gradients of the leaves that are needed, without places for the others."""
        pairs = [
            (result, gradient)
            for result, gradient in zip(self.results, gradients, strict=True)
            if gradient is not None and result.requires_grad
        ]
        leaves = [leaf for leaf, is_one in zip(self.leaves, needed, strict=True) if is_one]
        return torch.autograd.grad(
            [result for result, _ in pairs],
            cast("list[torch.Tensor]", leaves),
            [gradient for _, gradient in pairs],
            retain_graph=creates_graph or self.is_shared or _keeps_graph(),
            create_graph=creates_graph,
            allow_unused=True,
        )

    def differentiate_again(self, leaves: Sequence[object], gradients: Given) -> Given:
        """Return gradients of the script's leaves that can be differentiated.

        The gradients of results are leaves, too, as second derivatives flow to them.
        """
        needed = [isinstance(leaf, torch.Tensor) and leaf.requires_grad for leaf in leaves]
        own: list[Any] = [_alias(gradient) for gradient in gradients]
        with torch.enable_grad():
            found = self.differentiate(needed, (*own,), creates_graph=True)
        self.is_shared = True
        results = tuple(tensor for tensor in found if tensor is not None)
        graph = _HostGraph([*self.leaves, *own], results, is_shared=True)
        made = iter(apply(_GradientsOnHost, graph, *leaves, *gradients))
        every = iter([None if tensor is None else next(made) for tensor in found])
        return (*(next(every) if is_needed else None for is_needed in needed),)


class _GradientsOnHost(torch.autograd.Function):
    """Gradients of a call that can be differentiated again."""

    @staticmethod
    def forward(ctx: Context, graph: _HostGraph, *leaves: object) -> Tensors:
        """Return the gradients, which have been computed before."""
        ctx.graph, ctx.leaves = graph, leaves
        are_differentiable = [result.requires_grad for result in graph.results]
        return _as_results(ctx, graph.results, are_differentiable)

    @staticmethod
    def backward(ctx: Context, *gradients: torch.Tensor | None) -> Given:
        """Return gradients of the leaves."""
        graph = cast("_HostGraph", ctx.graph)
        if torch.is_grad_enabled():
            return None, *graph.differentiate_again(ctx.leaves, gradients)
        needed: Sequence[bool] = ctx.needs_input_grad[1:]
        found = iter(graph.differentiate(needed, gradients))
        return None, *(next(found) if is_needed else None for is_needed in needed)


class CallOnHost(torch.autograd.Function):
    """A call whose values the host computes, beside launches that are accounted for."""

    @staticmethod
    def forward(ctx: Context, training: Launcher, call: TrainingCall, *leaves: object) -> Tensors:
        """Compute the results, and keep what the host's own backward pass needs."""
        graph = _HostGraph.of(call.compute, leaves)
        ctx.training, ctx.call, ctx.leaves, ctx.graph = training, call, leaves, graph
        return _as_results(ctx, graph.results, [result.requires_grad for result in graph.results])

    @staticmethod
    def backward(ctx: Context, *gradients: torch.Tensor | None) -> Given:
        """Return the gradients of the leaves."""
        training, call = cast("Launcher", ctx.training), cast("TrainingCall", ctx.call)
        graph = cast("_HostGraph", ctx.graph)
        if torch.is_grad_enabled():
            compute = partial(graph.differentiate_again, ctx.leaves, gradients)
            return None, None, *training.differentiate(call, compute)
        needed: Sequence[bool] = ctx.needs_input_grad[2:]
        leaves = [leaf for leaf, is_needed in zip(ctx.leaves, needed, strict=True) if is_needed]
        compute = partial(graph.differentiate, needed, gradients)
        found = iter(training.account_backward(call, gradients, leaves, compute))
        return None, None, *(next(found) if is_needed else None for is_needed in needed)


class CallOnWafer(torch.autograd.Function):
    """A call whose values the wafer computes.

    Its operands are those of the graph, to which the wafer gives gradients, and behind them the
    leaves of the arguments, to which only the host gives gradients.
    """

    @staticmethod
    def forward(
        ctx: Context, training: Launcher, call: TrainingCall, *operands: torch.Tensor
    ) -> Tensors:
        """Launch the forward pass."""
        bound = call.bound
        ctx.training, ctx.call, ctx.num_bound = training, call, len(bound)
        ctx.leaves = operands[len(bound) :]
        results = training.launch(call)
        # Saved as PyTorch saves them, so that it reports operands that were changed.
        read = call.operands_of_backward()
        ctx.save_for_backward(*read)
        ctx.kept = _keep(ctx.leaves, read)
        return _as_results(ctx, results, call.are_differentiable())

    @staticmethod
    def backward(ctx: Context, *gradients: torch.Tensor | None) -> Given:
        """Launch the backward pass."""
        _ = ctx.saved_tensors  # raises if they are freed, or were changed
        training, call = cast("Launcher", ctx.training), cast("TrainingCall", ctx.call)
        leaves: Sequence[object] = ctx.leaves
        none = [None] * (2 + ctx.num_bound)

        def compute() -> Given:
            graph = _HostGraph.of(call.compute_again, ctx.kept)
            if torch.is_grad_enabled():
                return graph.differentiate_again(leaves, gradients)
            needed = [isinstance(leaf, torch.Tensor) and leaf.requires_grad for leaf in leaves]
            found = iter(graph.differentiate(needed, gradients))
            return (*(next(found) if is_needed else None for is_needed in needed),)

        if torch.is_grad_enabled():
            return *none, *training.differentiate(call, compute)
        try:
            by_name = training.launch_backward(call, gradients)
        except UnsupportedOperationError as refusal:
            return *none, *training.differentiate(call, compute, refusal)
        found = [by_name.get(name) for name in call.bound]
        return None, None, *found, *[None] * len(leaves)


class LossOnWafer(torch.autograd.Function):
    """A loss that the wafer computes, of the result of a call."""

    @staticmethod
    def forward(
        ctx: Context, training: Launcher, taken: LossOfCall, value: torch.Tensor
    ) -> torch.Tensor:
        """Launch the loss."""
        ctx.training, ctx.taken = training, taken
        # Saved as PyTorch saves them, so that it reports a target that was changed.
        ctx.save_for_backward(value, *taken.taken.given)
        return value.new_tensor(training.launch_loss(taken))

    @staticmethod
    def backward(ctx: Context, *gradients: torch.Tensor | None) -> Given:
        """Return the gradient of the result, and let the call know it."""
        value: torch.Tensor = ctx.saved_tensors[0]
        taken, (seed,) = cast("LossOfCall", ctx.taken), gradients
        if seed is None:
            return None, None, None
        if torch.is_grad_enabled():
            return None, None, taken.differentiate(value, seed, create_graph=True)
        with recording():
            inner = value.detach().requires_grad_()
            found = taken.differentiate(inner, seed, create_graph=False)
        taken.call.hand_on(found, float(seed))
        return None, None, found


def apply(function: type[torch.autograd.Function], *operands: object) -> Any:  # noqa: ANN401  # of a function
    """Return the results of a node for some operands."""
    return function.apply(*operands)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # partly typed


def _keep(leaves: Sequence[object], watched: Iterable[torch.Tensor]) -> list[object]:
    """Return leaves, with copies of those whose later changes autograd would not see."""
    seen = {tensor.untyped_storage().data_ptr() for tensor in watched}
    return [
        leaf.detach().clone().requires_grad_(leaf.requires_grad)
        if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in seen
        else leaf
        for leaf in leaves
    ]


def _alias(leaf: object) -> object:
    """Return a tensor of the same memory that begins a graph of its own."""
    if isinstance(leaf, torch.Tensor) and leaf.requires_grad:
        return leaf.detach().requires_grad_()
    return leaf


def _as_results(
    ctx: Context, results: Sequence[torch.Tensor], are_differentiable: Sequence[bool]
) -> Tensors:
    """Return results for autograd, which does not ask for gradients of those that have none."""
    ctx.set_materialize_grads(False)
    found = tuple(result.detach() for result in results)
    pairs = zip(found, are_differentiable, strict=True)
    ctx.mark_non_differentiable(*(result for result, is_one in pairs if not is_one))
    return found

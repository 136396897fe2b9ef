"""PyTorch's fused path through attention, which is off while a script runs on the wafer.

Without gradients, `nn.MultiheadAttention` and the layers of `nn.TransformerEncoder` compute all of
a layer in one operation, of nested tensors where there is padding. Neither the wafer nor the count
of FLOP can look into it. Its results differ from those of the other path by roundings, and where
there is padding: it gives zeros there.

A script that asks `torch.backends.mha` is told what it has set there itself.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.backends import mha

from onewafer.process.blocks import Replacement, with_globals_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import FrameType

    Query = Callable[[], bool]

IS_OFF = (
    "PyTorch's fused path of nn.TransformerEncoder and nn.MultiheadAttention is off on the wafer: "
    "results differ from it by roundings, and behind the end of padded sequences, where it gives 0"
)
"""The note for a run whose evaluations may differ from plain PyTorch's."""
_MODULES = "torch.nn."


def without_fused_paths() -> AbstractContextManager[object]:
    """Let modules of PyTorch take the path of single operations inside the block."""
    return _QUERY.in_place()


@functools.cache  # Dynamo's guards want the same function in the next block
def _replace_query(original: Query) -> Query:
    def get_fastpath_enabled() -> bool:
        if compiling():  # Dynamo reads this code, and looks at no frames
            return False
        return query() and not is_for_module(frame(1))

    compiling, query, is_for_module = torch.compiler.is_compiling, original, _is_for_module
    frame = sys._getframe  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented
    return with_globals_of(original, get_fastpath_enabled)


def _is_for_module(frame: FrameType) -> bool:
    """Tell whether a module of PyTorch asks, for a tensor that is not nested."""
    if not frame.f_globals.get("__name__", "").startswith(_MODULES):
        return False
    asked = (frame.f_locals.get(name) for name in ("src", "query"))
    return not any(isinstance(one, torch.Tensor) and one.is_nested for one in asked)


def may_take_fused_path(module: nn.Module) -> bool:
    """Tell whether an evaluation of a module would take the fused path somewhere."""
    attentions = (inner for inner in module.modules() if isinstance(inner, nn.MultiheadAttention))
    return mha.get_fastpath_enabled() and any(map(_may_fuse, attentions))


def _may_fuse(attention: nn.MultiheadAttention) -> bool:
    num_heads: int = vars(attention)["num_heads"]  # without a type in PyTorch
    return not attention.training and attention.batch_first and not num_heads % 2


def has_fused_path(graph: torch.fx.Graph) -> bool:
    """Tell whether a graph that Dynamo made takes the fused path."""
    return any(getattr(node.target, "__name__", "") in _FUSED for node in graph.nodes)


_FUSED = frozenset({"_transformer_encoder_layer_fwd", "_native_multi_head_attention"})
_QUERY = Replacement(mha, "get_fastpath_enabled", _replace_query)

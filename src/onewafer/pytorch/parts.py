"""The choice of parts that are offered to the wafer after it refused a call as a whole.

The host then runs the module's own code, and each module that this code calls may be a part: if it
is refused, too, its parts follow. A part is called with real tensors in the order of the host's
code, so hooks, random numbers and effects of the code around it are what they were. If the result
of the part needs a gradient, it is trained: to the code around it, it is one node of autograd.

Each part costs a capture and a program. Hence only what multiplies matrices is worth the way to the
wafer; modules of one class that look alike are refused together; and there are limits.
"""

from __future__ import annotations

import weakref
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import torch
from torch.utils import _pytree as pytree

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.call_signatures import CallSignature
from onewafer.pytorch.refusals import RefusedError, SurroundingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.errors import Refusal

_MOST_PARTS = 128
"""The most parts of one module that are offered, over all its calls."""
_MOST_SIGNATURES = 4
"""The most signatures of calls of one part, each of which is captured and compiled."""
_MOST_UNUSED_SIGNATURES = 2
"""The most signatures that may all have come once only, as if a sequence grew at each call."""
_LOOKUPS = (torch.nn.Embedding, torch.nn.EmbeddingBag)
"""Modules whose matrix is a table to pick rows from."""

_SignaturesOfParts = weakref.WeakKeyDictionary[torch.nn.Module, Counter[CallSignature]]


class Parts:
    """The parts that a session was offered after refusals, and its answers to modules alike."""

    def __init__(self) -> None:
        self._signatures: weakref.WeakKeyDictionary[torch.nn.Module, _SignaturesOfParts] = (
            weakref.WeakKeyDictionary()
        )
        """Whole → part → signatures of the calls that were offered, with their number."""
        self._refusals: dict[CallSignature, UnsupportedOperationError] = {}
        self._unknown: weakref.WeakKeyDictionary[torch.nn.Module, Refusal] = (
            weakref.WeakKeyDictionary()
        )
        """Part → an operation of it that the wafer does not have."""

    def admit(
        self, whole: torch.nn.Module, part: torch.nn.Module, signature: CallSignature
    ) -> None:
        """Count that a part is offered in a call of this signature; the script calls `whole`.

        Raises UnsupportedOperationError if the limits are reached, if the capture of a larger part
        has shown an operation in it that the wafer does not have, or if the part is new and one
        that has an equal signature was refused.
        """
        unknown = self._unknown.get(part)
        if unknown is not None:
            raise RefusedError(unknown.reason, unknown.place)
        parts = self._signatures.setdefault(whole, weakref.WeakKeyDictionary())
        if part not in parts:
            refusal = self._refusals.get(signature_alike(part, signature))
            if refusal is not None:
                raise refusal.again()
            if len(parts) >= _MOST_PARTS:
                msg = f"{_MOST_PARTS} modules inside {type(whole).__name__} were tried before it"
                raise UnsupportedOperationError(msg)
        signatures = parts.setdefault(part, Counter())
        if signature not in signatures and len(signatures) >= _MOST_SIGNATURES:
            raise UnsupportedOperationError(f"its calls have more than {_MOST_SIGNATURES} shapes")
        if (
            signature not in signatures
            and len(signatures) >= _MOST_UNUSED_SIGNATURES
            and signatures.total() == len(signatures)
        ):
            raise SurroundingsError("its calls have another shape each time")
        signatures[signature] += 1

    def keep_unknown(self, module: torch.nn.Module, parts: Mapping[str, Refusal]) -> None:
        """Remember which modules inside one have operations that the wafer does not have."""
        for inner in module.modules():
            self._unknown.pop(inner, None)
        for path, refusal in parts.items():
            with suppress(AttributeError):  # a module that is made by the code
                self._unknown[module.get_submodule(path)] = refusal

    def keep_refusal(
        self, part: torch.nn.Module, signature: CallSignature, refusal: UnsupportedOperationError
    ) -> None:
        """Remember why a part was refused, for modules that look alike."""
        self._refusals[signature_alike(part, signature)] = refusal.again()  # without frames


def is_worth_offering(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> bool:
    """Tell whether a part multiplies matrices, and takes nothing but tensors and plain values.

    What holds a state, a cache for instance, belongs to the code around it.
    """
    leaves = cast("list[object]", pytree.tree_leaves((args, dict(kwargs))))
    plain = (torch.Tensor, bool, int, float, str, type(None))
    are_plain = all(
        isinstance(leaf, plain) and not (isinstance(leaf, torch.Tensor) and leaf.is_nested)
        for leaf in leaves
    )
    return are_plain and any(
        parameter.dim() > 1
        for inner in module.modules()
        if not isinstance(inner, _LOOKUPS)
        for parameter in inner.parameters(recurse=False)
    )


def signature_alike(module: torch.nn.Module, signature: CallSignature) -> CallSignature:
    """Return a key that is equal for equal modules in calls of this signature."""
    shapes = tuple((parameter.dtype, parameter.shape) for parameter in module.parameters())
    return type(module), shapes, signature

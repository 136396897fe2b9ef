"""Let the host compute a call with the dropouts that the wafer has drawn for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from onewafer.pytorch.lowering import DropoutFactors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from onewafer.pytorch.captured import CapturedCall


class Redrawing(TorchDispatchMode):
    """A mode in which dropouts keep the elements that they kept on the wafer, where that drew.

    PyTorch fills a tensor with ones and zeros for each dropout, in the order in which the capture
    has them, and divides it by the share that is kept.
    """

    def __init__(self, call: CapturedCall) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]  # partly typed
        self._call = call
        dropouts = (one for one in call.capture.drawn if isinstance(one, DropoutFactors))
        self._left = iter([one for one in dropouts if one.kept])  # else PyTorch draws no number

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # of any function
        """Fill a tensor for a dropout, or do what is asked for."""
        del types
        one = next(self._left, None) if func is torch.ops.aten.bernoulli_.float else None
        if one is None or not one.is_on_wafer:
            return func(*args, **(kwargs or {}))
        return args[0].copy_(torch.tensor(one.layout.take(self._factors(one)) * one.kept))

    def _factors(self, one: DropoutFactors) -> NDArray[np.float32]:
        """Return the factors of a dropout in all launches of the call, as its matrix has them."""
        capture, drawn = self._call.capture, self._call.drawn
        assert drawn is not None, "it has a dropout"  # invariant
        draw, rows = next(
            (operation.draw, operation.result.shape[0] * capture.tiles)
            for operation in capture.graph.operations
            if operation.draw is not None and operation.draw.number == one.number
        )
        firsts = range(0, one.matrix[0], rows)
        parts = [
            draw.factors(drawn.seeds_of(index), 0, min(rows, one.matrix[0] - first))
            for index, first in enumerate(firsts)
        ]
        return np.concatenate(parts).astype(np.float32)

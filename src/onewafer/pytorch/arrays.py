"""Tensors as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch._C import DisableTorchFunctionSubclass

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """Return the elements, those of a tensor in host memory without a copy."""
    with DisableTorchFunctionSubclass():
        return tensor.numpy(force=True)


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return the elements, those of an array without gaps without a copy."""
    return torch.from_numpy(np.ascontiguousarray(array))  # pyright: ignore[reportUnknownMemberType]  # partly typed

"""Tensors as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch._C import DisableTorchFunctionSubclass

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """Return the elements, those of a tensor in host memory without a copy."""
    with DisableTorchFunctionSubclass():
        return tensor.numpy(force=True)

"""Products of two tensors of activations."""

from onewafer.mesh.products.operations import MultiplyBlocks, ProductShape

__all__ = ["MultiplyBlocks", "ProductShape"]

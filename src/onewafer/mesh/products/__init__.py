"""Batched products of two activations."""

from onewafer.mesh.products.operations import MultiplyBlocks, ProductShape

__all__ = ["MultiplyBlocks", "ProductShape"]

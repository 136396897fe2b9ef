"""Lowering of a graph to a mesh program; `catalog` finds the lowering of each graph operation."""

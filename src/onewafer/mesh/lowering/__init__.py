"""The making of a mesh program; `catalog` finds the lowering of each graph operation."""

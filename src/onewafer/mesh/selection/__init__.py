"""Selection: the largest elements of rows, elements at indices, and concatenation."""

from onewafer.mesh.selection.features import Gather
from onewafer.mesh.selection.operations import Claim, FindLargest, Rows, TakeIndex

__all__ = ["Claim", "FindLargest", "Gather", "Rows", "TakeIndex"]

"""Steps that look for elements of rows: the largest ones, and those at indices."""

from onewafer.mesh.selection.features import Gather
from onewafer.mesh.selection.operations import Claim, FindLargest, Rows, TakeIndex

__all__ = ["Claim", "FindLargest", "Gather", "Rows", "TakeIndex"]

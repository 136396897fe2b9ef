"""Groups of rows of PEs, each with its part of the samples of a launch and with all parameters.

What is computed of a sample stays within its group; sums over all samples go from group to group.
"""

from onewafer.mesh.sample_groups.operations import (
    BroadcastInGroups,
    ClearOtherGroups,
    Divide,
    MaxInGroups,
    PlaceOwnPart,
    ReduceInGroups,
    TakeOwnPart,
)

__all__ = [
    "BroadcastInGroups",
    "ClearOtherGroups",
    "Divide",
    "MaxInGroups",
    "PlaceOwnPart",
    "ReduceInGroups",
    "TakeOwnPart",
]

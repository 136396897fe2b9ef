"""Sample groups: groups of PE rows, each with a part of a launch's samples and all parameters.

Computation on one sample stays within its group; sums over all samples go from group to group.
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

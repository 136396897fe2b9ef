"""The operations of a graph: one class for each, one file for each family.

The class of an operation holds everything that is known of it without torch and without a wafer. A
family exports its classes, and this package all of them.
"""

from onewafer.graph.operations import (
    attention,
    batch_norms,
    counted,
    dense,
    dropout,
    element_losses,
    elementwise,
    feature_map_gradients,
    feature_maps,
    group_norms,
    losses,
    norms,
    pixels,
    products,
    recomputation,
    selection,
    tokens,
)
from onewafer.graph.operations.attention import *  # noqa: F403
from onewafer.graph.operations.backward import BackwardPass
from onewafer.graph.operations.batch_norms import *  # noqa: F403
from onewafer.graph.operations.counted import *  # noqa: F403
from onewafer.graph.operations.dense import *  # noqa: F403
from onewafer.graph.operations.dropout import *  # noqa: F403
from onewafer.graph.operations.element_losses import *  # noqa: F403
from onewafer.graph.operations.elementwise import *  # noqa: F403
from onewafer.graph.operations.feature_map_gradients import *  # noqa: F403
from onewafer.graph.operations.feature_maps import *  # noqa: F403
from onewafer.graph.operations.group_norms import *  # noqa: F403
from onewafer.graph.operations.layer_part import LayerPart
from onewafer.graph.operations.losses import *  # noqa: F403
from onewafer.graph.operations.norms import *  # noqa: F403
from onewafer.graph.operations.operation import Operation, Work
from onewafer.graph.operations.pixels import *  # noqa: F403
from onewafer.graph.operations.products import *  # noqa: F403
from onewafer.graph.operations.recomputation import *  # noqa: F403
from onewafer.graph.operations.samples import OnSamples
from onewafer.graph.operations.selection import *  # noqa: F403
from onewafer.graph.operations.tokens import *  # noqa: F403

__all__: list[str] = ["BackwardPass", "LayerPart", "OnSamples", "Operation", "Work"]
__all__ += attention.__all__
__all__ += batch_norms.__all__
__all__ += counted.__all__
__all__ += dense.__all__
__all__ += dropout.__all__
__all__ += element_losses.__all__
__all__ += elementwise.__all__
__all__ += feature_map_gradients.__all__
__all__ += feature_maps.__all__
__all__ += group_norms.__all__
__all__ += losses.__all__
__all__ += norms.__all__
__all__ += pixels.__all__
__all__ += products.__all__
__all__ += recomputation.__all__
__all__ += selection.__all__
__all__ += tokens.__all__

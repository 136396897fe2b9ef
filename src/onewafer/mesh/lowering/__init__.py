"""From graph operations to mesh operations, one file per family; `catalog` lists them all."""

from onewafer.mesh.lowering.builder import LEAST_JOINING, Builder
from onewafer.mesh.lowering.catalog import lowering_of
from onewafer.mesh.lowering.lowering import Lowering
from onewafer.mesh.lowering.uses import Uses

__all__ = ["LEAST_JOINING", "Builder", "Lowering", "Uses", "lowering_of"]

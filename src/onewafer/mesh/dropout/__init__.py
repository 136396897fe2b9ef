"""Dropout that PEs draw: `dropout.csl`, from seeds that the host sends to all of them."""

from onewafer.mesh.dropout.operations import Dropout
from onewafer.mesh.dropout.seeds import SEEDS_ARENA, place_seeds

__all__ = ["SEEDS_ARENA", "Dropout", "place_seeds"]

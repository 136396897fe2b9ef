"""The reference engine: readable, plain Python, the specification of the others."""

from onewafer.simulator.reference.engine import ReferenceEngine

__all__ = ["ReferenceEngine"]

"""The fast engine: compiled kernels over flat arrays, equal to the reference in every cycle."""

from onewafer.simulator.fast.engine import FastEngine

__all__ = ["FastEngine"]

"""Element-wise operations; one file has an operation's class, lowering and cost cases."""

from onewafer.mesh.elementwise.pairs import Add, Multiply
from onewafer.mesh.elementwise.unary import Activation, Copy, Relu, Scale
from onewafer.mesh.elementwise.vectors import AddBias, ScaleFeatures

__all__ = ["Activation", "Add", "AddBias", "Copy", "Multiply", "Relu", "Scale", "ScaleFeatures"]

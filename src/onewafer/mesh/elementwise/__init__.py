"""Operations on every element by itself; a file has all of an operation but its kernel."""

from onewafer.mesh.elementwise.pairs import Add, Multiply
from onewafer.mesh.elementwise.unary import Activation, Copy, Relu, Scale
from onewafer.mesh.elementwise.vectors import AddBias, ScaleFeatures

__all__ = ["Activation", "Add", "AddBias", "Copy", "Multiply", "Relu", "Scale", "ScaleFeatures"]

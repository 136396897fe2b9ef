"""onewafer: an open wafer-scale computer in software."""

__version__ = "0.1.0"

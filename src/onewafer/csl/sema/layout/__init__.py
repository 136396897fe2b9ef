"""The layout program: rectangle, tiles, colors, and loops that run once for many PEs."""

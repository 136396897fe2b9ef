"""Conversion between the arrays and the snapshot tables of all engines."""

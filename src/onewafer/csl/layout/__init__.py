"""The routes of the whole program: dense tables and the checks on them."""

from onewafer.csl.layout.checks import check_routes
from onewafer.csl.layout.color_table import ColorTable

__all__ = ["ColorTable", "check_routes"]

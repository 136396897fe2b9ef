"""Vectors and rectangles under the name that SDK programs import; see `onewafer.host`."""

from __future__ import annotations

from onewafer.host import IntRectangle, IntVector

__all__ = ["IntRectangle", "IntVector"]

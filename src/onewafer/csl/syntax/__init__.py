"""CSL text to syntax trees."""

from onewafer.csl.syntax.dump import dump
from onewafer.csl.syntax.parser import parse

__all__ = ["dump", "parse"]

"""Machines as data: what each generation has and how long each thing takes, with sources."""

from onewafer.arch.architecture import Architecture, DataTaskKey
from onewafer.arch.loader import (
    CatalogEntry,
    Confidence,
    architecture_names,
    catalog_entries,
    load_architecture,
)
from onewafer.arch.timing import Timing

__all__ = [
    "Architecture",
    "CatalogEntry",
    "Confidence",
    "DataTaskKey",
    "Timing",
    "architecture_names",
    "catalog_entries",
    "load_architecture",
]

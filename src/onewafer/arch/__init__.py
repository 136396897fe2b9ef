"""Machines as data: what each generation has and how long each thing takes, with sources."""

from onewafer.arch.architecture import Architecture, DataTaskKey
from onewafer.arch.gpu import (
    Gpu,
    GpuCluster,
    find_cluster,
    gpu_names,
    load_cluster,
    load_gpu,
)
from onewafer.arch.loader import architecture_names, catalog_entries, load_architecture
from onewafer.arch.sourced import (
    CatalogEntry,
    Confidence,
    facts_in,
    load_facts,
    names_in,
    user_catalog,
)
from onewafer.arch.timing import Timing
from onewafer.arch.variant import changeable_fields, split_variant, variant_name
from onewafer.arch.wafer_system import (
    WaferSystem,
    find_wafer_system,
    load_wafer_system,
    wafer_of,
    wafer_system_names,
)

__all__ = [
    "Architecture",
    "CatalogEntry",
    "Confidence",
    "DataTaskKey",
    "Gpu",
    "GpuCluster",
    "Timing",
    "WaferSystem",
    "architecture_names",
    "catalog_entries",
    "changeable_fields",
    "facts_in",
    "find_cluster",
    "find_wafer_system",
    "gpu_names",
    "load_architecture",
    "load_cluster",
    "load_facts",
    "load_gpu",
    "load_wafer_system",
    "names_in",
    "split_variant",
    "user_catalog",
    "variant_name",
    "wafer_of",
    "wafer_system_names",
]

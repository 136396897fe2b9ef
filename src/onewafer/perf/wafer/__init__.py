"""Inference on wafers: the closed form of the mesh program, laid over one wafer or several."""

from onewafer.perf.wafer.options import Mode, WaferOptions
from onewafer.perf.wafer.system import Wafers, parse_system, system_names

__all__ = ["Mode", "WaferOptions", "Wafers", "parse_system", "system_names"]

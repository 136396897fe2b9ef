"""Run-time analysis: function bodies, partially evaluated, to the typed IR."""

from onewafer.csl.sema.runtime.calls import CONTROL_TASK, start_root

__all__ = ["CONTROL_TASK", "start_root"]

"""Run-time analysis: function bodies, partially evaluated, to the typed IR."""

from onewafer.csl.sema.runtime.calls import start_root

__all__ = ["start_root"]

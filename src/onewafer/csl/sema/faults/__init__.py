"""Errors in the user's program: the exception, its report, and suggestions."""

from onewafer.csl.sema.faults.faults import Chain, Fault, Reports, fail

__all__ = ["Chain", "Fault", "Reports", "fail"]

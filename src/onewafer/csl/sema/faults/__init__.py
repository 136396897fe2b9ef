"""Mistakes of the user: how analysis stops at one, and what it suggests instead."""

from onewafer.csl.sema.faults.faults import Chain, Fault, Reports, fail

__all__ = ["Chain", "Fault", "Reports", "fail"]

"""Runs: limits, progress, and the readers that trace, sample, record or review them."""

"""Bookkeeping of the kernels: PEs that are due, counters, events of traces, signals of threads."""

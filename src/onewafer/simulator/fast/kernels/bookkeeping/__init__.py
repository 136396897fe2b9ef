"""Bookkeeping of the kernels: event queues, counters, trace events, thread synchronisation."""

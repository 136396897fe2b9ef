"""The running process: garbage collection, replaced functions, calls in workers, tracebacks."""

"""The running process: garbage collection, patched functions, calls in workers, tracebacks."""

"""The kernels of every cycle: the loop, and the two halves of a PE that it looks at."""

"""From a loaded program to the arrays of the kernels."""

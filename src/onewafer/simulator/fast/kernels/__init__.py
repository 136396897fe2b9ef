"""The kernels of every cycle: the loop, the compute element and the fabric."""

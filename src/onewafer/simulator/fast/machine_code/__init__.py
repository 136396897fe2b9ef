"""Machine code of the kernels: compiled and cached here, or prebuilt in the package."""

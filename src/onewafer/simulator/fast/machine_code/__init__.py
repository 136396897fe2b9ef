"""How kernels become machine code: compiled here and kept, or delivered with the package."""

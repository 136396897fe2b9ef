"""Studies: what a file says, its points, and the packages that both need."""

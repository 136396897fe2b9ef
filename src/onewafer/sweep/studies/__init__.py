"""Studies: the file of a study, its points, and the packages that both need."""

"""Group norms: sums of features in each sample, joined by group over the PEs."""

"""Norms of groups of features in each sample: sums of features, added up over PEs by group."""

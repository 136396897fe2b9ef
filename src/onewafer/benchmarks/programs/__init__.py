"""The CSL text of the benchmark programs."""

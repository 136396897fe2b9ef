"""One instance of a PE program during its analysis."""

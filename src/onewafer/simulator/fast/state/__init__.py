"""The state of a running machine: the fields of its records, and the arrays they lie in."""

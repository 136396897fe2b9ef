"""The builtins of CSL, registered by name."""

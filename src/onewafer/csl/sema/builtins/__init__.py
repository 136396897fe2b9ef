"""The builtins of CSL, one module per field; `catalog` lists them all."""

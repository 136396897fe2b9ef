"""The builtins of CSL, a module a field; `catalog` knows all of them."""

"""Which model classes of transformers and timm run on the wafer: measured, not claimed.

    python -m tools.model_coverage

`__main__` is the command. A model goes through the files in this order: `models` (the list) →
`build` (random weights and arguments) → `trial` (host and wafer, compared) in a process of its own,
which `processes` watches → `record` (JSON) → `page` (docs/reference/coverage.md).

Not `tools/coverage.py`: scripts in `tools` have that folder on their path, where Numba would take
the file for the package of that name.
"""

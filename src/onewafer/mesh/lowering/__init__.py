"""From graph operations to mesh operations, one file per family; `catalog` lists them all."""

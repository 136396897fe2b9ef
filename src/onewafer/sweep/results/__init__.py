"""Results of studies: rows that are kept, chosen, ranked and drawn."""

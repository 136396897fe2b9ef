"""Reports from the arrays, for people: counters, errors, deadlocks."""

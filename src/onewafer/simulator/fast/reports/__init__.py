"""What the arrays say to people: counters, errors, deadlocks."""

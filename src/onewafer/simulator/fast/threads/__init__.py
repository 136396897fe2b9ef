"""The division of PEs among threads, and the team of threads of a run."""

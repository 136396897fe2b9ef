"""Which thread looks at which PEs, and how the threads wait for each other."""

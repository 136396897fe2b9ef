"""The simulated wafer with one program on it: launches, copies and streams."""

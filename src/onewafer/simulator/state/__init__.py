"""The state of a machine: loaded from an image, in arrays, as a snapshot, in a file."""

"""The state of a machine: loading from an image, arrays, snapshots and checkpoints."""

"""GPUs as data, one file each."""

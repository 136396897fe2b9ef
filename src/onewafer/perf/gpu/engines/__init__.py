"""Inference engines as data, one file each."""

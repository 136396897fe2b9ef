"""Modules: instances of files, and the programs that they are part of."""

"""Runs: their limits and progress, and everything that watches, records or interrupts them."""

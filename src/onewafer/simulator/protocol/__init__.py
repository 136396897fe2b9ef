"""The protocol of engines: their interface, and their reports with equal texts."""

"""The main thread, tasks and DSD operations of a PE (M20–M39, M60–M65, M110–M150)."""

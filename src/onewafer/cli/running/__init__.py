"""A command while it runs: its process, its errors, and the page that follows it."""

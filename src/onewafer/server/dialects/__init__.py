"""The protocols of clients: bodies to `Generation`, and `Event`s to answers."""

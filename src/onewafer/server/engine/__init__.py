"""From requests to events: what the model says, and when the served system would have said it."""

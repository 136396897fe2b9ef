"""From requests to events: the model's answers, timed by the clock of the served system."""

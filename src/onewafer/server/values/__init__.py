"""Where tokens come from: the model on this computer, or a made-up text."""

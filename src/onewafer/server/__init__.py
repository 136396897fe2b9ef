"""Serve a language model over HTTP, timed by the wafer: `onewafer serve`."""

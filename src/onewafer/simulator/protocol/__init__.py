"""The protocol of engines: what each can do, and what it reports, in the same words."""

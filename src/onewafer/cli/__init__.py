"""The commands, one file a subcommand."""

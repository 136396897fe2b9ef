"""Published figures as data, one TOML file a topic."""

"""Machine descriptions, one TOML file a machine."""

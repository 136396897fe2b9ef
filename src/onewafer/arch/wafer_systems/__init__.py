"""Systems around a wafer as data, one TOML file each."""

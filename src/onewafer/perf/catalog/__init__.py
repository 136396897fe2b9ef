"""Models as data, one TOML file a family; `known_models` reads them."""

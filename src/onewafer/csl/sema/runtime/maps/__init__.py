"""`@map` and `@dfilt`: their loops over DSD elements, and the DSDs that registers hold."""

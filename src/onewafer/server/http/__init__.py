"""HTTP: who may ask, reading bodies, streams that are written and drained, metrics, the log."""

"""HTTP: access control, bodies, streams, draining, metrics, the access log."""

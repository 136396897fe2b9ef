"""The fabric of the reference engine: routers, links, queues and the event queue."""

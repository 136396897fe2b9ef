"""The fabric of the reference engine: routers, links and queues, and what is due when."""

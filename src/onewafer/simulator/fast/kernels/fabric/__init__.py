"""Routers, links, switches and queues: how wavelets move (M40–M59, M90–M102, M130–M137)."""

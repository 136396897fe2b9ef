"""The types that the server's packages share: requests, events, failures, service, values."""

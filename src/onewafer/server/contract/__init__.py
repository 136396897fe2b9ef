"""The contract of the server's rooms: requests, their events and failures, and who answers them."""

"""Files: read and written as a whole, checked before use, cached under their digests."""

"""Files: read and written whole, checked before they are believed, named by their digests."""

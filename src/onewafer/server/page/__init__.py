"""The chat page: `onewafer.web_pages` reads its files."""

"""The page of a study: `onewafer.web_pages` reads its files."""

"""Ways in: HTTP, page, command line."""

"""Model files and clients, by alias."""

"""The passage index: its contract and its backends."""

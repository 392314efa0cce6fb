"""What the twin knows: how it gets in, how it is found, what it supports."""

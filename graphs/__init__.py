"""Graph builders: wiring only."""

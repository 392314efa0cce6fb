"""Tasks, scorers and reports."""

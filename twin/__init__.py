"""Shared vocabulary: settings, records, errors, models, prompts."""

__version__ = "0.1.0"

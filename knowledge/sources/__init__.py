"""Sources: files and folders in, `SourceItem`s out, and a reason for everything that is not read."""

from knowledge.sources.skipped import Skipped
from knowledge.sources.walk import read_sources

__all__ = ["Skipped", "read_sources"]

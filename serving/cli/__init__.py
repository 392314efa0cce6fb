"""The command line: `twin`. Commands import what they need when they run."""

from __future__ import annotations


def main() -> None:
    """Entry point."""
    from serving.cli.app import run

    run()

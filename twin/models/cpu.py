"""How many processor cores local models may use."""

from __future__ import annotations

import os

from twin.settings import Settings

MOST_THREADS = 8


def worker_threads(settings: Settings) -> int:
    """`settings.threads`, or one per core this process may run on, at most `MOST_THREADS`."""
    if settings.threads:
        return settings.threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)

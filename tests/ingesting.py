"""Ingests in a process of its own, to be killed or starved: `python -m tests.ingesting DATA_DIR PATH [options]`.

`--stop-after N` embeds N passages, says `stopped` and waits to be killed. `--file-limit BYTES` is the
longest file that this process may write. `--rebuild` builds the index anew instead.
"""

from __future__ import annotations

import argparse
import resource
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from knowledge.sync import ingest, rebuild_index
from tests.fakes import HashEmbedder
from twin.errors import TwinError
from twin.settings import Settings


class StoppingEmbedder(HashEmbedder):
    """Embeds so many passages, then stands still."""

    def __init__(self, stop_after: int) -> None:
        super().__init__()
        self.stop_after = stop_after

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if self.texts >= self.stop_after:
            print("stopped", flush=True)
            threading.Event().wait()
        return super().embed(texts)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("data_dir", type=Path)
    options.add_argument("path", type=Path)
    options.add_argument("--stop-after", type=int, default=sys.maxsize)
    options.add_argument("--file-limit", type=int)
    options.add_argument("--rebuild", action="store_true")
    given = options.parse_args()
    settings = Settings(data_dir=given.data_dir, lock_timeout=0, chunk_words=40)
    embedder = StoppingEmbedder(given.stop_after)
    if given.file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.file_limit, resource.RLIM_INFINITY))
    try:
        report = rebuild_index(settings, embedder) if given.rebuild else ingest([given.path], settings, embedder)
    except TwinError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(report.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How near ingestion comes to the speed of the bare embedding model on the same passages.

    python scripts/bench_ingest.py [PATH...] [--rounds 3]

Each round embeds the passages alone, then ingests the same files into a fresh folder, and prints
both rates and their ratio; the last line is the median. Wall clock depends on what else the machine
does, CPU seconds hardly.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from knowledge.chunk import chunk_document
from knowledge.sync import ingest
from knowledge.warehouse import open_warehouse
from twin.models.embed import Embedder, open_embedder
from twin.settings import Settings

SAMPLE = Path(__file__).parents[1] / "examples" / "corpus"


def main() -> None:
    """Run the benchmark."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("paths", nargs="*", type=Path, default=[SAMPLE])
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-ingest-"))
    try:
        run(given.paths, given.rounds, folder)
    finally:
        shutil.rmtree(folder)


def run(paths: list[Path], rounds: int, folder: Path) -> None:
    """Print one line per round and the median."""
    settings = Settings(data_dir=folder / "first")
    embedder = open_embedder(settings)
    ingest(paths, settings, embedder)
    texts = [
        chunk.search_text
        for document in open_warehouse(settings).iter_current()
        for chunk in chunk_document(document, settings.chunk_words)
    ]
    ratios = []
    for number in range(rounds):
        bare, bare_cpu = time_bare(embedder, texts)
        fresh = settings.model_copy(update={"data_dir": folder / f"round-{number}"})
        began, began_cpu = time.perf_counter(), time.process_time()
        report = ingest(paths, fresh, embedder)
        whole, whole_cpu = time.perf_counter() - began, time.process_time() - began_cpu
        if report.chunks_embedded != len(texts):
            raise SystemExit(f"ingestion embedded {report.chunks_embedded} passages, not {len(texts)}")
        ratios.append(bare / whole)
        print(
            f"{len(texts)} passages of {report.read} documents: "
            f"bare {len(texts) / bare:.1f}/s ({bare_cpu:.1f} s CPU), "
            f"ingest {len(texts) / whole:.1f}/s ({whole_cpu:.1f} s CPU), "
            f"{bare / whole:.1%} of bare, {bare_cpu / whole_cpu:.1%} by CPU"
        )
    print(f"median: ingestion runs at {statistics.median(ratios):.1%} of the bare embedder's rate")


def time_bare(embedder: Embedder, texts: list[str]) -> tuple[float, float]:
    """Seconds, by the clock and of CPU, to embed all texts in one call."""
    began, began_cpu = time.perf_counter(), time.process_time()
    embedder.embed(texts)
    return time.perf_counter() - began, time.process_time() - began_cpu


if __name__ == "__main__":
    main()

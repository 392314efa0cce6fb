"""Latency of retrieval (embed the question, hybrid search) over an index of 10,000 passages.

    python scripts/bench_retrieval.py [--chunks 10000] [--questions 200] [--corpus PATH...]

Passages are real ones of the corpus with their real vectors, and as many more as are needed: their
sentences mixed anew, the vectors turned a little. Questions are the sample questions and fragments
of sentences. Prints p50 and p95 in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from knowledge.chunk import chunk_document
from knowledge.clean import clean
from knowledge.index import create_index
from knowledge.index.contract import ChunkIndex, SearchQuery
from knowledge.sources import Skipped, read_sources
from twin.models.embed import Embedder, embed_async, open_embedder
from twin.records import Chunk, Document, IndexedChunk
from twin.settings import Settings

EXAMPLES = Path(__file__).parents[1] / "examples"
GROUP = 500


def main() -> None:
    """Run the benchmark."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--chunks", type=int, default=10_000)
    options.add_argument("--questions", type=int, default=200)
    options.add_argument("--corpus", nargs="+", type=Path, default=[EXAMPLES / "corpus"])
    given = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-retrieval-"))
    try:
        settings = Settings(data_dir=folder)
        asyncio.run(run(settings, open_embedder(settings), given.corpus, given.chunks, given.questions))
    finally:
        shutil.rmtree(folder)


async def run(settings: Settings, embedder: Embedder, corpus: list[Path], size: int, asked: int) -> None:
    """Build the index and time the questions, one at a time."""
    rng = random.Random(7)
    base = real_chunks(corpus, settings)
    vectors = embedder.embed([chunk.search_text for chunk in base])
    index = await create_index(settings, embedder.identity, embedder.dimension)
    began = time.perf_counter()
    await fill(index, base, vectors, size, rng)
    stats = await index.stats()
    print(
        f"{stats.chunks:,} passages ({len(base):,} real), {stats.bytes_on_disk / 1e6:.0f} MB, "
        f"written in {time.perf_counter() - began:.1f} s"
    )
    texts = questions(base, asked, rng)
    await time_questions(index, embedder, texts[:10], settings)
    for name, seconds in (await time_questions(index, embedder, texts, settings)).items():
        p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
        print(f"{name:<15} p50 {p50:6.1f} ms   p95 {p95:6.1f} ms   ({len(seconds)} questions)")
    await index.close()


async def time_questions(
    index: ChunkIndex, embedder: Embedder, texts: Sequence[str], settings: Settings
) -> dict[str, list[float]]:
    """Seconds of each part for each question."""
    times: dict[str, list[float]] = {"embed": [], "search": [], "embed + search": []}
    for text in texts:
        began = time.perf_counter()
        vector = (await embed_async(embedder, [text]))[0]
        between = time.perf_counter()
        limit = 2 * settings.retrieve_limit
        query = SearchQuery(
            text=text, vector=tuple(vector.tolist()), alpha=settings.dense_weight, limit=limit, candidates=60
        )
        hits = await index.search(query)
        end = time.perf_counter()
        if len(hits) != limit:
            raise SystemExit(f"{text!r} found {len(hits)} passages, not {limit}")
        times["embed"].append(between - began)
        times["search"].append(end - between)
        times["embed + search"].append(end - began)
    return times


def real_chunks(corpus: list[Path], settings: Settings) -> list[Chunk]:
    """The passages of the corpus."""
    items = read_sources(corpus, settings.tenant, settings.max_file_bytes)
    documents = (item if isinstance(item, Skipped) else clean(item) for item in items)
    return [
        chunk
        for document in documents
        if isinstance(document, Document)
        for chunk in chunk_document(document, settings.chunk_words)
    ]


async def fill(index: ChunkIndex, base: list[Chunk], vectors: np.ndarray, size: int, rng: random.Random) -> None:
    """Write the real passages and mixtures of them, ten to a document."""
    noise = np.random.default_rng(7)
    sentences = [part for chunk in base for part in chunk.text.split(". ") if part.strip()]
    made: list[IndexedChunk] = []
    for number in range(size):
        which = number % len(base)
        vector = vectors[which]
        text = base[which].text
        if number >= len(base):
            words = len(text.split())
            parts: list[str] = []
            while sum(len(part.split()) for part in parts) < words:
                parts.append(rng.choice(sentences))
            text = ". ".join(parts)
            vector = vector + noise.normal(scale=0.03, size=vector.shape).astype(np.float32)
            vector = vector / np.linalg.norm(vector)
        document = f"document-{number // 10:06d}"
        chunk = base[which].model_copy(
            update={
                "chunk_id": f"{document}-{number % 10}", "document_id": document, "ordinal": number % 10, "total": 10,
                "text": text, "start": 0, "end": len(text), "search_text": text,
            }
        )  # fmt: skip
        made.append(IndexedChunk(chunk=chunk, vector=tuple(vector.tolist())))
        if len(made) == GROUP:
            await index.upsert(made)
            made = []
    await index.upsert(made)
    await index.optimize()


def questions(base: list[Chunk], count: int, rng: random.Random) -> list[str]:
    """So many different questions: the sample ones, then fragments of what was written."""
    asked: list[str] = []
    file = EXAMPLES / "questions.jsonl"
    if file.exists():
        asked = [json.loads(line)["question"] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    rng.shuffle(asked)
    asked = asked[: count // 2]
    while len(asked) < count:
        words = rng.choice(base).text.split()
        start = rng.randrange(max(1, len(words) - 12))
        asked.append("What about " + " ".join(words[start : start + rng.randrange(3, 14)]) + "?")
    return asked


if __name__ == "__main__":
    main()

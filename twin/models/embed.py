"""Text embeddings on ONNX Runtime: one vector per text, or one per token."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from twin.errors import ConfigError, ModelFileError
from twin.models.catalogue import CATALOGUE
from twin.models.cpu import worker_threads
from twin.models.files import describe_file, resolve
from twin.settings import Settings

Floats = NDArray[np.float32]
T = TypeVar("T")

MAX_TOKENS = 256
"""Tokens of a text that count, two special ones included: the length the model was trained for."""

READ_CHARS = 100_000
"""Code points of a text that are looked at: far more than `MAX_TOKENS` can cover."""

BLOCK = 512
"""Texts tokenised at a time, so that a large batch does not hold all its tokens in memory."""


@dataclass(frozen=True, eq=False)
class TokenVectors:
    """The tokens of one text, special ones left out.

    `offsets` are code points into the text, half open; `vectors` is (tokens, dimension), unit length.
    """

    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    vectors: Floats


class Embedder(Protocol):
    """What turns text into vectors. `identity` changes whenever the vectors could."""

    @property
    def identity(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @property
    def max_tokens(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Floats:
        """Unit vectors, shape (len(texts), dimension); what exceeds `max_tokens` is ignored."""

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """A vector for each token of each text, up to `max_tokens`."""

    def count_tokens(self, text: str) -> int:
        """Tokens the whole text has, special ones left out, nothing cut off."""


async def embed_async(embedder: Embedder, texts: Sequence[str]) -> Floats:
    """`embedder.embed` in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(embedder.embed, texts)


class OnnxEmbedder:
    """A BERT-like encoder with token-level output on ONNX Runtime; mean pooling over the tokens.

    Every text is run alone. The int8 model scales its activations over the whole batch, so in a batch
    a text's vector would depend on its neighbours; alone it does not, and on a CPU it is faster as
    well. Parallelism is over texts: `threads` workers share one session that has one thread per call.
    """

    def __init__(self, session: Any, tokenizer: Any, identity: str, *, threads: int = 1) -> None:
        self.identity = identity
        self.max_tokens = MAX_TOKENS
        self.dimension = int(session.get_outputs()[0].shape[-1])
        self._session = session
        self._inputs = {node.name: np.int32 if "int32" in node.type else np.int64 for node in session.get_inputs()}
        self._output = session.get_outputs()[0].name
        self._tokenizer = tokenizer
        self._threads = max(1, threads)
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Floats:
        """See `Embedder.embed`."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), BLOCK):
            encodings = self._encode(texts[start : start + BLOCK])
            for index, vector in enumerate(self._map(self._pooled, encodings)):
                vectors[start + index] = vector
        return vectors

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """See `Embedder.encode_tokens`."""
        found: list[TokenVectors] = []
        for start in range(0, len(texts), BLOCK):
            found.extend(self._map(self._token_vectors, self._encode(texts[start : start + BLOCK])))
        return found

    def count_tokens(self, text: str) -> int:
        """See `Embedder.count_tokens`."""
        return len(self._whole_tokenizer.encode(_encodable(text), add_special_tokens=False).ids)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each token of the whole text is, in code points, special ones left out, nothing cut off."""
        encoding = self._whole_tokenizer.encode(_encodable(text), add_special_tokens=False)
        return list(encoding.offsets)

    def close(self) -> None:
        """Stop the worker threads; the embedder can be used again."""
        with self._pool_lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    @cached_property
    def _whole_tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        whole = Tokenizer.from_str(self._tokenizer.to_str())
        whole.no_truncation()
        return whole

    def _encode(self, texts: Sequence[str]) -> list[Any]:
        return list(self._tokenizer.encode_batch([_encodable(text[:READ_CHARS]) for text in texts]))

    def _map(self, work: Callable[[Any], T], encodings: Sequence[Any]) -> list[T]:
        """`work` on each, longest first so that no worker is left with a long one at the end."""
        if len(encodings) < 2 or self._threads == 1:
            return [work(encoding) for encoding in encodings]
        order = sorted(range(len(encodings)), key=lambda index: -len(encodings[index].ids))
        results: dict[int, T] = dict(
            zip(order, self._workers().map(work, (encodings[index] for index in order)), strict=True)
        )
        return [results[index] for index in range(len(encodings))]

    def _workers(self) -> ThreadPoolExecutor:
        with self._pool_lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="embed")
            return self._pool

    def _hidden(self, encoding: Any) -> Floats:
        """The model's output for one text, (tokens, dimension), special tokens included."""
        ids = np.asarray([encoding.ids])
        fields = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        feed = {name: fields[name].astype(kind, copy=False) for name, kind in self._inputs.items()}
        hidden: Floats = self._session.run([self._output], feed)[0][0]
        return hidden

    def _pooled(self, encoding: Any) -> Floats:
        return _unit(self._hidden(encoding).mean(axis=0))

    def _token_vectors(self, encoding: Any) -> TokenVectors:
        kept = [index for index, special in enumerate(encoding.special_tokens_mask) if not special]
        return TokenVectors(
            tokens=tuple(encoding.tokens[index] for index in kept),
            offsets=tuple(encoding.offsets[index] for index in kept),
            vectors=_unit(self._hidden(encoding)[kept]),
        )


def _unit(vectors: Floats) -> Floats:
    norms = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    unit: Floats = (vectors / norms).astype(np.float32, copy=False)
    return unit


def _encodable(text: str) -> str:
    """`text` with lone surrogates, which UTF-8 cannot hold, replaced one for one."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def open_embedder(settings: Settings) -> OnnxEmbedder:
    """The embedder that `settings.embedder` names: an alias of the catalogue, or a folder that holds
    `model.onnx` and `tokenizer.json`.

    Raises ConfigError if it names neither, ModelFileError if its files are missing or damaged.
    """
    name = settings.embedder
    entry = CATALOGUE.get(name)
    if entry is not None and entry.role == "embedder":
        files = resolve(name, settings)
        digest = entry.file("model.onnx").sha256
        return load_embedder(files["model.onnx"], files["tokenizer.json"], f"{name}-{digest[:12]}", settings)
    folder = Path(name).expanduser()
    model, tokenizer = folder / "model.onnx", folder / "tokenizer.json"
    if model.is_file() and tokenizer.is_file():
        digest = hashlib.sha256((describe_file(model)[1] + describe_file(tokenizer)[1]).encode()).hexdigest()
        return load_embedder(model, tokenizer, f"{folder.resolve().name}-{digest[:12]}", settings)
    known = ", ".join(sorted(alias for alias, known in CATALOGUE.items() if known.role == "embedder"))
    raise ConfigError(
        f"TWIN_EMBEDDER={name} is neither an embedding model of the catalogue nor a folder with model.onnx "
        "and tokenizer.json",
        f"Known: {known}",
    )


def load_embedder(model: Path, tokenizer: Path, identity: str, settings: Settings) -> OnnxEmbedder:
    """Open an ONNX file with its tokenizer. Raises ModelFileError if either cannot be read as such."""
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        pieces = Tokenizer.from_file(str(tokenizer))
    except Exception as error:
        raise ModelFileError(
            f"{model.parent} does not hold a usable embedding model ({_first_line(error)})",
            "Check it with: twin models verify",
        ) from error
    pieces.enable_truncation(MAX_TOKENS)
    pieces.no_padding()
    return OnnxEmbedder(session, pieces, identity, threads=worker_threads(settings))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__

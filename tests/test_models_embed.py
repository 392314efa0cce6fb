"""The shipped embedding model: right vectors, whatever the input and however it is batched."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.errors import ConfigError, ModelFileError
from twin.models.catalogue import WEIGHTS_DIR
from twin.models.embed import MAX_TOKENS, OnnxEmbedder, embed_async, open_embedder
from twin.settings import Settings

REFERENCE = Path(__file__).parent / "data" / "minilm_reference.json"

EMBEDDER = open_embedder(Settings(threads=2))

AWKWARD = [
    "",
    " \n\t",
    "a",
    "😀 hi 👩‍👩‍👧",
    "𝗯𝗼𝗹𝗱 words",
    "x" * 10_000,
    "word " * 10_000,
    "\ud83d lone",
    "a\x00b",
    "日本語のテキスト",
]


def test_vectors_are_those_of_the_original_in_torch() -> None:
    """The file holds what torch computes with the published weights (mean pooling, 256 tokens)."""
    reference = json.loads(REFERENCE.read_text())
    expected = np.array([item["vector"] for item in reference])
    similar = EMBEDDER.embed([item["text"] for item in reference]) @ expected.T
    assert similar.diagonal().min() > 0.98
    assert similar.diagonal().mean() > 0.99
    assert similar.argmax(axis=1).tolist() == list(range(len(reference)))


def test_shape_and_length() -> None:
    vectors = EMBEDDER.embed(AWKWARD)
    assert vectors.shape == (len(AWKWARD), EMBEDDER.dimension) == (len(AWKWARD), 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert EMBEDDER.embed([]).shape == (0, 384)
    assert EMBEDDER.identity.startswith("minilm-")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(AWKWARD[:5]) | st.text(max_size=60), min_size=1, max_size=6), st.randoms())
def test_a_vector_depends_on_its_text_alone(texts: list[str], random: object) -> None:
    """Neither order nor company nor threads change a bit of it."""
    together = EMBEDDER.embed(texts)
    assert np.array_equal(together[::-1], EMBEDDER.embed(texts[::-1]))
    assert np.array_equal(together[0], EMBEDDER.embed(texts[:1])[0])
    assert np.array_equal(together, open_single().embed(texts))


def open_single(cache: list[OnnxEmbedder] = []) -> OnnxEmbedder:  # noqa: B006
    if not cache:
        cache.append(open_embedder(Settings(threads=1)))
    return cache[0]


def test_many_callers_at_once_get_the_same() -> None:
    texts = [f"sentence number {number} about boats" for number in range(12)]
    expected = EMBEDDER.embed(texts)
    with ThreadPoolExecutor(4) as callers:
        for found in callers.map(EMBEDDER.embed, [texts] * 8):
            assert np.array_equal(found, expected)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200) | st.sampled_from(AWKWARD))
def test_token_offsets_are_code_points_of_the_text(text: str) -> None:
    (found,) = EMBEDDER.encode_tokens([text])
    assert len(found.tokens) == len(found.offsets) == len(found.vectors)
    assert found.vectors.shape[1] == 384
    assert not {"[CLS]", "[SEP]", "[PAD]"} & set(found.tokens)
    ends = 0
    for token, (start, end) in zip(found.tokens, found.offsets, strict=True):
        assert 0 <= start <= end <= len(text)
        assert start >= ends or token.startswith("##")
        ends = end
        piece = token.removeprefix("##")
        if piece.isascii() and piece.isalnum() and text[start:end].isascii():
            assert "".join(filter(str.isalnum, text[start:end].lower())) == piece
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)


def test_tokens_of_known_words() -> None:
    (found,) = EMBEDDER.encode_tokens(["Naïve 😀 tokenisation!"])
    assert found.tokens == ("naive", "[UNK]", "token", "##isation", "!")
    assert found.offsets == ((0, 5), (6, 7), (8, 13), (13, 20), (20, 21))


def test_long_texts_are_cut_for_vectors_and_counted_whole() -> None:
    words = "boat " * 1000
    (found,) = EMBEDDER.encode_tokens([words])
    assert len(found.tokens) == MAX_TOKENS - 2
    assert EMBEDDER.count_tokens(words) == 1000
    assert len(EMBEDDER.token_offsets(words)) == 1000
    assert np.array_equal(*EMBEDDER.embed([words, "boat " * (MAX_TOKENS - 2)]))
    assert EMBEDDER.count_tokens("") == 0


async def test_async_gives_the_same() -> None:
    assert np.array_equal(await embed_async(EMBEDDER, ["one", "two"]), EMBEDDER.embed(["one", "two"]))


def test_closing_ends_the_threads_and_not_the_embedder() -> None:
    embedder = open_embedder(Settings(threads=2))
    before = embedder.embed(["one", "two"])
    embedder.close()
    embedder.close()
    assert np.array_equal(embedder.embed(["one", "two"]), before)
    embedder.close()


def test_a_folder_is_an_embedding_model_too() -> None:
    folder = open_embedder(Settings(embedder=str(WEIGHTS_DIR / "minilm")))
    assert folder.identity != EMBEDDER.identity
    assert np.array_equal(folder.embed(["boat"]), EMBEDDER.embed(["boat"]))


def test_names_that_are_no_embedding_model(tmp_path: Path) -> None:
    for name in ("nope", "smollm2", "minilm-fp32", str(tmp_path)):
        with pytest.raises(ConfigError, match=r"TWIN_EMBEDDER=.*Known: minilm, minilm-w8"):
            open_embedder(Settings(embedder=name))


@pytest.mark.parametrize("broken", ["model.onnx", "tokenizer.json"])
def test_a_folder_with_a_broken_file(tmp_path: Path, broken: str) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"rubbish" if name == broken else (WEIGHTS_DIR / "minilm" / name).read_bytes())
    with pytest.raises(ModelFileError, match=f"{tmp_path.name} does not hold a usable embedding model"):
        open_embedder(Settings(embedder=str(tmp_path)))


def test_opening_needs_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from twin.settings import Settings; from twin.models.embed import open_embedder; "
        "open_embedder(Settings()).embed(['x']); "
        "sys.exit(1 if {'torch', 'transformers', 'onnx', 'langchain_core'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0

"""The export of the embedding model (needs torch), and the arithmetic its check rests on (does not)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.embedder_check import ndcg, rank_quality, read_cranfield, read_squad, reciprocal_rank
from twin.errors import ModelError
from twin.models.embed import load_embedder, open_embedder
from twin.models.files import describe_file, resolve
from twin.settings import Settings, load_settings

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.parametrize(
    ("ranking", "gains", "gain", "rank"),
    [
        ([0, 1, 2], {0: 1.0}, 1.0, 1.0),
        ([1, 0, 2], {0: 1.0}, 1 / np.log2(3), 0.5),
        ([0, 1], {0: 1.0, 1: 3.0}, (1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)), 1.0),
        ([5, 6], {0: 1.0}, 0.0, 0.0),
        ([*range(1, 11), 0], {0: 1.0}, 0.0, 0.0),
        ([0], {}, 0.0, 0.0),
    ],
)
def test_ranking_measures(ranking: list[int], gains: dict[int, float], gain: float, rank: float) -> None:
    assert ndcg(ranking, gains) == pytest.approx(gain)
    assert reciprocal_rank(ranking, gains) == pytest.approx(rank)


def test_rank_quality_orders_by_similarity() -> None:
    passages = np.eye(3, dtype=np.float32)
    queries = np.array([[0.1, 0.9, 0.4], [1.0, 0.0, 0.2]], dtype=np.float32)
    assert rank_quality(passages, queries, [{1: 1.0}, {2: 1.0}]) == pytest.approx(((1 + 1 / np.log2(3)) / 2, 0.75))


@pytest.mark.skipif(not DATA.is_dir(), reason="the public test sets are not here")
def test_test_sets_are_read_whole() -> None:
    cranfield = read_cranfield(DATA / "cranfield")
    assert (len(cranfield.passages), len(cranfield.queries)) == (1400, 225)
    assert all(cranfield.gains)
    squad = read_squad(DATA / "squad2_dev.json", DATA / "squad2_split.json")
    assert (len(squad.passages), len(squad.queries)) == (646, 1039)


@pytest.mark.training
def test_export_gives_the_shipped_model(tmp_path: Path) -> None:
    """From the published weights; `export` itself compares the fp32 graph with torch."""
    from training.export_embedder import compare_with_torch, export, export_fp32, load_torch_model

    try:
        files = resolve("minilm-fp32", load_settings())
    except ModelError as error:
        pytest.skip(str(error))
    fp32, int8 = export(tmp_path, files)
    assert describe_file(int8 / "model.onnx")[0] < 30_000_000
    texts = ["The pump runs for forty seconds.", "I changed my mind about Rust."]
    shipped = open_embedder(Settings(threads=1)).embed(texts)
    for folder, least in ((fp32, 0.98), (int8, 0.9999)):
        made = load_embedder(folder / "model.onnx", folder / "tokenizer.json", folder.name, Settings(threads=1))
        assert (made.embed(texts) * shipped).sum(axis=1).min() > least
    model = load_torch_model(files)
    export_fp32(_shaken(model), tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="is not the model it was exported from"):
        compare_with_torch(load_torch_model(files), tmp_path / "other.onnx")


def _shaken(model: object) -> object:
    """The model with one weight matrix a little off."""
    weight = next(value for name, value in model.named_parameters() if name.endswith("query.weight"))  # type: ignore[attr-defined]
    weight.data += 0.01
    return model

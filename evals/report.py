"""Results of an eval: per question and summed up, as JSON and as a table."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.scorers import area_under_curve, bootstrap_interval, wilson
from evals.tasks import UNANSWERABLE
from twin.errors import StoreError
from twin.records import Record


class Share(Record):
    """A share with its 95 % Wilson interval; `value` is None where `total` is 0."""

    count: int
    total: int

    @property
    def value(self) -> float | None:
        return self.count / self.total if self.total else None

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        low, high = wilson(self.count, self.total)
        return f"{100 * self.value:.1f} [{100 * low:.0f}, {100 * high:.0f}]"


class RetrievalResult(Record):
    """One question's retrieval."""

    id: str
    kind: str
    searched: str
    links: tuple[str, ...]
    hit_at_1: bool
    hit_at_5: bool
    reciprocal_rank: float
    seconds: float


class AnswerResult(Record):
    """One question's answer. `cited_gold`: a citation lies in a gold document."""

    id: str
    kind: str
    answer: str
    abstained: bool
    confidence: float
    quotes: int
    included: bool | None
    cited_gold: bool | None
    citations: int
    valid_citations: int
    seconds: float


def share(values: Sequence[bool]) -> Share:
    return Share(count=sum(values), total=len(values))


def retrieval_rows(results: Sequence[RetrievalResult]) -> list[dict[str, str]]:
    """The table: a row per kind and one for all answerable questions."""
    answerable = [result for result in results if result.kind != UNANSWERABLE]
    groups = {"all answerable": answerable} | {
        kind: [result for result in answerable if result.kind == kind]
        for kind in sorted({result.kind for result in answerable})
    }
    return [
        {
            "kind": name,
            "n": str(len(group)),
            "hit@1 %": str(share([result.hit_at_1 for result in group])),
            "hit@5 %": str(share([result.hit_at_5 for result in group])),
            "MRR@10": _mean([result.reciprocal_rank for result in group]),
        }
        for name, group in groups.items()
    ]


def answer_rows(results: Sequence[AnswerResult]) -> list[dict[str, str]]:
    """The table: per kind what was answered, included, cited and refused."""
    answerable = [result for result in results if result.kind != UNANSWERABLE]
    groups = {"all": list(results), "all answerable": answerable} | {
        kind: [result for result in results if result.kind == kind]
        for kind in sorted({result.kind for result in results})
    }
    return [
        {
            "kind": name,
            "n": str(len(group)),
            "must-include %": str(share([bool(one.included) for one in group if one.included is not None])),
            "cites gold %": str(share([bool(one.cited_gold) for one in group if one.cited_gold is not None])),
            "citations valid %": str(_validity(group)),
            "abstained %": str(share([one.abstained for one in group])),
        }
        for name, group in groups.items()
    ]


def abstention(results: Sequence[AnswerResult]) -> dict[str, Any]:
    """Abstention as a classifier of unanswerable questions: precision, recall, refused, AUC."""
    unanswerable = [result for result in results if result.kind == UNANSWERABLE]
    answerable = [result for result in results if result.kind != UNANSWERABLE]
    abstained = [result for result in results if result.abstained]

    def curve(indices: list[int]) -> float:
        sample = [results[index] for index in indices]
        return area_under_curve(
            [one.confidence for one in sample if one.kind != UNANSWERABLE],
            [one.confidence for one in sample if one.kind == UNANSWERABLE],
        )

    return {
        "precision": share([one.kind == UNANSWERABLE for one in abstained]),
        "recall": share([one.abstained for one in unanswerable]),
        "answerable_refused": share([one.abstained for one in answerable]),
        "auc": curve(list(range(len(results)))),
        "auc_interval": bootstrap_interval(curve, len(results)),
    }


def _validity(group: Sequence[AnswerResult]) -> Share:
    return Share(count=sum(one.valid_citations for one in group), total=sum(one.citations for one in group))


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f}" if values else "-"


def measured(value: Share | float, lack: str) -> str:
    """`value` for a sentence: a share with its unit, a number; what could not be measured says what lacks."""
    if isinstance(value, Share):
        return f"{value} %" if value.total else f"not measured ({lack})"
    return f"not measured ({lack})" if math.isnan(value) else f"{value:.3f}"


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: shares spelled out, nan as None."""
    if isinstance(value, Share):
        low, high = wilson(value.count, value.total)
        return {"count": value.count, "total": value.total, "share": value.value, "interval": [low, high]}
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.model_dump(mode="json") if isinstance(value, Record) else value


def check_writable(path: Path) -> None:
    """Make the folder of a report to come and try to write there, before the work that it reports.

    Raises StoreError.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(path)
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write the report as JSON, atomically; folders are made. Raises StoreError."""
    text = json.dumps(plain(report), indent=1, ensure_ascii=False) + "\n"
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _cannot_write(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write the report {path} ({error.strerror or error})", "Name another file with --out")

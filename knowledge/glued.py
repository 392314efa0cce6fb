"""Sentence ends in text that has lost its line breaks ("...the LLM twin conceptThe outcome is...").

Crawlers that read a page's text without its elements glue headings, paragraphs and list items
together. Nothing is inserted to repair that (the stored text stays as it came); here are the places
where a sentence begins all the same.
"""

from __future__ import annotations

import re
from collections import Counter

_GLUED_END = re.compile(r"(?<=[A-Za-z0-9)\]”\"’%])[.!?…]+[\"”’)\]]*(?=[“\"(]?[A-Z](?:[a-z]| [a-zA-Z]|[A-Z]+ ))")
_SPACED_END = re.compile(r"[.!?…][\"”’)]?\s+[“\"(]?[A-Z]")
_ENOUGH = 4
_SHARE = 0.25
_RARE = 2
_SENTENCE_WORDS = 4

_BEGINNINGS = tuple(
    re.compile(pattern)
    for pattern in (
        # After a closing bracket or ellipsis, and before signs that open a line.
        r"(?<=\w[.!?…])(?=[“\"(#→🔗↳])",
        r"(?<=[a-zA-Z0-9][)\]])(?=[A-Za-z])",
        r"(?<=…)(?=\w)",
        r"(?<=[a-z.:)])(?=(?:- |→ |↳ |🔗 |#\d+\. ))",
        # After a colon or semicolon, arrows and pictograms.
        r"(?<=[a-z]{2}:)(?=[A-Za-z“])",
        r"(?<=[A-Za-z]{2};)(?=[A-Za-z“])",
        r"(?<=[↓→←👇🔥🤗⭐🫵✅\ufe0f])(?=[A-Z])",
        # Before a numbered heading or item, and an entry of a list of references.
        r"(?<=[A-Za-z)][.!?])(?=\d{1,2}\.(?:\d{1,2}\.?)? [A-Za-z])",
        r"(?<=[^\w\s.,$€#(\[/-])(?=\d{1,2}\.(?:\d{1,2}\.?)? [A-Za-z])",
        r"(?<=[A-Za-z.])(?=\[(?:\d{1,2}|[A-Z][a-z]+)\] [A-Z])",
    )
)
_ENUMERATED = re.compile(r"([A-Za-z]*[a-z]{3})(?=\d{1,2}\. [A-Za-z])")
_JOINT = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PLAIN_JOINT = re.compile(r"[a-z]{4,}[A-Z][a-z]{3,}")
_TOKEN = re.compile(r"[A-Za-z]+")

_NAMES = frozenset(
    """
    github gitlab linkedin youtube javascript typescript langchain llamaindex openai deepmind deeplearning pytorch
    tensorflow mongodb postgresql mysql rabbitmq huggingface chatgpt cometml mlflow mlops llmops devops fastapi
    numpy scipy beautifulsoup powerpoint wordpress dataframe dataloader substack iphone ipad ebay airflow
    bytewax pydantic sagemaker cloudwatch vectorhub autogptq autogen crewai elasticsearch clickhouse bigquery
    """.split()  # noqa: SIM905
)
"""Names with a capital inside, which no glue made."""


def glued_cuts(plain: str) -> list[int]:
    """Where sentences begin in `plain` without white space before them; none if it is ordinary text."""
    glued = _evidence(plain)
    if glued < _ENOUGH or glued < _SHARE * (glued + len(_SPACED_END.findall(plain))):
        return []
    cuts = {match.end() for match in _GLUED_END.finditer(plain)}
    for pattern in _BEGINNINGS:
        cuts.update(match.start() for match in pattern.finditer(plain))
    tokens = Counter(_TOKEN.findall(plain))
    known = Counter({word.lower(): 0 for word in tokens})
    for word, count in tokens.items():
        known[word.lower()] += count
    cuts.update(match.end() for match in _ENUMERATED.finditer(plain) if known[match.group(1).lower()])
    for token in _TOKEN.finditer(plain):
        cuts.update(token.start() + at for at in _joints(token.group(), tokens, known))
    return sorted(cuts)


def _evidence(plain: str) -> int:
    """How many glued ends have a sentence's worth of words before them, as `torch.Tensor` has not."""
    count = begin = 0
    for match in _GLUED_END.finditer(plain):
        count += len(plain[begin : match.start()].split()) >= _SENTENCE_WORDS
        begin = match.end()
    return count


def _joints(token: str, tokens: Counter[str], known: Counter[str]) -> list[int]:
    """Offsets in `token` at which two words were glued: both are words of this text, the whole is not."""
    if token.lower() in _NAMES or len(_JOINT.findall(token)) > _RARE:
        return []
    joints = []
    begin = 0
    for match in _JOINT.finditer(token):
        left, right = token[begin : match.start()], re.split(_JOINT, token[match.start() :])[0]
        if (left + right).lower() in _NAMES:
            continue
        rare = tokens[token] <= _RARE
        apart = bool(known[left.lower()] and known[right.lower()]) or bool(_PLAIN_JOINT.fullmatch(left + right))
        if right in _OPENERS or (rare and apart):
            joints.append(match.start())
            begin = match.start()
    return joints


_OPENERS = frozenset(
    """
    The This That These Those There Then Thus They In It Its If Is As At An And But By For From How However
    What When Where Which Who Why We With You Your Our On Or Once Now Next Let Also After Afterward Before
    Despite Although While Because Since During Each Every Both All Most Many More Another Other
    First Finally Here Have To So Some Such Image Step Note Conclusion References Introduction
    """.split()  # noqa: SIM905
)
"""Words that begin a sentence or heading and end no name."""

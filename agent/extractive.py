"""The extractive writer: the author's own best sentences, framed by where they come from."""

from __future__ import annotations

from collections.abc import AsyncIterator

from agent.writing import Markers, WriteRequest, Written, day
from knowledge.quote import Quote, choose_quotes, glue_between
from knowledge.view import fold
from twin.records import Document, Sentence


class ExtractiveWriter:
    """Quotes, needs no model. Every sentence but the frames is a verbatim span of a document."""

    name = "extractive"
    model = ""
    prompt_version = ""

    async def write(self, request: WriteRequest) -> AsyncIterator[Written]:
        """Yield a frame per document, then its sentences."""
        markers = Markers()
        before: Quote | None = None
        for quote in choose_quotes(request.evidence, request.volumes, request.most):
            volume = request.volumes[quote.document_id]
            span = volume.sentences[quote.ordinal]
            if before is None or before.document_id != quote.document_id:
                yield frame(volume.document, request.persona, first=before is None)
                glue = "\n"
            else:
                glue = glue_between(volume.sentences[before.ordinal], span)
            citation = markers.cite(volume.document, quote.chunk_id, span.start, span.end, quote.score)
            yield Sentence(text=citation.quote, kind="quote", glue=glue, citations=(citation,))
            before = quote


def frame(document: Document, persona: str, first: bool) -> Sentence:
    """Words that say whose and from where the following sentences are."""
    title = f"“{fold(document.title)}”" if document.title else "a short post"
    date = f" ({day(document.published_at)})" if document.published_at else ""
    own = not document.author or fold(document.author, casefold=True) == fold(persona, casefold=True)
    if own:
        text = f"From {title}{date}:" if first else f"And from {title}{date}:"
    else:
        text = f"{document.author}, in {title}{date}:"
    return Sentence(text=text, kind="frame", glue="" if first else "\n\n")

"""Citations of Cohere's chat, to and from the canonical form.

    {"start", "end", "text", "sources": [...], "content_index", "type": TEXT_CONTENT | THINKING_CONTENT | PLAN}
    source: {"type": "document", "id", "document": {...}} or {"type": "tool", "id", "tool_output": {...}}

https://docs.cohere.com/docs/rag-citations and the SDK's `Citation`. `start` and `end` count characters of the content
block `content_index` (the first text where it is absent), the end exclusive. A citation with several sources is as many
canonical ones at one place; the first keeps the object as it came (`raw`), the rest are silent in this dialect.
A document's id is the client's or `doc:INDEX`; a tool's is `CALL_ID:INDEX`, and its fields are what the tool returned.
"""

import re
from typing import Any

import msgspec

from freehold.dialects.cohere.content import DIALECT
from freehold.dialects.conversation import Citation, Part, Text

_PLACE = re.compile(r"doc:(\d{1,6})")
_QUOTES = ("snippet", "text", "content", "contents")


def is_on_text(raw: Any) -> bool:
    """Whether a citation stands on text, rather than on thoughts or a tool plan, which have none elsewhere."""
    return isinstance(raw, dict) and raw.get("type") not in ("THINKING_CONTENT", "PLAN")


def read_citation(raw: dict[str, Any]) -> list[Citation]:
    """At least one, the first with `raw`."""
    start, end = raw.get("start"), raw.get("end")
    placed = type(start) is int and type(end) is int and 0 <= start <= end
    given = raw.get("sources")
    sources = [source for source in given if isinstance(source, dict)] if isinstance(given, list) else []
    citations = [_read_source(source) for source in sources] or [Citation()]
    for citation in citations:
        citation.dialect = DIALECT
        if placed:
            citation.start, citation.end = start, end
    citations[0].raw = raw
    return citations


def _read_source(source: dict[str, Any]) -> Citation:
    document, output = source.get("document"), source.get("tool_output")
    fields = document if isinstance(document, dict) else output if isinstance(output, dict) else {}
    identity = source.get("id")
    place = _PLACE.fullmatch(identity) if isinstance(identity, str) else None
    return Citation(
        url=_text(fields.get("url")),
        title=_text(fields.get("title")),
        quote=next((quote for name in _QUOTES if (quote := _text(fields.get(name)))), None),
        source=int(place[1]) if place else None,
        file_id=identity if isinstance(identity, str) and identity and not place else None,
    )


def attach(parts: list[Part], raws: list[Any], blocks: dict[int, Text]) -> list[Any]:
    """Puts the citations of a message on its texts; `blocks` are these by their index. Returns those that do not fit.

    Without any text there is nothing to cite.
    """
    rest = []
    texts = list(blocks.values())
    for raw in raws:
        if not is_on_text(raw) or not texts:
            rest.append(raw)
            continue
        citations = read_citation(raw)
        index = raw.get("content_index")
        text = blocks.get(index) if type(index) is int else None
        if text is None:
            end = citations[0].end or 0
            text = next((text for text in texts if end <= len(text.text)), texts[-1])
        text.citations = [*(text.citations or ()), *citations]
    return rest


def write_citation(citation: Citation, text: str, index: int) -> dict[str, Any] | None:
    """For a citation on the block `index`, whose characters so far are `text`. None where nothing is to be written."""
    if citation.dialect == DIALECT:
        return citation.raw if isinstance(citation.raw, dict) else None
    identity = citation.url or citation.file_id or (None if citation.source is None else f"doc:{citation.source}")
    document = {
        name: value
        for name, value in (("url", citation.url), ("title", citation.title), ("snippet", citation.quote))
        if value
    }
    if identity is None and not document:
        return None
    placed = citation.start is not None and citation.end is not None
    start, end = (citation.start or 0, citation.end or 0) if placed else (0, len(text))
    written: dict[str, Any] = {
        "start": start,
        "end": end,
        "text": text[start:end],
        "sources": [{"type": "document", "id": identity or citation.title or "", "document": document}],
        "type": "TEXT_CONTENT",
    }
    if index:
        written["content_index"] = index
    return written


def is_lost(citation: Any) -> bool:
    """Whether nothing can be written for it: a silent one of this dialect is not lost."""
    return not isinstance(citation, Citation) or (
        citation.dialect != DIALECT and write_citation(citation, "", 0) is None
    )


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, dict | list) and value:
        return msgspec.json.encode(value).decode()
    return None

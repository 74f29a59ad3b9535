"""Citations of Converse: a source, the cited passages, and where they stand.

`location` is one of web, documentChar, documentPage, documentChunk, searchResultLocation; its numbers are places in the
source, not in the answer, so the canonical `start` and `end` stay empty.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Citation.html
"""

from typing import Any

from freehold.dialects.conversation import Citation

DIALECT = "converse"

_LOCATIONS = {
    "char_location": ("documentChar", "document_index", "start_char_index", "end_char_index"),
    "page_location": ("documentPage", "document_index", "start_page_number", "end_page_number"),
    "content_block_location": ("documentChunk", "document_index", "start_block_index", "end_block_index"),
    "search_result_location": ("searchResultLocation", "search_result_index", "start_block_index", "end_block_index"),
}
"""Anthropic's citation types and their fields: Bedrock passes Claude's on under other names."""


def read_citation(value: Any) -> Citation:
    """`value` is a Citation or CitationsDelta as decoded JSON, whatever it turns out to hold."""
    wire = value if isinstance(value, dict) else {}
    location = wire.get("location")
    found = Citation(title=_text(wire.get("title")), dialect=DIALECT, raw=value)
    passages = wire.get("sourceContent")
    texts = passages if isinstance(passages, list) else []
    quotes = [_text(item.get("text")) for item in texts if isinstance(item, dict)]
    found.quote = "".join(quote for quote in quotes if quote) or None
    source = _text(wire.get("source"))
    if source is not None and source.startswith(("http://", "https://")):
        found.url = source
    elif source:
        found.file_id = source
    for name, place in location.items() if isinstance(location, dict) else ():
        if not isinstance(place, dict):
            continue
        if name == "web":
            found.url = _text(place.get("url")) or found.url
        elif type(index := place.get("documentIndex")) is int and index >= 0:
            found.source = index
    return found


def write_citation(citation: Citation) -> dict[str, Any] | None:
    """The object for an answer replayed in a request; None where it has no form here."""
    if citation.dialect == DIALECT and isinstance(citation.raw, dict):
        return citation.raw
    wire: dict[str, Any] = {}
    if citation.title:
        wire["title"] = citation.title
    if citation.quote:
        wire["sourceContent"] = [{"text": citation.quote}]
    raw = citation.raw if citation.dialect == "messages" and isinstance(citation.raw, dict) else {}
    if citation.url:
        wire["location"] = {"web": {"url": citation.url}}
    elif (names := _LOCATIONS.get(_text(raw.get("type")) or "")) is not None:
        kind, index, start, end = names
        numbers = raw.get(index), raw.get(start), raw.get(end)
        if any(type(number) is not int for number in numbers):
            return None
        first = "searchResultIndex" if kind == "searchResultLocation" else "documentIndex"
        wire["location"] = {kind: dict(zip((first, "start", "end"), numbers, strict=True))}
    return wire if "location" in wire else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None

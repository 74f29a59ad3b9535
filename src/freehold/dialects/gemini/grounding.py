"""Sources of an answer: Google's `groundingMetadata` and `citationMetadata`, and canonical citations.

https://ai.google.dev/api/generate-content#GroundingMetadata. A candidate lists its sources (`groundingChunks`) and
which passages rest on which of them (`groundingSupports`); recited passages stand in `citationMetadata`. Offsets count
UTF-8 bytes of the candidate's answer text, all its text parts joined, as recorded answers show. Where the passage is
quoted and stands elsewhere (also recorded; and where `partIndex` is given), it is looked for. Canonical offsets count
characters: in a `Reply` within the `Text` part that holds the citation, in a stream within all the text of its choice.

A citation's `raw` is `{"chunk", "index", "support"}` or `{"citation"}`, so that Google's own are put together again as
they came. What else the metadata hold (queries, the search entry point) rides along as `Opaque`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from freehold.dialects.conversation import Citation, Opaque, Part, Text
from freehold.dialects.gemini.proto import DIALECT

METADATA = ("groundingMetadata", "urlContextMetadata", "citationMetadata")
"""Fields of a candidate beside its content that ride along."""

_CONTINUATION = bytes(range(0x80, 0xC0))
"""Bytes that begin no character."""

SEARCHED = 256
"""Passages with wrong offsets are looked for in answers with at most this many of them."""


def read_citations(grounding: Any, citation: Any, texts: Sequence[str]) -> list[Citation]:
    """What a candidate says of its sources. `texts` are its text parts, in order; offsets count in all of them."""
    whole = "".join(texts)
    found = _read_grounding(grounding, whole) if isinstance(grounding, dict) else []
    if isinstance(citation, dict):
        found += _read_recited(_list(citation.get("citations")), whole)
    return found


def _read_grounding(grounding: dict[str, Any], whole: str) -> list[Citation]:
    chunks = _list(grounding.get("groundingChunks"))
    supports = _list(grounding.get("groundingSupports"))
    found: list[Citation] = []
    cited: set[int] = set()
    places = _places(whole, supports)
    for support, (start, end) in zip(supports, places, strict=True):
        segment = support.get("segment")
        segment = segment if isinstance(segment, dict) else {}
        if isinstance(quote := segment.get("text"), str) and quote and whole[start:end] != quote:
            at = whole.find(quote) if len(supports) <= SEARCHED else -1
            start, end = (at, at + len(quote)) if at >= 0 else (start, end)
        indices = support.get("groundingChunkIndices")
        for index in indices if isinstance(indices, list) else ():
            if type(index) is int and 0 <= index < len(chunks):
                cited.add(index)
                found.append(_read_chunk(chunks[index], index, support, start, end))
    # A source that no passage names is of the answer as a whole.
    found += [_read_chunk(chunk, index, None, None, None) for index, chunk in enumerate(chunks) if index not in cited]
    return found


def _read_chunk(chunk: dict[str, Any], index: int, support: Any, start: int | None, end: int | None) -> Citation:
    citation = Citation(start=start, end=end, dialect=DIALECT, raw={"chunk": chunk, "index": index})
    if support is not None:
        citation.raw["support"] = support
    source = next((value for value in chunk.values() if isinstance(value, dict)), {})
    citation.url = _text(source.get("uri")) or _text(source.get("sourceUri"))
    citation.title = _text(source.get("title"))
    citation.quote = _text(source.get("text"))
    if citation.url is None:
        citation.file_id = _text(source.get("documentName")) or _text(source.get("fileSearchStore"))
    return citation


def _read_recited(entries: list[dict[str, Any]], whole: str) -> list[Citation]:
    found = []
    ends = [(_offset(entry.get("startIndex")), _offset(entry.get("endIndex"))) for entry in entries]
    places = _characters(whole, {offset for pair in ends for offset in pair})
    for entry, (start, end) in zip(entries, ends, strict=True):
        raw = {"citation": entry}
        url, title = _text(entry.get("uri")), _text(entry.get("title"))
        found.append(Citation(url, title, start=places[start], end=places[end], dialect=DIALECT, raw=raw))
    return found


def _places(whole: str, supports: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Character offsets of each support's segment."""
    ends = []
    for support in supports:
        segment = support.get("segment")
        segment = segment if isinstance(segment, dict) else {}
        ends.append((_offset(segment.get("startIndex")), _offset(segment.get("endIndex"))))
    places = _characters(whole, {offset for pair in ends for offset in pair})
    return [(places[start], places[end]) for start, end in ends]


def _characters(text: str, offsets: Iterable[int]) -> dict[int, int]:
    """Character offset of each byte offset of `text`, in one pass."""
    if text.isascii():
        return {offset: min(offset, len(text)) for offset in offsets}
    raw = text.encode("utf-8", "surrogatepass")
    found: dict[int, int] = {}
    byte = characters = 0
    for offset in sorted(offsets):
        characters += len(raw[byte:offset].translate(None, _CONTINUATION))
        byte = max(byte, min(offset, len(raw)))
        found[offset] = characters
    return found


def attach(parts: list[Part], citations: list[Citation]) -> None:
    """Hangs citations of a whole answer on its text parts, with offsets within the part each begins in."""
    texts = [part for part in parts if isinstance(part, Text)]
    for citation in citations:
        before = 0
        for index, text in enumerate(texts):
            length = len(text.text)
            last = index == len(texts) - 1
            if last or (citation.start is not None and citation.start < before + length):
                if citation.start is not None:
                    citation.start = max(0, min(citation.start - before, length))
                if citation.end is not None:
                    citation.end = max(0, min(citation.end - before, length))
                text.citations = [*(text.citations or ()), citation]
                break
            before += length


def rest(grounding: Any, url_context: Any) -> list[Opaque]:
    """What the metadata say beside sources and passages."""
    found: list[Opaque] = []
    if isinstance(grounding, dict):
        more = {name: item for name, item in grounding.items() if name not in ("groundingChunks", "groundingSupports")}
        if more:
            found.append(Opaque(DIALECT, {"groundingMetadata": more}))
    if url_context:
        found.append(Opaque(DIALECT, {"urlContextMetadata": url_context}))
    return found


class Sources:
    """Gathers citations of one candidate and writes its metadata. Offsets given to `add` count in all its text."""

    def __init__(self) -> None:
        self._chunks: list[dict[str, Any]] = []
        self._places: dict[int, int] = {}
        """Where Google's chunks, by their own number, stand in `_chunks`."""
        self._known: dict[str, int] = {}
        self._supports: list[dict[str, Any]] = []
        self._own: dict[int, dict[str, Any]] = {}
        """Google's own supports, written already, by identity."""
        self._recited: list[Any] = []

    def add(self, citation: Citation, whole: str) -> None:
        """`whole`: all the text of the candidate so far."""
        raw = citation.raw if citation.dialect == DIALECT and isinstance(citation.raw, dict) else {}
        if "citation" in raw:
            self._recited.append(raw["citation"])
            return
        place = self._chunk(citation, raw)
        support = raw.get("support")
        if isinstance(support, dict):
            self._own_support(support, place)
            return
        if "chunk" in raw:
            return
        start = 0 if citation.start is None else max(0, min(citation.start, len(whole)))
        end = len(whole) if citation.end is None else max(start, min(citation.end, len(whole)))
        segment: dict[str, Any] = {"endIndex": _size(whole[:end]), "text": whole[start:end]}
        if start:
            segment["startIndex"] = _size(whole[:start])
        if self._supports and self._supports[-1]["segment"] == segment:
            indices = self._supports[-1]["groundingChunkIndices"]
            if place not in indices:
                indices.append(place)
        elif end > start:
            self._supports.append({"segment": segment, "groundingChunkIndices": [place]})

    def _chunk(self, citation: Citation, raw: dict[str, Any]) -> int:
        """The place of the citation's source; each source stands once."""
        own = raw.get("index")
        if isinstance(chunk := raw.get("chunk"), dict) and type(own) is int:
            place = self._places.get(own)
            if place is not None and self._chunks[place] == chunk:
                return place
            self._chunks.append(chunk)
            self._places[own] = len(self._chunks) - 1
            return len(self._chunks) - 1
        chunk = _write_chunk(citation)
        key = repr(chunk)
        if key not in self._known:
            self._chunks.append(chunk)
            self._known[key] = len(self._chunks) - 1
        return self._known[key]

    def _own_support(self, support: dict[str, Any], place: int) -> None:
        written = self._own.get(id(support))
        if written is None:
            written = self._own[id(support)] = {**support, "groundingChunkIndices": []}
            self._supports.append(written)
        written["groundingChunkIndices"].append(place)

    def write(self) -> dict[str, Any]:
        """The candidate's fields; empty where nothing was cited."""
        fields: dict[str, Any] = {}
        if self._chunks:
            fields["groundingMetadata"] = {"groundingChunks": self._chunks}
            if self._supports:
                fields["groundingMetadata"]["groundingSupports"] = self._supports
        if self._recited:
            fields["citationMetadata"] = {"citations": self._recited}
        return fields


def _write_chunk(citation: Citation) -> dict[str, Any]:
    source: dict[str, Any] = {}
    if citation.url is not None:
        source["uri"] = citation.url
    if citation.title is not None:
        source["title"] = citation.title
    if citation.url is not None:
        return {"web": source}
    if citation.quote is not None:
        source["text"] = citation.quote
    if (document := citation.file_id) is not None or citation.source is not None:
        source["documentName"] = document or f"documents/{citation.source}"
    return {"retrievedContext": source}


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _offset(value: Any) -> int:
    return value if type(value) is int and 0 < value < 2**31 else 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

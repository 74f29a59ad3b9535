"""Citations in chat messages: `annotations`, and the lists of sources that search hosts put beside the choices.

    {"type": "url_citation", "url_citation": {"start_index", "end_index", "url", "title"}}

https://platform.openai.com/docs/guides/tools-web-search?api-mode=chat. That is all that OpenAI documents here, and all
that its SDK's types know: a cited file has the URL `file:ID`, with its id as `file_id` beside it. Some hosts send
`file_citation` in the form of OpenAI's other APIs, which is read too. OpenRouter adds the cited passage as `content`;
some hosts leave out the inner object. Indexes count characters of the message's text, the end is exclusive. Perplexity
and xAI list sources without places: `search_results` [{title, url}] or `citations` [url], beside the choices.
"""

from typing import Any

from freehold.dialects.chat.content import DIALECT
from freehold.dialects.conversation import Citation, Part, Text

FILE = "file:"


def read_annotation(raw: Any, offset: int = 0) -> Citation | None:
    """None for what is no citation. `offset` is where the text part begins in the message's text."""
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind not in ("url_citation", "file_citation"):
        return None
    given = raw.get(kind)
    inner = given if isinstance(given, dict) else raw
    url, file_id = _text(inner.get("url")), _text(inner.get("file_id"))
    if file_id is not None and url == FILE + file_id:
        url = None
    if not url and not file_id:
        return None
    start: Any = inner.get("start_index")
    end: Any = inner.get("end_index")
    placed = type(start) is int and type(end) is int and offset <= start <= end
    return Citation(
        url=url,
        title=_text(inner.get("title")) or _text(inner.get("filename")),
        quote=_text(inner.get("content")) or _text(inner.get("quote")),
        start=start - offset if placed else None,
        end=end - offset if placed else None,
        file_id=file_id,
        dialect=DIALECT,
        raw=raw,
    )


def read_annotations(raw: Any) -> tuple[list[Citation], list[Any]]:
    """The citations in a message's `annotations`, and what is something else (OpenRouter's parsed files)."""
    citations: list[Citation] = []
    rest: list[Any] = []
    for one in raw if isinstance(raw, list) else []:
        if (citation := read_annotation(one)) is not None:
            citations.append(citation)
        else:
            rest.append(one)
    return citations, rest


def read_sources(fields: dict[str, Any]) -> list[Citation]:
    """The sources that stand beside the choices: they back the answer as a whole."""
    found = fields.get("search_results")
    if isinstance(found, list) and found:
        rows = [one for one in found if isinstance(one, dict) and _text(one.get("url"))]
        return [
            Citation(url=one["url"], title=_text(one.get("title")), quote=_text(one.get("snippet"))) for one in rows
        ]
    urls = fields.get("citations")
    return [Citation(url=url) for url in urls if isinstance(url, str) and url] if isinstance(urls, list) else []


def attach(parts: list[Part], citations: list[Citation]) -> None:
    """Puts `citations`, whose places count the joined text, on the text parts they stand in."""
    if not citations:
        return
    texts = [part for part in parts if isinstance(part, Text)]
    if not texts:
        texts = [Text("")]
        parts += texts
    for citation in citations:
        offset = 0
        target = texts[0]
        for target in texts if citation.start is not None else texts[-1:]:
            if citation.start is None or citation.start < offset + len(target.text) or target is texts[-1]:
                break
            offset += len(target.text)
        if citation.start is not None and citation.end is not None:
            citation.start -= offset
            citation.end -= offset
        target.citations = [*(target.citations or []), citation]


def write_annotation(citation: Citation, offset: int, length: int) -> dict[str, Any] | None:
    """`offset` and `length` of the text part in the message's text. None where the dialect has no form."""
    if citation.dialect == DIALECT and isinstance(citation.raw, dict):
        return citation.raw
    placed = citation.start is not None and citation.end is not None
    place: dict[str, Any] = {
        "start_index": offset + (citation.start or 0 if placed else 0),
        "end_index": offset + (citation.end or 0 if placed else length),
    }
    if citation.url:
        inner = {**place, "url": citation.url, "title": citation.title or citation.url}
        if citation.quote:
            inner["content"] = citation.quote
        return {"type": "url_citation", "url_citation": inner}
    if citation.file_id:
        name = FILE + citation.file_id
        inner = {**place, "url": name, "title": citation.title or name, "file_id": citation.file_id}
        if citation.quote:
            inner["content"] = citation.quote
        return {"type": "url_citation", "url_citation": inner}
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None

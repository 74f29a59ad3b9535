"""What stands beside the text of an answer: annotations (citations) and log-probabilities, both ways.

Wire: `annotations` and `logprobs` of an `output_text` part, https://platform.openai.com/docs/api-reference/responses.
Canonical log-probabilities are chat's `{"content": [...], "refusal": null}`, whose entries are the same objects.
"""

from typing import Any

from freehold.dialects.conversation import Citation

DIALECT = "responses"


def marked(value: Any) -> tuple[str, Any]:
    """What an `Opaque` of this dialect holds: a marker of the reader's (`$item`, `$part`, `$content`) and its value.

    No marker: the value is a whole item.
    """
    if isinstance(value, dict) and len(value) == 1:
        name, inner = next(iter(value.items()))
        if name == "$content" or (name in ("$item", "$part") and isinstance(inner, dict)):
            return name, inner
    return "", value


def read_annotation(raw: Any) -> Citation | None:
    """The citation in one annotation; one of a kind we do not know is kept as it is. None for what is no object."""
    if not isinstance(raw, dict):
        return None
    start, end = _index(raw.get("start_index")), _index(raw.get("end_index"))
    title = _text(raw.get("title"))
    if raw.get("type") in ("file_citation", "file_path", "container_file_citation"):
        title = _text(raw.get("filename"))
    return Citation(
        url=_text(raw.get("url")),
        title=title,
        start=start,
        end=end,
        file_id=_text(raw.get("file_id")),
        dialect=DIALECT,
        raw=raw,
    )


def read_annotations(raw: Any) -> list[Citation] | None:
    if not isinstance(raw, list) or not raw:
        return None
    return [citation for item in raw if (citation := read_annotation(item)) is not None] or None


def write_annotation(citation: Any, length: int) -> dict[str, Any] | None:
    """The annotation for `citation` on a text of `length` characters; None where this dialect has no form for it.

    The whole text is cited where the provider named no place. A citation of the request's own document has neither URL
    nor file, so it has no form.
    """
    if not isinstance(citation, Citation):
        return None
    if citation.dialect == DIALECT and isinstance(citation.raw, dict):
        raw: dict[str, Any] = citation.raw
        return raw
    start = citation.start or 0
    if citation.url is not None:
        return {
            "type": "url_citation",
            "start_index": start,
            "end_index": length if citation.end is None else citation.end,
            "title": citation.title or "",
            "url": citation.url,
        }
    if citation.file_id is not None:
        return {
            "type": "file_citation",
            "file_id": citation.file_id,
            "filename": citation.title or "",
            "index": start,
        }
    return None


def read_logprobs(raw: Any) -> dict[str, Any] | None:
    """The canonical form of a part's `logprobs`; None where it holds none."""
    if not isinstance(raw, list) or not raw:
        return None
    return {"content": raw, "refusal": None}


def write_logprobs(value: Any) -> list[dict[str, Any]]:
    """The `logprobs` of a text part from the canonical form, whatever a host left out filled in."""
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list):
        return []
    return [_token(item, True) for item in content if isinstance(item, dict)]


def _token(item: dict[str, Any], whole: bool) -> dict[str, Any]:
    token = item.get("token")
    text = token if isinstance(token, str) else ""
    number = item.get("logprob")
    raw = item.get("bytes")
    written: dict[str, Any] = {
        "token": text,
        "bytes": raw if isinstance(raw, list) else list(text.encode("utf-8", "surrogatepass")),
        "logprob": number if isinstance(number, int | float) else 0.0,
    }
    if whole:
        top = item.get("top_logprobs")
        others = top if isinstance(top, list) else []
        written["top_logprobs"] = [_token(other, False) for other in others if isinstance(other, dict)]
    return written


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _index(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

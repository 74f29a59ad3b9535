"""Citations of Anthropic's text blocks, to and from the canonical form.

A citation backs the whole block it stands on and says where in the *source* the passage is: by characters, pages,
blocks, in a search result of the request, or in one of the server's own web search (the `anthropic` SDK's types of
TextCitation; https://platform.claude.com/docs/en/build-with-claude/citations). All of that stays in `Citation.raw`,
which goes back to this dialect as it is.

Citations of other providers are shown to a client in the one form that needs no place in a document of the request:
`web_search_result_location`. Its `encrypted_index`, which the types require, is empty, and so the API would not take it
back: in a request such citations are left out, and reported.
"""

from typing import Any

from freehold.dialects.conversation import Citation

DIALECT = "messages"


def read_citation(raw: Any) -> Citation:
    """A form we do not know is kept in `raw` alone."""
    citation = Citation(dialect=DIALECT, raw=raw)
    if not isinstance(raw, dict):
        return citation
    citation.quote = _text(raw.get("cited_text"))
    match raw.get("type"):
        case "web_search_result_location":
            citation.url = _text(raw.get("url"))
            citation.title = _text(raw.get("title"))
        case "search_result_location":
            source = _text(raw.get("source"))
            citation.url = source if source is not None and "://" in source else None
            citation.title = _text(raw.get("title")) or source
        case "char_location" | "page_location" | "content_block_location":
            citation.title = _text(raw.get("document_title"))
            citation.file_id = _text(raw.get("file_id"))
            index = raw.get("document_index")
            citation.source = index if type(index) is int and index >= 0 else None
    return citation


def write_answered(citation: Citation) -> dict[str, Any] | None:
    """For a client. None where this dialect has no form."""
    if citation.dialect == DIALECT:
        return citation.raw if isinstance(citation.raw, dict) else None
    if not citation.url:
        return None
    return {
        "type": "web_search_result_location",
        "cited_text": citation.quote or "",
        "encrypted_index": "",
        "title": citation.title,
        "url": citation.url,
    }


def write_asked(citation: Citation) -> dict[str, Any] | None:
    """For the provider, who takes its own citations only."""
    raw = citation.raw if citation.dialect == DIALECT else None
    return raw if isinstance(raw, dict) and not is_made_up(raw) else None


def is_made_up(raw: dict[str, Any]) -> bool:
    """Whether `write_answered` wrote it for a citation of somebody else's."""
    return raw.get("type") == "web_search_result_location" and not raw.get("encrypted_index")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None

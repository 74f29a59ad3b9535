"""Thoughts in chat messages: as plain text, and as `reasoning_details` where a signature must come back unchanged.

OpenAI's dialect has no field for thoughts. Hosts send them as `reasoning_content` (DeepSeek and most others) or
`reasoning` (OpenRouter, Groq, vLLM); OpenRouter adds `reasoning_details`, which clients are told to send back as they
came (https://openrouter.ai/docs/guides/best-practices/reasoning-tokens#preserving-reasoning):

    {"type": "reasoning.text", "text": ..., "signature": ...}      Anthropic: thought and signature
    {"type": "reasoning.summary", "summary": ...}                  OpenAI, with the next one of the same index
    {"type": "reasoning.encrypted", "data": ...}                   OpenAI's or Google's signature, or redacted thinking
    each with "format" (whose it is), "index" and, for OpenAI, the item's "id"

`format` and the tag of a canonical signature (dialects/thinking.py) say the same thing: Anthropic's has no tag,
Google's and OpenAI's their own, any other format is its own tag, so that it comes back with the name it had.

In a stream the entries come in pieces that share an index; a client that merely collects them sends all the pieces
back, so they are joined here too.
"""

import re
from collections.abc import Iterable
from typing import Any

from freehold.dialects.conversation import Thinking, ThinkingDelta
from freehold.dialects.thinking import GEMINI_TAG, OPENAI_TAG

_ANTHROPIC = "anthropic-claude-v1"
_OPENAI = "openai-responses-v1"
_TAGS = {_ANTHROPIC: "", _OPENAI: OPENAI_TAG, "google-gemini-v1": GEMINI_TAG}
_FORMATS = {tag: name for name, tag in _TAGS.items()}
_TAG = re.compile(r"[a-z0-9-]{1,38}:")


def read_thoughts(plain: str, details: Any) -> list[Thinking]:
    """The thoughts of one message. `plain` is `reasoning_content` or `reasoning`: it counts where the details hold no
    text; whatever is malformed in `details` is passed over."""
    thoughts: list[Thinking] = []
    last: tuple[Any, Any] = (None, None)
    for raw in details if isinstance(details, list) else ():
        if (piece := read_detail(raw)) is None:
            continue
        place = (raw.get("format"), raw.get("index"))
        open_ = thoughts[-1] if thoughts and thoughts[-1].signature is thoughts[-1].redacted is None else None
        joins = place == last or (piece.signature is not None and not piece.text and place[0] == last[0])
        if open_ is None or piece.redacted is not None or not joins:
            open_ = Thinking()
            thoughts.append(open_)
        open_.text += piece.text
        open_.signature, open_.redacted = piece.signature, piece.redacted
        open_.id = open_.id or piece.id
        last = place
    thoughts = [one for one in thoughts if one.text or one.signature is not None or one.redacted is not None]
    if plain and not any(one.text for one in thoughts):
        if thoughts and thoughts[0].redacted is None:
            thoughts[0].text = plain
        else:
            thoughts.insert(0, Thinking(plain))
    return thoughts


def read_detail(raw: Any, choice: int = 0) -> ThinkingDelta | None:
    """One entry, or piece of one; None for an unknown kind."""
    if not isinstance(raw, dict):
        return None
    name, item = raw.get("format"), raw.get("id")
    identity = item if isinstance(item, str) and item else None
    match raw.get("type"):
        case "reasoning.text":
            signature = raw.get("signature")
            signed = _tag(name) + signature if isinstance(signature, str) and signature else None
            return ThinkingDelta(_text(raw.get("text")), signed, choice=choice, id=identity)
        case "reasoning.summary":
            return ThinkingDelta(_text(raw.get("summary")), choice=choice, id=identity)
        case "reasoning.encrypted" if data := _text(raw.get("data")):
            if name == _ANTHROPIC:
                return ThinkingDelta(redacted=data, choice=choice, id=identity)
            return ThinkingDelta(signature=(_tag(name) or "unknown:") + data, choice=choice, id=identity)
    return None


def foreign_details(details: Any) -> list[Any]:
    """The entries `read_thoughts` passes over, to be kept as they are."""
    return [raw for raw in details if read_detail(raw) is None] if isinstance(details, list) else []


def is_signed(thought: Thinking) -> bool:
    return thought.signature is not None or thought.redacted is not None


def write_details(thoughts: Iterable[Thinking], first: int = 0) -> list[dict[str, Any]]:
    """The entries for `thoughts`, in order; `first` is the index of the first one."""
    written: list[dict[str, Any]] = []
    for index, thought in enumerate(thoughts, first):
        written += _entries(thought, index)
    return written


def _entries(thought: Thinking, index: int) -> list[dict[str, Any]]:
    end: dict[str, Any] = {"index": index}
    if thought.id is not None:
        end["id"] = thought.id
    if thought.redacted is not None:
        return [{"type": "reasoning.encrypted", "data": thought.redacted, "format": _ANTHROPIC, **end}]
    if thought.signature is None:
        return [{"type": "reasoning.text", "text": thought.text, "format": "unknown", **end}]
    tag, signature = split_tag(thought.signature)
    name = _FORMATS.get(tag, tag[:-1])
    if not tag:
        return [{"type": "reasoning.text", "text": thought.text, "signature": signature, "format": name, **end}]
    entries: list[dict[str, Any]] = []
    if thought.text and name == _OPENAI:
        entries.append({"type": "reasoning.summary", "summary": thought.text, "format": name, "index": index})
    elif thought.text:
        entries.append({"type": "reasoning.text", "text": thought.text, "format": name, "index": index})
    return [*entries, {"type": "reasoning.encrypted", "data": signature, "format": name, **end}]


def split_tag(signature: str) -> tuple[str, str]:
    """Tag, colon included, and what the provider wrote. Anthropic's signatures are base64 and hold no colon."""
    found = _TAG.match(signature)
    return (found[0], signature[found.end() :]) if found is not None else ("", signature)


def _tag(name: Any) -> str:
    """The tag for a format; a signature without one is taken for Anthropic's, who alone signs plain text."""
    if not isinstance(name, str) or name in ("", "unknown"):
        return ""
    tag = _TAGS.get(name, name + ":")
    return tag if not tag or _TAG.fullmatch(tag) is not None else "unknown:"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

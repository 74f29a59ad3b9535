"""Reads the content of a chat message: a string, or parts, in the forms hosts of this dialect use.

The parts of OpenAI (text, image_url, input_audio, file, refusal), Mistral's thinking, and OpenRouter's `cache_control`
on any of them. What is not known stays an `Opaque`; request.py says how.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import Audio, CacheTtl, Document, Image, Opaque, Part, Refusal, Text, Thinking
from freehold.dialects.media import split_data_url
from freehold.dialects.wire import check_dict, check_str, refuse
from freehold.errors import BadRequest

DIALECT = "chat"


def read_content(content: Any, path: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)]
    if content is None:
        return []
    if not isinstance(content, list):
        refuse(f"{path}.content", "a string or an array of parts", content)
    parts: list[Part] = []
    for index, raw in enumerate(content):
        place = f"{path}.content.{index}"
        if isinstance(raw, str):  # some hosts accept bare strings
            parts.append(Text(raw))
            continue
        kind = check_str(check_dict(raw, place).get("type"), f"{place}.type")
        reader = _PARTS.get(kind)
        if reader is None:
            parts.append(Opaque(DIALECT, raw))
            continue
        part = reader(raw, place)
        parts.append(part)
        if unknown := {
            name: value for name, value in raw.items() if name not in _PART_FIELDS[kind] and value is not None
        }:
            parts.append(Opaque(DIALECT, {"$part": unknown}))
    return parts


def _read_text(raw: dict[str, Any], path: str) -> Part:
    return Text(check_str(raw.get("text"), f"{path}.text"), cache=cache_ttl(raw))


def _read_image(raw: dict[str, Any], path: str) -> Part:
    given = raw.get("image_url")
    image = {"url": given} if isinstance(given, str) else check_dict(given, f"{path}.image_url")
    url = check_str(image.get("url"), f"{path}.image_url.url")
    detail = image.get("detail")
    media_type, data = split_data_url(url) or (None, None)
    return Image(
        media_type=media_type,
        data=data,
        url=url if data is None else None,
        detail=None if detail is None else check_str(detail, f"{path}.image_url.detail"),
        cache=cache_ttl(raw),
    )


def _read_input_audio(raw: dict[str, Any], path: str) -> Part:
    audio = check_dict(raw.get("input_audio"), f"{path}.input_audio")
    kind = audio.get("format")
    return Audio(
        data=check_str(audio.get("data"), f"{path}.input_audio.data"),
        format=None if kind is None else check_str(kind, f"{path}.input_audio.format"),
    )


def _read_file(raw: dict[str, Any], path: str) -> Part:
    file = check_dict(raw.get("file"), f"{path}.file")
    for name in ("file_id", "file_data", "filename"):
        if file.get(name) is not None:
            check_str(file[name], f"{path}.file.{name}")
    content = file.get("file_data")
    if content is None and file.get("file_id") is None:
        raise BadRequest(f"'{path}.file' needs 'file_data' or 'file_id'.", param=f"{path}.file")
    document = Document(file_id=file.get("file_id"), title=file.get("filename"), cache=cache_ttl(raw))
    if content is not None:
        document.media_type, document.data = split_data_url(content) or (None, None)
        if document.data is None and content.startswith(("http://", "https://")):  # OpenRouter takes a URL here
            document.url = content
        elif document.data is None:
            document.data = content
    return document


def _read_refusal(raw: dict[str, Any], path: str) -> Part:
    return Refusal(check_str(raw.get("refusal"), f"{path}.refusal"))


def _read_thinking(raw: dict[str, Any], path: str) -> Part:
    return Thinking(text=thinking_text(raw))


def thinking_text(raw: dict[str, Any]) -> str:
    """The text of Mistral's thinking part: `{"type": "thinking", "thinking": [{"type": "text", "text": ...}]}`."""
    thinking = raw.get("thinking")
    if isinstance(thinking, str):
        return thinking
    pieces = thinking if isinstance(thinking, list) else []
    return "".join(text for piece in pieces if isinstance(piece, dict) and isinstance(text := piece.get("text"), str))


_PARTS = {
    "text": _read_text,
    "image_url": _read_image,
    "input_audio": _read_input_audio,
    "file": _read_file,
    "refusal": _read_refusal,
    "thinking": _read_thinking,
}
_PART_FIELDS = {
    "text": {"type", "text", "cache_control"},
    "image_url": {"type", "image_url", "cache_control"},
    "input_audio": {"type", "input_audio"},
    "file": {"type", "file", "cache_control"},
    "refusal": {"type", "refusal"},
    "thinking": {"type", "thinking", "closed"},
}


def cache_ttl(raw: dict[str, Any]) -> CacheTtl | None:
    """OpenRouter passes Anthropic's breakpoints on: `cache_control: {"type": "ephemeral", "ttl": "5m"}`."""
    control = raw.get("cache_control")
    if not isinstance(control, dict):
        return None
    return "1h" if control.get("ttl") == "1h" else "5m"


def json_text(value: Any) -> str:
    """Tool arguments as JSON text, whether they came as text, as an object (Ollama) or not at all (Cohere)."""
    if isinstance(value, str):
        return value if value.strip() else "{}"
    return "{}" if value is None else msgspec.json.encode(value).decode()


def thought_signature(holder: dict[str, Any]) -> str | None:
    """Gemini's signature where its OpenAI path puts it: `extra_content.google.thought_signature`."""
    extra = holder.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def merge_fields(message: dict[str, Any], fields: dict[str, Any]) -> None:
    """Gives a message the fields we have no form for; a list joins the one that is there already."""
    for name, value in fields.items():
        if isinstance(value, list) and isinstance(there := message.get(name), list):
            message[name] = [*there, *value]
        else:
            message[name] = value

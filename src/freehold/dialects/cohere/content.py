"""Content blocks, tool calls and documents of Cohere's chat, read into canonical parts.

Source: https://docs.cohere.com/reference/chat and the `cohere` SDK's types: text, image_url and thinking blocks in
messages, text and document blocks in tool results, `documents` beside the messages. What is not known stays an
`Opaque`: a block as it came, fields of a known block as `$part` after it.

A tool plan is what the model thinks before it calls tools, in a field of its own; it becomes a thought whose id says
so.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import Document, Image, Opaque, Part, Text, Thinking, ToolCall
from freehold.dialects.media import split_data_url
from freehold.dialects.wire import check_dict, check_str, refuse

DIALECT = "cohere"

PLAN_ID = "plan_"
"""How the id of a thought begins that is a `tool_plan`."""

_BODIES = frozenset({"text", "snippet", "content", "contents", "data"})
"""Names under which a document's `data` usually has its text."""


def is_plan(thought: Thinking) -> bool:
    return thought.id is not None and thought.id.startswith(PLAN_ID)


def read_content(content: Any, path: str) -> list[Part]:
    """A string or an array of blocks. Raises BadRequest."""
    if isinstance(content, str):
        return [Text(content)]
    if content is None:
        return []
    if not isinstance(content, list):
        refuse(path, "a string or an array of content blocks", content)
    parts: list[Part] = []
    for index, raw in enumerate(content):
        place = f"{path}.{index}"
        block = {name: value for name, value in check_dict(raw, place).items() if value is not None}
        reader = _BLOCKS.get(check_str(block.pop("type", None), f"{place}.type"))
        if reader is None:
            parts.append(Opaque(DIALECT, raw))
            continue
        parts.append(reader(block, place))
        if block:
            parts.append(Opaque(DIALECT, {"$part": block}))
    return parts


# Each reader takes its fields out of `block`; what stays is unknown.


def _read_text(block: dict[str, Any], path: str) -> Part:
    return Text(check_str(block.pop("text", None), f"{path}.text"))


def _read_thinking(block: dict[str, Any], path: str) -> Part:
    return Thinking(check_str(block.pop("thinking", None), f"{path}.thinking"))


def _read_image(block: dict[str, Any], path: str) -> Part:
    image = check_dict(block.pop("image_url", None), f"{path}.image_url")
    url = check_str(image.get("url"), f"{path}.image_url.url")
    detail = image.get("detail")
    media_type, data = split_data_url(url) or (None, None)
    return Image(
        media_type=media_type,
        data=data,
        url=url if data is None else None,
        detail=None if detail is None else check_str(detail, f"{path}.image_url.detail"),
    )


def _read_document_block(block: dict[str, Any], path: str) -> Part:
    return read_document(block.pop("document", None), f"{path}.document")


_BLOCKS = {
    "text": _read_text,
    "thinking": _read_thinking,
    "image_url": _read_image,
    "document": _read_document_block,
}


def read_document(raw: Any, path: str) -> Document:
    """A string, or an object with `data` (an object of any fields, or text) and an `id`.

    The model is shown names and values of all fields, so a document that is more than a title and a text is put into
    words the same way for others.
    """
    if isinstance(raw, str):
        return Document(media_type="text/plain", text=raw, raw=raw)
    data = check_dict(raw, path).get("data")
    if isinstance(data, str):
        return Document(media_type="text/plain", text=data, raw=raw)
    fields = dict(check_dict(data, f"{path}.data"))
    title = fields.pop("title") if isinstance(fields.get("title"), str) else None
    if len(fields) == 1 and (name := next(iter(fields))) in _BODIES and isinstance(fields[name], str):
        text = fields[name]
    else:
        text = "\n".join(f"{name}: {_plain(value)}" for name, value in fields.items())
    return Document(media_type="text/plain", text=text, title=title, raw=raw)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def arguments_text(value: Any) -> str:
    """Tool arguments as JSON text; null or empty where the tool takes none."""
    if isinstance(value, str):
        return value if value.strip() else "{}"
    return "{}" if value is None else msgspec.json.encode(value).decode()


def read_call(raw: Any, path: str) -> Part:
    """A call in a request's history. Raises BadRequest."""
    call = check_dict(raw, path)
    if call.get("type", "function") not in ("function", None):
        return Opaque(DIALECT, {"$tool_call": raw})
    function = check_dict(call.get("function"), f"{path}.function")
    return ToolCall(
        check_str(call.get("id") or "", f"{path}.id"),
        check_str(function.get("name"), f"{path}.function.name"),
        arguments_text(function.get("arguments")),
    )

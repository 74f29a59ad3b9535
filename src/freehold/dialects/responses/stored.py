"""Kept responses, as far as bytes go; who keeps them is another's matter.

OpenAI keeps each response with its input, lists that input, and lets a later request name the response instead of
repeating the conversation. A provider that never saw our ids needs the whole of it: `with_history` puts the earlier
items back in front.
"""

from typing import Any

import msgspec
from msgspec import Raw

from freehold.dialects.responses.ids import item_id
from freehold.dialects.wire import check_dict, check_list, decode_field, decode_request
from freehold.errors import BadRequest

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_ENCODER = msgspec.json.Encoder()

_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "compaction": "cmp",
    "web_search_call": "ws",
    "file_search_call": "fs",
    "code_interpreter_call": "ci",
    "image_generation_call": "ig",
    "computer_call": "cu",
    "computer_call_output": "cuo",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "mcp_approval_request": "mcpr",
    "local_shell_call": "lsh",
    "shell_call": "sh",
    "apply_patch_call": "apc",
}
_WITH_STATUS = (
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "computer_call_output",
)
_NAMELESS = ("message", "reasoning", "function_call", "function_call_output", "custom_tool_call")
"""Items that a provider takes without an id, and looks up in vain where it is not its own."""


def stored_items(body: bytes, response: str = "") -> list[dict[str, Any]]:
    """The input items of the request `body`, as `GET /v1/responses/{id}/input_items` lists them, oldest first.

    Each has an id, its own or one made from `response` (the response's id) and its place; messages have their content
    as an array. Raises BadRequest where `body` or its input is malformed.
    """
    raw = decode_request(_FIELDS, body).get("input")
    value = decode_field(raw, "input") if raw is not None else []
    if value is None:
        return []
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    seed = response or bytes(raw or b"").decode("utf-8", "replace")
    return [_item(item, index, seed) for index, item in enumerate(check_list(value, "input"))]


def _item(raw: Any, index: int, seed: str) -> dict[str, Any]:
    item: dict[str, Any] = {"role": "user", "content": raw}
    if not isinstance(raw, str):
        item = dict(check_dict(raw, f"input.{index}"))
    kind = item.get("type") or "message"
    item["type"] = kind
    if not isinstance(kind, str):
        raise BadRequest(f"'input.{index}.type': expected a string.", param=f"input.{index}.type", code="invalid_type")
    if not isinstance(item.get("id"), str):
        item["id"] = item_id(_PREFIXES.get(kind, "item"), seed, index)
    if kind in _WITH_STATUS and item.get("status") is None:
        item["status"] = "completed"
    if kind == "message":
        said = item.get("role") == "assistant"
        content = item.get("content")
        if isinstance(content, str):
            content = [{"type": "output_text" if said else "input_text", "text": content}]
        item["content"] = [_content(part, said) for part in content] if isinstance(content, list) else []
    elif kind == "reasoning" and item.get("summary") is None:
        item["summary"] = []
    elif kind in ("function_call_output", "custom_tool_call_output") and isinstance(item.get("output"), list):
        item["output"] = [_content(part, False) for part in item["output"]]
    return item


def _content(part: Any, said: bool) -> Any:
    """A content part with the fields its type demands."""
    if isinstance(part, str):
        part = {"type": "output_text" if said else "input_text", "text": part}
    if not isinstance(part, dict):
        return part
    if part.get("type") == "output_text" and part.get("annotations") is None:
        return {**part, "annotations": []}
    if part.get("type") == "input_image" and part.get("detail") is None:
        return {**part, "detail": "auto"}
    return part


def with_history(body: bytes, history: list[Any]) -> bytes:
    """The request `body` with the items of `history` before its own input, and no `previous_response_id`.

    `history` holds decoded items: the earlier input and output, oldest first. Ids that only their maker could look up
    are left out, and so are thoughts that nobody but their maker could read. Everything else in `body` stays as it is.
    Raises BadRequest where `body` is no JSON object.
    """
    fields = decode_request(_FIELDS, body)
    raw = bytes(fields.get("input", b"[]"))
    own: list[Any]
    if raw[:1] == b"[":
        own = msgspec.json.decode(raw, type=list[Raw])
    elif raw[:1] == b'"':
        own = [{"role": "user", "content": Raw(raw)}]
    else:
        own = []
    fields.pop("previous_response_id", None)
    earlier = [_replayed(item) for item in history if not _is_unreadable(item)]
    try:
        fields["input"] = Raw(_ENCODER.encode([*earlier, *own]))
    except RecursionError:
        raise BadRequest("The JSON is nested too deeply.", code="invalid_json") from None
    return _ENCODER.encode(fields)


def _is_unreadable(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and item.get("type") == "reasoning"
        and not item.get("encrypted_content")
        and not item.get("content")
    )


def _replayed(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    kind = item.get("type") or "message"
    if kind not in (*_NAMELESS, "custom_tool_call_output"):
        return item
    kept = {name: value for name, value in item.items() if name not in ("id", "status") and value is not None}
    if kind == "message" and isinstance(kept.get("content"), list):
        kept["content"] = [
            {name: value for name, value in part.items() if name != "logprobs"} if isinstance(part, dict) else part
            for part in kept["content"]
        ]
    return kept

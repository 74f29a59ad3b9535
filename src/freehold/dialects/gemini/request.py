"""Reads a Gemini generateContent request into the canonical conversation.

Source of the format: https://ai.google.dev/api/generate-content, Vertex AI's reference and the `google-genai` SDK's
types (3.3.0). The model and whether the answer is streamed stand in the path, so both are arguments. Fields are taken
in camel case and in snake case. What has no canonical place (safetySettings, cachedContent, labels, ...) stands in
`Conversation.unknown` by its camel-case name: this dialect gets it back, others report it.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import Conversation, Part, Text
from freehold.dialects.gemini.contents import Calls, read_contents, read_parts
from freehold.dialects.gemini.proto import DIALECT, message
from freehold.dialects.gemini.settings import read_config, read_tool_config, read_tools
from freehold.dialects.gemini.usage import read_tier
from freehold.dialects.wire import check_str, decode_request
from freehold.errors import BadRequest

_DECODER = msgspec.json.Decoder(dict[str, Any])


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> Conversation:
    """`model` without `models/`. Raises BadRequest, its `param` the dotted path of the field."""
    return read_fields(decode_request(_DECODER, body), model, stream)


def read_fields(body: dict[str, Any], model: str, stream: bool = False) -> Conversation:
    """The conversation of a decoded body."""
    try:
        return _read(message(body, ""), model, stream)
    except RecursionError:
        raise BadRequest("The JSON is nested too deeply.", code="invalid_json") from None


def _read(fields: dict[str, Any], model: str, stream: bool) -> Conversation:
    if "contents" not in fields:
        raise BadRequest("The request has no 'contents'.", param="contents", code="missing_required_parameter")
    named = check_str(fields.pop("model", ""), "model").removeprefix("models/")
    conversation = Conversation(model=model or named, dialect=DIALECT, stream=stream, include_usage=True)
    conversation.turns = read_contents(fields.pop("contents"))
    if "systemInstruction" in fields:
        conversation.system = _read_system(fields.pop("systemInstruction"))
    if "tools" in fields:
        read_tools(conversation, fields.pop("tools"))
    if "toolConfig" in fields:
        read_tool_config(conversation, fields.pop("toolConfig"))
    if "generationConfig" in fields:
        read_config(conversation, fields.pop("generationConfig"))
    if "serviceTier" in fields:
        conversation.service_tier = read_tier(check_str(fields.pop("serviceTier"), "serviceTier"))
    conversation.unknown.update(fields)
    return conversation


def _read_system(value: Any) -> list[Part]:
    """A Content, as the API has it; also a text, or a list of texts, parts or Contents, as SDKs take it."""
    if isinstance(value, str):
        return [Text(value)]
    path = "systemInstruction"
    if isinstance(value, list):
        parts: list[Part] = []
        for index, item in enumerate(value):
            if isinstance(item, dict) and "parts" not in item:
                parts += read_parts([item], f"{path}.{index}", Calls())
            else:
                parts += _read_system(item)
        return parts
    fields = message(value, path)
    if "parts" not in fields and "text" in fields:
        return read_parts([value], path, Calls())
    return read_parts(fields.get("parts", []), f"{path}.parts", Calls())

"""Reads a client's tools and generationConfig into the canonical settings.

Sources: https://ai.google.dev/api/generate-content#generationconfig, https://ai.google.dev/api/caching#Tool and the
`google-genai` SDK's types. What has no canonical place stands in `Conversation.unknown` under its dotted name
(`generationConfig.mediaResolution`, `tools.2.behavior`, `toolConfig.retrievalConfig`); `tools.INDEX` counts the
canonical tools, one for each function.

- Mode VALIDATED is `auto` with strict tools.
- `includeThoughts: false` alone is Google's default and asks for nothing.
- A response schema of type `text/x.enum` stays unknown: no other dialect has it.
"""

from typing import Any

from freehold.dialects.conversation import Conversation, Opaque, OutputFormat, Reasoning, Tool, ToolChoice, Voice
from freehold.dialects.gemini.proto import DIALECT, camel, integer, listing, message, number
from freehold.dialects.gemini.schema import read_json_schema, read_parameters, read_schema
from freehold.dialects.wire import check_bool, check_list, check_str, refuse
from freehold.errors import BadRequest

MAX_CHOICES = 128

_CONFIG = "generationConfig"


def read_tools(conversation: Conversation, value: Any) -> None:
    tools = conversation.tools
    for place, raw in enumerate(listing(value, "tools")):
        path = f"tools.{place}"
        for name, item in message(raw, path).items():
            if name == "functionDeclarations":
                for index, declaration in enumerate(listing(item, f"{path}.{name}")):
                    _read_declaration(conversation, declaration, f"{path}.{name}.{index}")
            else:
                tools.append(Tool(name, opaque=Opaque(DIALECT, {name: item})))


def _read_declaration(conversation: Conversation, raw: Any, path: str) -> None:
    fields = message(raw, path)
    tool = Tool(check_str(fields.pop("name", None), f"{path}.name"))
    if "description" in fields:
        tool.description = check_str(fields.pop("description"), f"{path}.description")
    tool.schema = read_parameters(fields, path)
    place = len(conversation.tools)
    conversation.tools.append(tool)
    for name, item in fields.items():
        conversation.unknown[f"tools.{place}.{name}"] = item


def read_tool_config(conversation: Conversation, value: Any) -> None:
    """Reads after the tools, some of which it makes strict."""
    fields = message(value, "toolConfig")
    calling = fields.pop("functionCallingConfig", None)
    for name, item in fields.items():
        conversation.unknown[f"toolConfig.{name}"] = item
    if calling is None:
        return
    path = "toolConfig.functionCallingConfig"
    config = message(calling, path)
    mode = check_str(config.pop("mode", "AUTO"), f"{path}.mode").upper()
    names = [
        check_str(name, f"{path}.allowedFunctionNames.{index}")
        for index, name in enumerate(check_list(config.pop("allowedFunctionNames", []), f"{path}.allowedFunctionNames"))
    ]
    for name, item in config.items():
        conversation.unknown[f"{path}.{name}"] = item
    if mode == "ANY":
        one = len(names) == 1
        conversation.tool_choice = ToolChoice("tool", names[0]) if one else ToolChoice("required", names=names or None)
    elif mode == "NONE":
        conversation.tool_choice = ToolChoice("none")
    elif mode in ("AUTO", "MODE_UNSPECIFIED", "VALIDATED"):
        conversation.tool_choice = ToolChoice("auto", names=names or None)
        if mode == "VALIDATED":
            for tool in conversation.tools:
                tool.strict = True if tool.opaque is None else None
    else:
        refuse(f"{path}.mode", "'AUTO', 'ANY', 'NONE' or 'VALIDATED'", mode)


def read_config(conversation: Conversation, value: Any) -> None:
    fields = message(value, _CONFIG)
    for name, (field, check) in _SIMPLE.items():
        if name in fields:
            setattr(conversation, field, check(fields.pop(name), f"{_CONFIG}.{name}"))
    if not 1 <= conversation.n <= MAX_CHOICES:
        raise BadRequest(f"'candidateCount' must lie between 1 and {MAX_CHOICES}.", param=f"{_CONFIG}.candidateCount")
    if "stopSequences" in fields:
        given = fields.pop("stopSequences")
        path = f"{_CONFIG}.stopSequences"
        texts = [given] if isinstance(given, str) else check_list(given, path)
        conversation.stop = [check_str(text, f"{path}.{index}") for index, text in enumerate(texts)]
    _read_output(conversation, fields)
    if "thinkingConfig" in fields:
        _read_thinking(conversation, fields.pop("thinkingConfig"))
    if "responseModalities" in fields:
        path = f"{_CONFIG}.responseModalities"
        words = [check_str(word, path).lower() for word in check_list(fields.pop("responseModalities"), path)]
        conversation.modalities = words or None
    if "speechConfig" in fields:
        _read_speech(conversation, fields.pop("speechConfig"))
    for name, item in fields.items():
        conversation.unknown[f"{_CONFIG}.{name}"] = item


def _read_output(conversation: Conversation, fields: dict[str, Any]) -> None:
    kind = check_str(fields.get("responseMimeType", ""), f"{_CONFIG}.responseMimeType").lower()
    if kind not in ("", "application/json", "text/plain"):
        return
    fields.pop("responseMimeType", None)
    schema = None
    if "responseSchema" in fields:
        schema = read_schema(fields.pop("responseSchema"), f"{_CONFIG}.responseSchema")
    if "responseJsonSchema" in fields:
        schema = read_json_schema(fields.pop("responseJsonSchema"), f"{_CONFIG}.responseJsonSchema")
    if schema is not None:
        conversation.output = OutputFormat("schema", schema, strict=True)
        if isinstance(title := schema.get("title"), str):
            conversation.output.name = title
    elif kind == "application/json":
        conversation.output = OutputFormat("json")


def _read_thinking(conversation: Conversation, value: Any) -> None:
    path = f"{_CONFIG}.thinkingConfig"
    fields = message(value, path)
    reasoning = Reasoning()
    if "includeThoughts" in fields:
        reasoning.include = check_bool(fields.pop("includeThoughts"), f"{path}.includeThoughts")
    if "thinkingBudget" in fields:
        budget = integer(fields.pop("thinkingBudget"), f"{path}.thinkingBudget")
        if budget < 0:
            reasoning.adaptive = True
        elif budget == 0:
            reasoning.enabled = False
        else:
            reasoning.budget = budget
    if "thinkingLevel" in fields:
        level = check_str(fields.pop("thinkingLevel"), f"{path}.thinkingLevel").lower()
        if level != "thinking_level_unspecified":
            reasoning.effort = level
    if reasoning != Reasoning() and reasoning != Reasoning(include=False):
        conversation.reasoning = reasoning
    for name, item in fields.items():
        conversation.unknown[f"{path}.{name}"] = item


def _read_speech(conversation: Conversation, value: Any) -> None:
    """One prebuilt voice is canonical; anything more stays unknown. What Gemini speaks is PCM."""
    path = f"{_CONFIG}.speechConfig"
    fields = message(value, path)
    if "voiceConfig" in fields:
        voice = message(fields["voiceConfig"], f"{path}.voiceConfig")
        prebuilt = voice.get("prebuiltVoiceConfig")
        if len(voice) == 1 and isinstance(prebuilt, dict):
            named = {camel(name): item for name, item in prebuilt.items()}
            if set(named) == {"voiceName"}:
                where = f"{path}.voiceConfig.prebuiltVoiceConfig.voiceName"
                conversation.voice = Voice(check_str(named["voiceName"], where), "pcm16")
                del fields["voiceConfig"]
    for name, item in fields.items():
        conversation.unknown[f"{path}.{name}"] = item


_SIMPLE: dict[str, tuple[str, Any]] = {
    "temperature": ("temperature", number),
    "topP": ("top_p", number),
    "topK": ("top_k", integer),
    "candidateCount": ("n", integer),
    "maxOutputTokens": ("max_tokens", integer),
    "seed": ("seed", integer),
    "presencePenalty": ("presence_penalty", number),
    "frequencyPenalty": ("frequency_penalty", number),
    "responseLogprobs": ("logprobs", check_bool),
    "logprobs": ("top_logprobs", integer),
}

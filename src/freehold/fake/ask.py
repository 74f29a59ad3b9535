"""What a request asks for: which dialect and operation by its path, and the few fields a reply depends on.

Decoding is partial: messages stay undecoded bytes unless a rule, an echo or a tool needs them, because the fake is also
the upstream of benchmarks. Paths are matched by their end, so that base URLs with and without `/v1`, and those of
compatible hosts (`/openai/v1`, `/api/v1`, Vertex' long ones) all work.
"""

import re
from typing import Any, Literal
from urllib.parse import parse_qs, unquote

import msgspec
from msgspec import Raw, Struct

from freehold.errors import BadRequest, NotFound

Operation = Literal[
    "chat", "completions", "embeddings", "responses", "messages", "count_tokens", "generate", "gemini_count",
    "gemini_embed", "gemini_embed_batch", "models", "model", "gemini_models", "gemini_model", "control",
]  # fmt: skip
Family = Literal["openai", "responses", "anthropic", "gemini"]

FAMILY: dict[str, Family] = {
    "messages": "anthropic",
    "count_tokens": "anthropic",
    "responses": "responses",
    "generate": "gemini",
    "gemini_count": "gemini",
    "gemini_embed": "gemini",
    "gemini_embed_batch": "gemini",
    "gemini_models": "gemini",
    "gemini_model": "gemini",
}
DIALECT: dict[str, str] = {
    "chat": "chat",
    "completions": "completions",
    "embeddings": "embeddings",
    "responses": "responses",
    "messages": "messages",
    "count_tokens": "messages",
    "models": "models",
    "model": "models",
    "control": "",
} | {name: "gemini" for name, family in FAMILY.items() if family == "gemini"}


class Route(Struct, frozen=True):
    operation: Operation
    model: str = ""
    stream: bool = False
    sse: bool = True
    key: str = ""
    """Gemini's `?key=`."""
    path: str = ""
    dialect: str = ""
    """The name of the operation in rules and in the bill."""


class Request(Struct, gc=False):
    """One HTTP request as it came. Header names are lower case."""

    method: bytes
    url: bytes
    headers: dict[bytes, bytes]
    body: bytes
    started: float
    """Monotonic seconds at its first byte."""
    keep_alive: bool = True
    """False for HTTP/1.0 in any case: its streams end with the connection."""
    http10: bool = False


class ToolSpec(Struct):
    name: str
    schema: dict[str, Any]


class Ask(Struct, gc=False):
    """What the reply depends on."""

    route: Route
    request: Request
    operation: Operation
    model: str = ""
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    messages: Raw | None = None
    tools: Raw | None = None
    tool_choice: Raw | None = None
    output: Raw | None = None
    """Whatever field carries a JSON schema for the answer, undecoded."""

    @property
    def family(self) -> Family:
        return FAMILY.get(self.operation, "openai")

    @property
    def input_tokens(self) -> int:
        return -(-len(self.request.body) // 4)


_ENDS: tuple[tuple[str, Operation], ...] = (
    ("/chat/completions", "chat"),
    ("/completions", "completions"),
    ("/embeddings", "embeddings"),
    ("/responses", "responses"),
    ("/messages/count_tokens", "count_tokens"),
    ("/messages", "messages"),
)
_GEMINI: dict[str, tuple[Operation, bool]] = {
    "generateContent": ("generate", False),
    "streamGenerateContent": ("generate", True),
    "countTokens": ("gemini_count", False),
    "embedContent": ("gemini_embed", False),
    "batchEmbedContents": ("gemini_embed_batch", False),
}
_MODEL_PATH = re.compile(r"/models/([^:]+)(?::(\w+))?$")


def route(url: bytes) -> Route:
    """Finds the operation of a request target. Raises NotFound for paths no provider here has."""
    found = _route(url)
    return msgspec.structs.replace(found, dialect=DIALECT[found.operation])


def _route(url: bytes) -> Route:
    path, _, query = url.decode("latin-1").partition("?")
    path = "/" + path.strip("/")
    if path.startswith("/__fake__"):
        return Route("control", path=path)
    for end, operation in _ENDS:
        if path.endswith(end):
            return Route(operation, path=path)
    options = parse_qs(query)
    key = options.get("key", [""])[0]
    google = "/v1beta" in path or "/v1alpha" in path or "/v1beta1" in path or bool(key)
    if path.endswith("/models"):
        return Route("gemini_models" if google else "models", key=key, path=path)
    if found := _MODEL_PATH.search(path):
        model, verb = unquote(found[1]), found[2]
        if verb in _GEMINI:
            operation, stream = _GEMINI[verb]
            return Route(operation, model, stream, options.get("alt") == ["sse"], key, path)
        if verb is None:
            return Route("gemini_model" if google else "model", model, key=key, path=path)
    raise NotFound(
        f"no such path: {path}", hint="try /v1/chat/completions, /v1/messages or /v1beta/models/MODEL:generateContent"
    )


class _StreamOptions(Struct):
    include_usage: bool | None = None


_ABSENT = Raw(b"null")
"""Default of an undecoded field: msgspec has no optional Raw."""


class _Chat(Struct):
    model: str
    messages: Raw
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None
    tools: Raw = _ABSENT
    tool_choice: Raw = _ABSENT
    response_format: Raw = _ABSENT


class _Completions(Struct):
    model: str
    prompt: Raw
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None


class _Responses(Struct):
    model: str
    input: Raw
    stream: bool | None = None
    tools: Raw = _ABSENT
    tool_choice: Raw = _ABSENT
    text: Raw = _ABSENT


class _Messages(Struct):
    model: str
    messages: Raw
    max_tokens: int
    stream: bool | None = None
    tools: Raw = _ABSENT
    tool_choice: Raw = _ABSENT
    output_format: Raw = _ABSENT
    output_config: Raw = _ABSENT


class _CountTokens(Struct):
    model: str
    messages: Raw


class _Embeddings(Struct):
    model: str
    input: Raw


class _Generate(Struct, rename="camel"):
    contents: Raw
    tools: Raw = _ABSENT
    tool_config: Raw = _ABSENT
    generation_config: Raw = _ABSENT


_chat = msgspec.json.Decoder(_Chat).decode
_others: dict[str, msgspec.json.Decoder[Any]] = {
    "completions": msgspec.json.Decoder(_Completions),
    "responses": msgspec.json.Decoder(_Responses),
    "messages": msgspec.json.Decoder(_Messages),
    "count_tokens": msgspec.json.Decoder(_CountTokens),
    "embeddings": msgspec.json.Decoder(_Embeddings),
    "generate": msgspec.json.Decoder(_Generate),
}


def read(found: Route, request: Request) -> Ask:
    """Reads the fields a reply depends on. Raises BadRequest when the body is not what the operation needs."""
    operation = found.operation
    try:
        if operation == "chat":
            return _read_chat(found, request)
        decoder = _others.get(operation)
        if decoder is None:
            return Ask(found, request, operation, found.model)
        body = decoder.decode(request.body)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error), hint="compare the body with the provider's reference") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}", hint="send a JSON object") from None
    if operation == "generate":
        return Ask(
            found, request, operation, found.model, found.stream, True, 1,
            body.contents, _given(body.tools), _given(body.tool_config), _given(body.generation_config),
        )  # fmt: skip
    ask = Ask(found, request, operation, body.model)
    if operation == "messages":
        ask.messages, ask.tools, ask.tool_choice = body.messages, _given(body.tools), _given(body.tool_choice)
        ask.output = _given(body.output_format) or _given(body.output_config)
        ask.stream = bool(body.stream)
    elif operation == "responses":
        ask.messages, ask.tools, ask.tool_choice = body.input, _given(body.tools), _given(body.tool_choice)
        ask.output = _given(body.text)
        ask.stream = bool(body.stream)
    elif operation == "completions":
        ask.messages, ask.stream, ask.n = body.prompt, bool(body.stream), body.n or 1
        ask.include_usage = bool(body.stream_options and body.stream_options.include_usage)
    return ask


def _given(raw: Raw) -> Raw | None:
    """Returns a field that was sent and is not `null`."""
    return None if raw is _ABSENT or raw == _ABSENT else raw


def _read_chat(found: Route, request: Request) -> Ask:
    body = _chat(request.body)
    options = body.stream_options
    return Ask(
        found, request, "chat", body.model, bool(body.stream), bool(options and options.include_usage), body.n or 1,
        body.messages, _given(body.tools), _given(body.tool_choice), _given(body.response_format),
    )  # fmt: skip


def _json(raw: Raw | None) -> Any:
    """Decodes a raw field; `null` and absence are the same."""
    return None if raw is None else msgspec.json.decode(raw)


def last_user(ask: Ask) -> str:
    """Returns the text of the last user message, or the prompt, or an empty string."""
    messages = _json(ask.messages)
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, list):
        return ""
    if messages and all(isinstance(item, str) for item in messages):
        return str(messages[-1])
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role", "user") == "user":
            text = _text(message.get("content", message.get("parts")))
            if text:
                return text
    return ""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    found = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in found if isinstance(text, str))


def answers_tool(ask: Ask) -> bool:
    """Tells whether the last message carries tool results: then a tool-calling script has had its turn."""
    messages = _json(ask.messages)
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict):
        return False
    if last.get("role") == "tool" or last.get("type") == "function_call_output":
        return True
    parts = last.get("content", last.get("parts"))
    return isinstance(parts, list) and any(
        isinstance(part, dict) and (part.get("type") == "tool_result" or "functionResponse" in part) for part in parts
    )


def tools(ask: Ask) -> list[ToolSpec]:
    """Returns the function tools offered, in order; other kinds of tools are skipped."""
    offered = _json(ask.tools)
    found: list[ToolSpec] = []
    for tool in offered if isinstance(offered, list) else []:
        if not isinstance(tool, dict):
            continue
        if ask.operation == "generate":
            declared = tool.get("functionDeclarations") or tool.get("function_declarations") or []
        else:
            declared = [tool.get("function", tool)]
        for spec in declared:
            if (
                isinstance(spec, dict)
                and isinstance(spec.get("name"), str)
                and spec.get("type") in (None, "function", "custom")
            ):
                parameters: dict[str, Any] = next(
                    (spec[key] for key in _SCHEMA_KEYS if isinstance(spec.get(key), dict)), {}
                )
                found.append(ToolSpec(spec["name"], parameters))
    return found


_SCHEMA_KEYS = ("parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema")


def forced_tool(ask: Ask) -> str | None:
    """Returns the tool the request insists on: its name, "" for any, None when a text will do."""
    choice = _json(ask.tool_choice)
    if isinstance(choice, str):
        return "" if choice == "required" else None
    if not isinstance(choice, dict):
        return None
    if ask.operation == "generate":
        calling = choice.get("functionCallingConfig") or {}
        names = calling.get("allowedFunctionNames") or [""]
        return str(names[0]) if calling.get("mode") == "ANY" else None
    if choice.get("type") == "any":
        return ""
    name = (choice.get("function") or choice).get("name")
    return name if isinstance(name, str) else None


def schema(ask: Ask) -> dict[str, Any] | bool | None:
    """Returns the JSON schema the answer must match, True for any JSON object, None for plain text."""
    output = _json(ask.output)
    if not isinstance(output, dict):
        return None
    wanted: Any
    if ask.operation == "generate":
        wanted = output.get("responseJsonSchema") or output.get("responseSchema")
        return wanted or (output.get("responseMimeType") == "application/json" or None)
    form = output.get("format", output)
    if not isinstance(form, dict):
        return None
    if form.get("type") == "json_object":
        return True
    if form.get("type") != "json_schema":
        return None
    wanted = form.get("schema") or (form.get("json_schema") or {}).get("schema")
    return wanted if isinstance(wanted, dict) else True

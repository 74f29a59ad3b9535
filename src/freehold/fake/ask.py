"""What a request asks for: the few fields a reply depends on, read from the body of each operation (routes.py).

Decoding is partial: messages stay undecoded bytes unless a rule, an echo or a tool needs them, because the fake is also
the upstream of benchmarks.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from freehold.errors import BadRequest
from freehold.fake.routes import FAMILY, Family, Operation, Route


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


_ABSENT = Raw(b"null")
"""Default of an undecoded field: msgspec has no optional Raw."""


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Chat(Struct, kw_only=True):
    model: str
    messages: Raw
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None
    tools: Raw = _ABSENT
    tool_choice: Raw = _ABSENT
    response_format: Raw = _ABSENT


class _Mistral(_Chat, kw_only=True, forbid_unknown_fields=True):
    """All fields of the mistralai SDK's ChatCompletionRequest: any other is answered 422."""

    stream_options: UnsetType = UNSET  # type: ignore[assignment]
    frequency_penalty: Any = None
    guardrails: Any = None
    logprobs: Any = None
    max_tokens: Any = None
    metadata: Any = None
    min_tokens: Any = None
    parallel_tool_calls: Any = None
    prediction: Any = None
    presence_penalty: Any = None
    prompt_cache_key: Any = None
    prompt_logprobs: Any = None
    prompt_mode: Any = None
    random_seed: Any = None
    reasoning_effort: Any = None
    repetition_penalty: Any = None
    safe_prompt: Any = None
    service_tier: Any = None
    stop: Any = None
    temperature: Any = None
    top_k: Any = None
    top_logprobs: Any = None
    top_p: Any = None
    top_prompt_logprobs: Any = None


class _Completions(Struct, kw_only=True):
    model: str
    prompt: Raw
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None


class _Responses(Struct, kw_only=True):
    model: str
    input: Raw
    stream: bool | None = None
    tools: Raw = _ABSENT
    tool_choice: Raw = _ABSENT
    text: Raw = _ABSENT


class _Messages(Struct, kw_only=True):
    model: str
    messages: Raw
    max_tokens: int
    stream: bool | None = None
    tools: Raw = _ABSENT
    tool_choice: Raw = _ABSENT
    output_format: Raw = _ABSENT
    output_config: Raw = _ABSENT


class _CountTokens(Struct, kw_only=True):
    model: str
    messages: Raw


class _Embeddings(Struct, kw_only=True):
    model: str
    input: Raw


class _Generate(Struct, rename="camel"):
    contents: Raw
    tools: Raw = _ABSENT
    tool_config: Raw = _ABSENT
    generation_config: Raw = _ABSENT


class _Converse(Struct, rename="camel"):
    messages: Raw
    tool_config: Raw = _ABSENT
    output_config: Raw = _ABSENT
    model_id: UnsetType = UNSET


class _Cohere(Struct):
    model: str
    messages: Raw
    stream: bool | None = None
    tools: Raw = _ABSENT
    tool_choice: Raw = _ABSENT
    response_format: Raw = _ABSENT


class _Ollama(Struct):
    """Ollama streams unless told not to."""

    model: str
    messages: Raw = _ABSENT
    prompt: Raw = _ABSENT
    stream: bool | None = None
    tools: Raw = _ABSENT
    format: Raw = _ABSENT


# Where the path names the model, the body need not; at Vertex it must not, and says Anthropic's version instead.


class _AzureChat(_Chat, kw_only=True):
    model: str = ""


class _AzureCompletions(_Completions, kw_only=True):
    model: str = ""


class _AzureEmbeddings(_Embeddings, kw_only=True):
    model: str = ""


class _VertexMessages(_Messages, kw_only=True):
    model: UnsetType = UNSET  # type: ignore[assignment]
    anthropic_version: str


class _VertexCount(_CountTokens, kw_only=True):
    anthropic_version: str


_BODIES: dict[tuple[str, str], msgspec.json.Decoder[Any]] = {
    key: msgspec.json.Decoder(body)
    for key, body in {
        ("chat", ""): _Chat,
        ("chat", "azure"): _AzureChat,
        ("mistral_chat", ""): _Mistral,
        ("completions", ""): _Completions,
        ("completions", "azure"): _AzureCompletions,
        ("responses", ""): _Responses,
        ("messages", ""): _Messages,
        ("messages", "vertex"): _VertexMessages,
        ("count_tokens", ""): _CountTokens,
        ("count_tokens", "vertex"): _VertexCount,
        ("embeddings", ""): _Embeddings,
        ("embeddings", "azure"): _AzureEmbeddings,
        ("generate", ""): _Generate,
        ("generate", "vertex"): _Generate,
        ("converse", ""): _Converse,
        ("cohere_chat", ""): _Cohere,
        ("ollama_chat", ""): _Ollama,
        ("ollama_generate", ""): _Ollama,
    }.items()
}
"""By operation and cloud."""
_chat = _BODIES["chat", ""].decode


def read(found: Route, request: Request) -> Ask:
    """Reads the fields a reply depends on. Raises BadRequest when the body is not what the operation needs."""
    operation = found.operation
    try:
        if operation == "chat" and not found.cloud:
            return _read_chat(found, request, _chat(request.body))
        decoder = _BODIES.get((operation, found.cloud))
        if decoder is None:
            return Ask(found, request, operation, found.model)
        body = decoder.decode(request.body)
    except msgspec.ValidationError as error:
        raise BadRequest(
            str(error),
            hint="compare the body with the provider's reference",
            status=422 if operation == "mistral_chat" else None,
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}", hint="send a JSON object") from None
    reader = _READERS.get(operation)
    if reader is not None:
        return reader(found, request, body)
    return Ask(found, request, operation, found.model or body.model)


def _given(raw: Raw) -> Raw | None:
    """Returns a field that was sent and is not `null`."""
    return None if raw is _ABSENT or raw == _ABSENT else raw


def _read_chat(found: Route, request: Request, body: _Chat) -> Ask:
    options = body.stream_options
    return Ask(
        found, request, found.operation, found.model or body.model, bool(body.stream),
        bool(options and options.include_usage), body.n or 1,
        body.messages, _given(body.tools), _given(body.tool_choice), _given(body.response_format),
    )  # fmt: skip


def _read_completions(found: Route, request: Request, body: _Completions) -> Ask:
    options = body.stream_options
    return Ask(
        found, request, found.operation, found.model or body.model, bool(body.stream),
        bool(options and options.include_usage), body.n or 1, body.prompt,
    )  # fmt: skip


def _read_responses(found: Route, request: Request, body: _Responses) -> Ask:
    return Ask(
        found, request, found.operation, body.model, bool(body.stream), True, 1,
        body.input, _given(body.tools), _given(body.tool_choice), _given(body.text),
    )  # fmt: skip


def _read_messages(found: Route, request: Request, body: _Messages) -> Ask:
    if found.cloud and found.stream != bool(body.stream):
        raise BadRequest(f"stream does not go with {found.path.rpartition(':')[2]}", param="stream")
    return Ask(
        found, request, found.operation, found.model or body.model, bool(body.stream), True, 1,
        body.messages, _given(body.tools), _given(body.tool_choice),
        _given(body.output_format) or _given(body.output_config),
    )  # fmt: skip


def _read_generate(found: Route, request: Request, body: _Generate) -> Ask:
    return Ask(
        found, request, found.operation, found.model, found.stream, True, 1,
        body.contents, _given(body.tools), _given(body.tool_config), _given(body.generation_config),
    )  # fmt: skip


def _read_converse(found: Route, request: Request, body: _Converse) -> Ask:
    tools = _given(body.tool_config)
    return Ask(
        found, request, found.operation, found.model, found.stream, True, 1,
        body.messages, tools, tools, _given(body.output_config),
    )  # fmt: skip


def _read_cohere(found: Route, request: Request, body: _Cohere) -> Ask:
    return Ask(
        found, request, found.operation, body.model, bool(body.stream), True, 1,
        body.messages, _given(body.tools), _given(body.tool_choice), _given(body.response_format),
    )  # fmt: skip


def _read_ollama(found: Route, request: Request, body: _Ollama) -> Ask:
    return Ask(
        found, request, found.operation, body.model, body.stream is not False, True, 1,
        _given(body.messages) or _given(body.prompt), _given(body.tools), None, _given(body.format),
    )  # fmt: skip


_READERS: dict[str, Callable[[Route, Request, Any], Ask]] = {
    "chat": _read_chat,
    "mistral_chat": _read_chat,
    "completions": _read_completions,
    "responses": _read_responses,
    "messages": _read_messages,
    "generate": _read_generate,
    "converse": _read_converse,
    "cohere_chat": _read_cohere,
    "ollama_chat": _read_ollama,
    "ollama_generate": _read_ollama,
}
"""The others are asked for nothing but a model."""

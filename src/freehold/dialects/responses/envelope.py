"""The response object around an answer: what it says itself, and what it repeats of the request.

OpenAI's response repeats most settings of its request (`tools`, `instructions`, `temperature`, ...), and the SDKs'
types demand some of them. `echo` takes them out of the request's bytes, undecoded, once; `write_response` puts them
around an answer. Where the request said nothing, the API's documented default stands. Source: the `openai` SDK's
`Response`.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.responses.names import Names, read_names
from freehold.dialects.wire import decode_field, decode_request, one_line
from freehold.errors import UpstreamBroken

_NULL = Raw(b"null")
_ENCODER = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """JSON of what a provider said. Raises UpstreamBroken where that could just be read, and is too deep to write."""
    try:
        return _ENCODER.encode(value)
    except RecursionError:
        raise UpstreamBroken("The provider's answer is nested too deeply.") from None


class Echo(Struct):
    """Fields of a request as its response repeats them, each as the raw JSON the client sent."""

    background: Raw = Raw(b"false")
    instructions: Raw = _NULL
    max_output_tokens: Raw = _NULL
    max_tool_calls: Raw = _NULL
    metadata: Raw = Raw(b"{}")
    parallel_tool_calls: Raw = Raw(b"true")
    previous_response_id: Raw = _NULL
    prompt: Raw = _NULL
    prompt_cache_key: Raw = _NULL
    reasoning: Raw = Raw(b'{"effort":null,"summary":null}')
    safety_identifier: Raw = _NULL
    service_tier: Raw = Raw(b'"auto"')
    store: Raw = Raw(b"true")
    temperature: Raw = _NULL
    text: Raw = Raw(b'{"format":{"type":"text"}}')
    tool_choice: Raw = Raw(b'"auto"')
    tools: Raw = Raw(b"[]")
    top_logprobs: Raw = Raw(b"0")
    top_p: Raw = _NULL
    truncation: Raw = Raw(b'"disabled"')
    user: Raw = _NULL
    conversation: Raw = _NULL

    @property
    def previous(self) -> str | None:
        """`previous_response_id`."""
        value = decode_field(self.previous_response_id, "previous_response_id")
        return value if isinstance(value, str) else None

    @property
    def stored(self) -> bool:
        """Whether the client wants the response kept (`store`, which is true unless it says no)."""
        return bytes(self.store) != b"false"

    @property
    def names(self) -> Names:
        """What the tool names in calls stand for."""
        tools = bytes(self.tools)
        if b'"custom"' not in tools and b'"namespace"' not in tools:
            return Names()
        return read_names(decode_field(tools, "tools"))


_DECODER = msgspec.json.Decoder(Echo)
_PLAIN = Echo()


def echo(body: bytes) -> Echo:
    """What the response to the request `body` repeats, each on one line, as events of a stream want it.

    Raises BadRequest where `body` is no JSON object.
    """
    read = decode_request(_DECODER, body)
    indented = one_line(body) is not body
    for name in Echo.__struct_fields__:
        value = getattr(read, name)
        if value == _NULL:
            setattr(read, name, getattr(_PLAIN, name))
        elif indented:
            setattr(read, name, Raw(one_line(bytes(value))))
    if b'"format"' not in bytes(read.text):
        read.text = Raw(msgspec.json.encode({"format": {"type": "text"}, **_decode_object(read.text, "text")}))
    if isinstance(conversation := decode_field(read.conversation, "conversation"), str):
        read.conversation = Raw(msgspec.json.encode({"id": conversation}))
    return read


def _decode_object(raw: Raw, param: str) -> dict[str, Any]:
    value = decode_field(raw, param)
    return value if isinstance(value, dict) else {}


def write_response(
    repeated: Echo | None,
    *,
    identity: str,
    model: str,
    created: int,
    status: str,
    output: list[Any],
    usage: dict[str, Any] | None = None,
    incomplete: str | None = None,
    error: dict[str, Any] | None = None,
    service_tier: str | None = None,
) -> dict[str, Any]:
    """The whole object, ready for the encoder: values from the request are raw JSON."""
    given = repeated or _PLAIN
    response: dict[str, Any] = {
        "id": identity,
        "object": "response",
        "created_at": created,
        "status": status,
        "background": given.background,
        "error": error,
        "incomplete_details": {"reason": incomplete} if incomplete is not None else None,
        "instructions": given.instructions,
        "max_output_tokens": given.max_output_tokens,
        "max_tool_calls": given.max_tool_calls,
        "model": model,
        "output": output,
        "parallel_tool_calls": given.parallel_tool_calls,
        "previous_response_id": given.previous_response_id,
        "prompt_cache_key": given.prompt_cache_key,
        "reasoning": given.reasoning,
        "safety_identifier": given.safety_identifier,
        "service_tier": service_tier if service_tier is not None else given.service_tier,
        "store": given.store,
        "temperature": given.temperature,
        "text": given.text,
        "tool_choice": given.tool_choice,
        "tools": given.tools,
        "top_logprobs": given.top_logprobs,
        "top_p": given.top_p,
        "truncation": given.truncation,
        "usage": usage,
        "user": given.user,
        "metadata": given.metadata,
    }
    for name in ("prompt", "conversation"):
        if (value := getattr(given, name)) != _NULL:
            response[name] = value
    return response

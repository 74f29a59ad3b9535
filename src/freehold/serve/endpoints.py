"""What models answer, by path: in which dialect, and what operation it is.

An endpoint reads of a request what routing must know (`peek`), then makes the operation that the call carries out.
Paths work with and without `/v1`, and doubled, because SDKs differ in whether they add it to the base URL. Gemini's
paths hold the model; they are parsed, all others looked up.
"""

from collections.abc import Callable
from typing import NamedTuple

from freehold.call.count import Count
from freehold.call.languages import CLIENT
from freehold.call.operation import Operation, Ways
from freehold.call.operations_media import Images, Speak, Transcribe
from freehold.call.operations_text import Embed, Moderate, Rerank
from freehold.call.talk import Talk
from freehold.dialects import audio, embeddings, gemini, images, messages, moderations, ollama, rerank, responses
from freehold.dialects.audio.transcription import Task
from freehold.dialects.gemini import embed as gemini_embed
from freehold.dialects.ollama import embed as ollama_embed
from freehold.dialects.peek import Peek
from freehold.serve.exchange import Exchange

EVENTS = b"text/event-stream; charset=utf-8"
LINES = b"application/x-ndjson"
JSON = b"application/json"

_FORWARDED = (b"anthropic-beta", b"anthropic-version")


class Endpoint(NamedTuple):
    """`client` is whose errors are written; `kind` what is asked of a model (see classify/facts.py)."""

    client: str
    kind: str
    peek: Callable[[Exchange], Peek]
    operation: Callable[[Exchange, Peek, bool], Operation]
    """From the request, what was peeked, and whether losses are refused."""
    stream: bytes = EVENTS
    """Content-Type of a streamed answer."""


def find(path: str, query: bytes) -> Endpoint | None:
    """Returns what answers at a path, None where no model does."""
    endpoint = _PATHS.get(path)
    if endpoint is None and ":" in path and (call := gemini.parse_path(path)) is not None:
        return _gemini(call.model, call.method, b"alt=sse" in query)
    return endpoint


def _talk(client: str, stream: bytes = EVENTS, kind: str = "chat") -> Endpoint:
    language = CLIENT[client]

    def peek(exchange: Exchange) -> Peek:
        peeked: Peek = language.peek(exchange.body)
        return peeked

    def operation(exchange: Exchange, peeked: Peek, strict: bool) -> Operation:
        return Talk(client, exchange.body, peeked, strict=strict)

    return Endpoint(client, kind, peek, operation, stream)


def _messages() -> Endpoint:
    def operation(exchange: Exchange, peeked: Peek, strict: bool) -> Operation:
        forward = [(name, exchange.headers[name]) for name in _FORWARDED if name in exchange.headers]
        return Talk("messages", exchange.body, peeked, forward=forward, strict=strict)

    return _talk("messages")._replace(operation=operation)


def _responses() -> Endpoint:
    def operation(exchange: Exchange, peeked: Peek, strict: bool) -> Operation:
        return Talk(
            "responses",
            exchange.body,
            peeked,
            strict=strict,
            ways=Ways(write={"echo": responses.echo(exchange.given)}),
        )

    return _talk("responses")._replace(operation=operation)


def _count(client: str, peek: Callable[[bytes], Peek]) -> Endpoint:
    return Endpoint(
        client,
        "chat",
        lambda exchange: peek(exchange.body),
        lambda exchange, peeked, _strict: Count(client, exchange.body, peeked),
    )


def _gemini(model: str, method: str, events: bool) -> Endpoint:
    if method == "countTokens":
        return _count("gemini", lambda body: gemini.peek_count(body, model=model))
    if method in ("embedContent", "batchEmbedContents"):
        return Endpoint(
            "gemini",
            "embeddings",
            lambda exchange: gemini_embed.peek(exchange.body, model=model, method=method),
            lambda exchange, peeked, strict: Embed(
                exchange.body,
                peeked,
                strict=strict,
                request=gemini_embed.read_request(exchange.body, model=model, method=method),
                write=lambda reply: gemini_embed.write_reply(reply, method=method),
            ),
        )
    stream = method == "streamGenerateContent"
    ways = Ways(read={"model": model, "stream": stream}, stream={} if events else {"array": True})
    return Endpoint(
        "gemini",
        "chat",
        lambda exchange: gemini.peek(exchange.body, model=model, stream=stream),
        lambda exchange, peeked, strict: Talk("gemini", exchange.body, peeked, strict=strict, ways=ways),
        EVENTS if events else JSON,
    )


def _ollama_embed(*, old: bool) -> Endpoint:
    read = ollama_embed.read_old_request if old else ollama_embed.read_request
    write = ollama_embed.write_old_reply if old else ollama_embed.write_reply
    return Endpoint(
        "ollama",
        "embeddings",
        lambda exchange: ollama_embed.peek(exchange.body),
        lambda exchange, peeked, strict: Embed(
            exchange.body, peeked, strict=strict, request=read(exchange.body), write=write
        ),
    )


def _rerank(dialect: rerank.RerankDialect | None) -> Endpoint:
    return Endpoint(
        "rerank",
        "rerank",
        lambda exchange: rerank.peek(exchange.body),
        lambda exchange, peeked, strict: Rerank(exchange.body, peeked, dialect, strict=strict),
    )


def _images(kind: images.Kind) -> Endpoint:
    return Endpoint(
        "images",
        "image_generation",
        lambda exchange: images.peek(kind, exchange.body, exchange.content_type),
        lambda exchange, peeked, strict: Images(kind, exchange.body, exchange.content_type, peeked, strict=strict),
    )


def _transcribe(task: Task) -> Endpoint:
    return Endpoint(
        "audio",
        "transcription",
        lambda exchange: audio.peek_transcription(task, exchange.body, exchange.content_type),
        lambda exchange, peeked, strict: Transcribe(task, exchange.body, exchange.content_type, peeked, strict=strict),
    )


_MODERATE = Endpoint(
    "moderations",
    "moderations",
    lambda exchange: moderations.peek(exchange.body),
    lambda exchange, peeked, strict: Moderate(exchange.body, peeked, strict=strict),
)

_OPENAI = {
    "/chat/completions": _talk("chat"),
    "/completions": _talk("completions", kind="completions"),
    "/responses": _responses(),
    "/responses/input_tokens": _count("responses", responses.peek),
    "/messages": _messages(),
    "/messages/count_tokens": _count("messages", messages.peek_count),
    "/embeddings": Endpoint(
        "embeddings",
        "embeddings",
        lambda exchange: embeddings.peek(exchange.body),
        lambda exchange, peeked, strict: Embed(exchange.body, peeked, strict=strict),
    ),
    "/rerank": _rerank(None),
    "/moderations": _MODERATE,
    "/chat/moderations": _MODERATE,
    "/images/generations": _images("generations"),
    "/images/edits": _images("edits"),
    "/images/variations": _images("variations"),
    "/audio/speech": Endpoint(
        "audio",
        "speech",
        lambda exchange: audio.peek_speech(exchange.body),
        lambda exchange, peeked, strict: Speak(exchange.body, peeked, strict=strict),
    ),
    "/audio/transcriptions": _transcribe("transcriptions"),
    "/audio/translations": _transcribe("translations"),
}

_PATHS: dict[str, Endpoint] = {
    **{prefix + path: endpoint for path, endpoint in _OPENAI.items() for prefix in ("/v1", "", "/v1/v1")},
    "/v2/chat": _talk("cohere"),
    # Mistral's SDK asks on OpenAI's paths, in words of its own: its base URL ends in /mistral here.
    **{f"/mistral/v1{path}": endpoint for path, endpoint in _OPENAI.items()},
    "/mistral/v1/chat/completions": _talk("mistral"),
    "/mistral/v1/embeddings": Endpoint(
        "mistral",
        "embeddings",
        lambda exchange: embeddings.peek(exchange.body),
        lambda exchange, peeked, strict: Embed(
            exchange.body,
            peeked,
            strict=strict,
            write=lambda reply: embeddings.write_reply(reply, id=exchange.request_id),
        ),
    ),
    "/v2/rerank": _rerank("cohere"),
    "/api/chat": _talk("ollama", LINES),
    "/api/generate": _talk("ollama_generate", LINES),
    "/api/embed": _ollama_embed(old=False),
    "/api/embeddings": _ollama_embed(old=True),
}

KEEPS = frozenset(prefix + "/responses" for prefix in ("/v1", "", "/v1/v1"))
"""Where answers may be kept for later (see kept.py)."""

LOADS = {"/api/chat": False, "/api/generate": True}
"""Ollama's requests may ask nothing, only that a model be loaded: (path, whether it is generate)."""


def answer_loading(exchange: Exchange, now: float) -> bytes | None:
    """The answer to an Ollama request that only loads or unloads a model, which here is always loaded."""
    generate = LOADS.get(exchange.path)
    return None if generate is None else ollama.answer_loading(exchange.body, int(now), generate)

"""A recorded answer on its way to a client of another dialect, through the gateway's pure code: no socket, no process.

`ask` writes the shortest request of each client dialect; `replay` gives a recording's bytes, cut where the seed says,
to what that request is answered by; `shown` is what the client must then be able to read.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

from readings import Truth
from recorded import Recording

from freehold.call.breaker import Breaker
from freehold.call.languages import CLIENT
from freehold.call.profiles import traits
from freehold.call.talk import Talk, Translation, Ways
from freehold.call.target import Address, Target
from freehold.call.transport import Origin, Pool
from freehold.config.schema import Timeouts
from freehold.decide import Deployment
from freehold.dialects import responses

CLIENTS = ("chat", "responses", "messages", "gemini")

_PATH = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "gemini": "/v1beta/models/{model}:generateContent",
}
_STREAM_PATH = "/v1beta/models/{model}:streamGenerateContent?alt=sse"


def ask(client: str, model: str, stream: bool) -> tuple[str, bytes]:
    """Path and body of the shortest request."""
    path = _STREAM_PATH if stream and client == "gemini" else _PATH[client]
    asked: dict[str, Any]
    if client == "gemini":
        return path.format(model=model), b'{"contents":[{"role":"user","parts":[{"text":"x"}]}]}'
    if client == "responses":
        asked = {"model": model, "input": "x", "store": False}
    else:
        asked = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    if client == "messages":
        asked["max_tokens"] = 100
    if stream:
        asked["stream"] = True
        if client == "chat":
            asked["stream_options"] = {"include_usage": True}
    return path, json.dumps(asked).encode()


def talk(client: str, model: str, stream: bool) -> Talk:
    body = ask(client, model, stream)[1]
    language = CLIENT[client]
    if client == "gemini":
        named: dict[str, Any] = {"model": model, "stream": stream}
        return Talk(client, body, language.peek(body, **named), ways=Ways(read=named))
    ways = Ways(write={"echo": responses.echo(body)}) if client == "responses" else Ways()
    return Talk(client, body, language.peek(body), ways=ways)


def target(provider: str, dialect: str, model: str = "m") -> Target:
    """A deployment that speaks `dialect` and nothing else."""
    paths = {dialect: "/x", dialect + "_stream": "/x"}
    address = Address(Pool(Origin.parse("http://127.0.0.1:1"), connect_timeout=1, limit=1), paths, [], dialect)
    deployment = Deployment(f"{provider}/{model}", provider, model, dialect)
    return Target(deployment, address, traits(provider, model), Timeouts(), Breaker(5, 5))


def pieces(body: bytes, seed: int) -> Iterator[bytes]:
    """The bytes cut at random places; seed 0: whole, 1: one byte at a time."""
    if seed == 0:
        yield body
        return
    cut = random.Random(seed)
    while body:
        size = 1 if seed == 1 else cut.choice([1, 7, 60, 700, 5000])
        yield body[:size]
        body = body[size:]


def replay(recording: Recording, client: str, dialect: str, seed: int = 0) -> str:
    """What the client gets. Raises what the gateway would answer an error for."""
    prepared = talk(client, "m", recording.streamed).prepare(target(recording.provider, dialect))
    if recording.status >= 400:
        raise prepared.read_error(recording.status, {}, recording.body.encode())
    if not recording.streamed:
        return prepared.read(recording.body.encode())[0].decode()
    relay = prepared.relay()
    out = [relay.feed(piece) for piece in pieces(recording.body.encode(), seed)]
    if relay.failed is None:
        out.append(relay.close())
    elif isinstance(relay, Translation):
        from freehold.errors import UpstreamBroken

        out.append(relay.fail(UpstreamBroken(relay.failed.message), "req_1"))
    return b"".join(out).decode()


def shown(truth: Truth, client: str, dialect: str) -> Truth | None:
    """What a client of a dialect can read of an answer that came in another; each difference with its reason.

    None: the client is told an error instead.
    """
    if client == dialect:
        return truth
    if truth.finish == "error" and client in ("messages", "responses"):
        # A model that failed (Gemini's UNEXPECTED_TOOL_CALL) has no stop reason here, and must not look finished.
        return None
    if truth.finish == "stop" and truth.calls:
        # OpenAI says `stop` where the request forced the call. Elsewhere an answer that holds calls waits for them.
        truth = truth._replace(finish="tool_calls")
    if client == "gemini":
        # usageMetadata has no class for what was written to a cache: it is part of the prompt.
        truth = truth._replace(written=0)
    if client == "gemini" and dialect != "gemini" and truth.refusal:
        # Gemini has no part for a refusal: its words are text.
        truth = truth._replace(text=truth.text + truth.refusal, refusal="")
    if client == "messages" and truth.refusal:
        # Anthropic has no part for a refusal: its words are text, and the stop reason says what they are.
        truth = truth._replace(text=truth.text + truth.refusal, refusal="", finish="content_filter")
    if truth.finish == "pause" and client != "messages":
        # Only Anthropic has pause_turn. It is unfinished and must not look like a stop.
        truth = truth._replace(finish="length")
    return truth

"""The gateway's pure code with a trap in it: what a provider receives of a request, what a client gets of an answer.

No socket, no process: a `Talk` is prepared for a deployment that speaks one dialect and nothing else, which is what the
gateway itself does (freehold.call.talk). `Upstream` is for what only bytes on a socket show: a provider that answers as
its script says.
"""

import json
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from readings import STREAM, WHOLE, Truth, events
from replaying import pieces, target

from freehold.call.languages import CLIENT
from freehold.call.talk import Talk, Translation, Ways
from freehold.dialects import responses
from freehold.dialects.eventstream import write_event
from freehold.errors import FreeholdError, UpstreamBroken

__all__ = [
    "CLIENTS",
    "PNG",
    "PROVIDERS",
    "Upstream",
    "asked",
    "events",
    "frames",
    "heard",
    "sent",
    "sse",
    "streamed",
    "told",
    "whole",
]

CLIENTS = ("chat", "responses", "messages", "gemini", "ollama", "cohere", "mistral")
"""Client dialects of conversations that answer in messages; `completions` and `ollama_generate` only complete text."""
PROVIDERS = ("chat", "responses", "messages", "gemini", "converse", "cohere", "mistral", "ollama")
PNG = b64encode(b"\x89PNG\r\n\x1a\n0000IHDR").decode()

_NAMES = {"chat": "openai", "responses": "openai", "messages": "anthropic", "converse": "bedrock"}


def asked(client: str, stream: bool = False, **extra: Any) -> dict[str, Any]:
    """The shortest request of a client dialect, with `extra` fields."""
    body: dict[str, Any] = {"model": "m", "stream": stream}
    match client:
        case "gemini":
            body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        case "responses":
            body |= {"input": "hi", "store": False}
        case "completions" | "ollama_generate":
            body |= {"prompt": "hi"}
        case _:
            body |= {"messages": [{"role": "user", "content": "hi"}]}
    if client == "messages":
        body["max_tokens"] = 100
    if client == "chat" and stream:
        body["stream_options"] = {"include_usage": True}
    return body | extra


def _talk(client: str, body: dict[str, Any], stream: bool, strict: bool = False) -> Talk:
    raw = json.dumps(body).encode()
    language = CLIENT[client]
    if client == "gemini":
        named: dict[str, Any] = {"model": "m", "stream": stream}
        return Talk(client, raw, language.peek(raw, **named), ways=Ways(read=named), strict=strict)
    ways = Ways(write={"echo": responses.echo(raw)}) if client == "responses" else Ways()
    return Talk(client, raw, language.peek(raw), ways=ways, strict=strict)


def sent(
    client: str, body: dict[str, Any], dialect: str, model: str = "m", *, provider: str = "", strict: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """What a provider that speaks `dialect` receives of `body`, and the loss report."""
    talk = _talk(client, body, bool(body.get("stream")), strict)
    prepared = talk.prepare(target(provider or _NAMES.get(dialect, dialect), dialect, model))
    return json.loads(prepared.body), prepared.losses


def whole(client: str, dialect: str, answer: Any, body: dict[str, Any] | None = None, provider: str = "x") -> Any:
    """What the client gets of a whole answer. Raises the error it would be answered with."""
    talk = _talk(client, body or asked(client), False)
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return json.loads(talk.prepare(target(provider, dialect)).read(raw)[0])


def streamed(
    client: str, dialect: str, raw: bytes, seed: int = 0, body: dict[str, Any] | None = None, provider: str = "x"
) -> str:
    """The client's bytes of a stream, cut where the seed says, its end as the gateway writes it."""
    relay = _talk(client, body or asked(client, True), True).prepare(target(provider, dialect)).relay()
    out = []
    failure: FreeholdError | None = None
    for piece in pieces(raw, seed):
        out.append(relay.feed(piece))
        if relay.failed is not None:
            failure = UpstreamBroken(relay.failed.message)
            break
    else:
        out.append(relay.close())
        if not relay.complete:
            failure = UpstreamBroken("the provider's stream ended before its answer was complete")
    if failure is not None and isinstance(relay, Translation):
        out.append(relay.fail(failure, "req_1"))
    return b"".join(out).decode()


def told(client: str, answer: Any) -> Truth:
    """What an SDK reads from a whole answer (a value) or a stream (its text)."""
    if isinstance(answer, str):
        return STREAM[client](answer)
    return WHOLE[client](json.dumps(answer))


def heard(client: str, dialect: str, raw: bytes, seed: int = 0, provider: str = "x") -> Truth:
    """What the client's SDK reads from a stream of a provider."""
    return told(client, streamed(client, dialect, raw, seed, provider=provider))


def sse(*values: Any, done: bool = False, named: bool = False) -> bytes:
    """Values as server-sent events; `named` by their type (Anthropic, Responses), `done` ends with [DONE]."""
    out = b""
    for value in values:
        name = f"event: {value['type']}\n".encode() if named else b""
        out += name + b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"
    return out + (b"data: [DONE]\n\n" if done else b"")


def frames(*values: tuple[str, dict[str, Any]]) -> bytes:
    """Events of a ConverseStream as binary frames."""
    return b"".join(write_event(kind, json.dumps(value).encode()) for kind, value in values)


class Upstream:
    """A provider on loopback. `script(head, body)` yields what is written to the socket; an Event in it is waited for.

    `asked` holds the requests as (head, body); `left` is set when a client has closed its connection early.
    """

    def __init__(self, script: Callable[[str, bytes], Iterator[bytes | threading.Event]]) -> None:
        self.script = script
        self.asked: list[tuple[str, bytes]] = []
        self.left = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as read:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = read.readline()
                if not line:
                    return
                head += line
            length = next(int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:"))
            body = read.read(length)
            self.asked.append((head.decode(), body))
            watch = threading.Thread(target=self._watch, args=(connection,), daemon=True)
            watch.start()
            try:
                for piece in self.script(head.decode(), body):
                    if isinstance(piece, threading.Event):
                        piece.wait(10)
                    else:
                        connection.sendall(piece)
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self.left.set()
            watch.join(10)

    def _watch(self, connection: socket.socket) -> None:
        try:
            if not connection.recv(1):
                self.left.set()
        except OSError:
            pass

    @classmethod
    @contextmanager
    def answering(cls, script: Callable[[str, bytes], Iterator[bytes | threading.Event]]) -> "Iterator[Upstream]":
        upstream = cls(script)
        threading.Thread(target=upstream._accept, daemon=True).start()
        try:
            yield upstream
        finally:
            upstream._listener.close()

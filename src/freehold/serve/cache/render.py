"""A kept answer: from what a client got, whole or streamed, to a canonical reply, and back to what another client gets.

What is read is what the client was sent, so nothing is kept that was not shown: what a rule of `checks` took out is
not in it. Completions and Ollama's generate are client dialects only, and have no reader elsewhere; theirs stand here.

A reply that is given again gets an id of its own, because clients file answers under it. The ids of tool calls and of
thoughts stay as they were: clients send them back, thoughts with signatures that may cover them.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from freehold.call.languages import CLIENT
from freehold.call.operation import Ways
from freehold.dialects import ollama
from freehold.dialects.chat.usage import read_usage
from freehold.dialects.conversation import (
    Audio,
    Choice,
    Document,
    Event,
    Finish,
    Finished,
    Image,
    LogprobsDelta,
    MediaDelta,
    Metered,
    Opaque,
    OpaqueDelta,
    Part,
    Refusal,
    RefusalDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolStarted,
    Usage,
)
from freehold.dialects.gathered import Gatherer
from freehold.dialects.sse import DONE, SseSplitter, parse_event

BATCH = 16 * 1024
"""Bytes of a replayed stream that are written at a time."""
PIECE = 96
"""Characters of an event of a replayed stream: clients that draw text as it comes go on doing so."""
IDS = {"chat": "chatcmpl-", "completions": "cmpl-", "messages": "msg_", "responses": "resp_"}
"""How answers are called in a dialect; in others they have a bare hexadecimal id."""


class Answered(Struct, array_like=True):
    """What is kept of one answer. `said` in a conversation; `body`, the client's own bytes, of anything else."""

    deployment: str
    provider: str
    model: str
    owned: bool
    stamp: str
    """Names the weights of an owned model; empty for a rented one."""
    lost: list[str]
    usage: Usage | None
    said: "Said | None" = None
    body: bytes = b""
    content_type: bytes | None = None


class Said(Struct, array_like=True):
    """A canonical reply as it is kept. A part has its kind before it, because the types of parts have no tags."""

    model: str
    usage: Usage | None
    service_tier: str | None
    choices: list["Chosen"]


class Chosen(Struct, array_like=True):
    """One choice of it."""

    index: int
    finish: Finish
    stop_sequence: str | None
    refused: bool
    logprobs: Any
    parts: list[tuple[str, msgspec.Raw]]


_KINDS = {kind.__name__: kind for kind in (Text, Image, Document, ToolCall, Thinking, Refusal, Opaque)}
_DECODERS: dict[str, msgspec.msgpack.Decoder[Part]] = {
    name: msgspec.msgpack.Decoder(kind) for name, kind in _KINDS.items()
}
_encode = msgspec.msgpack.Encoder().encode


def packed(reply: Reply) -> Said:
    """The reply as it is kept. It has parts of the kinds that `keepable` lets through."""
    chosen = [
        Chosen(
            one.index,
            one.finish,
            one.stop_sequence,
            one.refused,
            one.logprobs,
            [(type(part).__name__, msgspec.Raw(_encode(part))) for part in one.parts],
        )
        for one in reply.choices
    ]
    return Said(reply.model, reply.usage, reply.service_tier, chosen)


def unpacked(said: Said) -> Reply:
    """The reply again, without an id. Raises LookupError or msgspec.MsgspecError for what is none."""
    choices = [
        Choice(
            [_DECODERS[kind].decode(raw) for kind, raw in one.parts],
            one.finish,
            one.stop_sequence,
            one.refused,
            one.logprobs,
            one.index,
        )
        for one in said.choices
    ]
    return Reply("", said.model, choices, said.usage, 0, said.service_tier)


class Unfit(Exception):
    """An answer that is not to be kept; the word says why."""


def read(client: str, body: bytes, *, stream: bool) -> Reply:
    """Returns what the client was told. Raises Unfit for what is no complete answer, or cannot be read."""
    try:
        reply = _stream(client, body) if stream else _whole(client, body)
    except Unfit:
        raise
    except Exception as error:
        raise Unfit(f"unread ({type(error).__name__})") from error
    if not reply.choices:
        raise Unfit("empty")
    return reply


def _whole(client: str, body: bytes) -> Reply:
    if client == "completions":
        return _completion([msgspec.json.decode(body)])
    if client == "ollama_generate":
        return ollama.read_reply(_as_chat(body))
    reply: Reply = CLIENT[client].read_reply(body)
    return reply


def _stream(client: str, body: bytes) -> Reply:
    if client == "completions":
        return _completion(_events(body))
    if client == "ollama_generate":
        body, client = b"\n".join(_as_chat(line) for line in body.splitlines() if line.strip()) + b"\n", "ollama"
    if client == "gemini" and body.lstrip()[:1] == b"[":
        parts = msgspec.json.decode(body, type=list[msgspec.Raw])
        body = b"".join(b"data: %b\n\n" % bytes(part).replace(b"\n", b" ") for part in parts)
    reader, gatherer = CLIENT[client].StreamReader(), Gatherer()
    gatherer.add(reader.feed(body))
    gatherer.add(reader.close())
    if gatherer.failed is not None or not reader.complete:
        raise Unfit("incomplete")
    return gatherer.reply()


def _events(body: bytes) -> list[dict[str, Any]]:
    splitter = SseSplitter()
    found = []
    for raw in (*splitter.feed(body), splitter.close()):
        event = parse_event(raw)
        if event is not None and not event[1].startswith(DONE):
            found.append(msgspec.json.decode(event[1], type=dict[str, Any]))
    return found


def _completion(chunks: Iterable[dict[str, Any]]) -> Reply:
    """`text_completion` objects, which have the same form whole and in pieces."""
    reply, texts, logprobs, ends = Reply("", ""), dict[int, list[str]](), False, dict[int, str]()
    for chunk in chunks:
        if chunk.get("error"):
            raise Unfit("failed")
        reply.id, reply.model = chunk.get("id") or reply.id, chunk.get("model") or reply.model
        if chunk.get("usage"):
            reply.usage = read_usage(chunk["usage"])
        for choice in chunk.get("choices", ()):
            index = choice.get("index") or 0
            texts.setdefault(index, []).append(choice.get("text") or "")
            logprobs = logprobs or choice.get("logprobs") is not None
            if choice.get("finish_reason"):
                ends[index] = choice["finish_reason"]
    if logprobs:
        raise Unfit("logprobs")  # of this dialect have no canonical form
    if ends.keys() != texts.keys():
        raise Unfit("incomplete")
    known = {"stop": "stop", "length": "length", "content_filter": "content_filter"}
    for index in sorted(texts):
        finish: Any = known.get(ends[index], "error")
        reply.choices.append(Choice([Text("".join(texts[index]))], finish, index=index))
    return reply


def _as_chat(line: bytes) -> bytes:
    """An answer of Ollama's generate as one of its chat."""
    fields = msgspec.json.decode(line, type=dict[str, Any])
    if "response" in fields:
        message = {"role": "assistant", "content": fields.pop("response")}
        if fields.get("thinking"):
            message["thinking"] = fields.pop("thinking")
        fields["message"] = message
    return msgspec.json.encode(fields)


def keepable(reply: Reply, *, tools: bool) -> None:
    """Raises Unfit for an answer that was cut short, filtered or refused, or calls tools where those are not kept.

    Fields of a message that have no canonical place (`$fields`) are left out; a block of an unknown kind has one form
    in a stream and another in a whole answer, so an answer with one is not kept.
    """
    for choice in reply.choices:
        choice.parts = [part for part in choice.parts if not _fields(part)]
        if choice.finish not in ("stop", "tool_calls") or choice.refused:
            raise Unfit(f"finish {choice.finish}")
        for part in choice.parts:
            if isinstance(part, Refusal):
                raise Unfit("refusal")
            if isinstance(part, ToolCall) and not tools:
                raise Unfit("tools")
            if isinstance(part, Audio | Opaque):
                raise Unfit("audio" if isinstance(part, Audio) else "unknown block")
    if not any(choice.parts for choice in reply.choices):
        raise Unfit("empty")


def _fields(part: Part) -> bool:
    return isinstance(part, Opaque) and isinstance(part.value, dict) and "$fields" in part.value


def renamed(client: str, reply: Reply) -> Reply:
    """The reply under a new id."""
    identity = IDS.get(client, "") + secrets.token_hex(12)
    choices = [msgspec.structs.replace(one, parts=[_unnamed(part) for part in one.parts]) for one in reply.choices]
    return msgspec.structs.replace(reply, id=identity, choices=choices)


def _unnamed(part: Part) -> Part:
    if isinstance(part, Text | Refusal) and part.item_id is not None:
        return msgspec.structs.replace(part, item_id=None)  # the writer names it after the answer
    return part


def whole(client: str, reply: Reply, created: int, ways: Ways) -> bytes:
    """The whole answer in the client's dialect. `created`: Unix time in seconds."""
    losses: list[str] = []
    reply = msgspec.structs.replace(reply, created=created)
    written: bytes = CLIENT[client].write_reply(reply, losses, created, **ways.write)
    return written


def streamed(client: str, reply: Reply, created: int, ways: Ways, *, include: bool) -> Iterator[bytes]:
    """The same answer as a stream, piece by piece. `include`: whether the client wants the usage in it."""
    writer = CLIENT[client].StreamWriter(reply.id, reply.model, created, include, **ways.write, **ways.stream)
    for event in events(reply, created):
        data = writer.write(event)
        if data:
            yield data
    yield writer.close()


def events(reply: Reply, created: int) -> Iterator[Event]:
    """The canonical events that a reply amounts to: what `Gatherer` gathers into the same reply."""
    yield Started(reply.id, reply.model, created)
    for choice in reply.choices:
        calls = 0
        for part in choice.parts:
            yield from _part(part, choice.index, calls)
            calls += isinstance(part, ToolCall)
        if choice.logprobs is not None:
            yield LogprobsDelta(choice.logprobs, choice.index)
        yield Finished(choice.finish, choice.index, choice.stop_sequence, choice.refused)
    if reply.usage is not None:
        yield Metered(reply.usage)


def _part(part: Part, choice: int, calls: int) -> Iterator[Event]:
    if isinstance(part, Text):
        pieces = _pieces(part.text)
        for place, text in enumerate(pieces):
            signature = part.signature if place == len(pieces) - 1 else None
            yield TextDelta(text, choice, signature, None, part.item_id)
        for citation in part.citations or ():
            yield TextDelta("", choice, None, citation, part.item_id)
    elif isinstance(part, Thinking):
        if part.redacted is not None:
            yield ThinkingDelta(redacted=part.redacted, choice=choice, id=part.id)
            return
        for text in _pieces(part.text):
            yield ThinkingDelta(text, choice=choice, id=part.id)
        if part.signature is not None:
            yield ThinkingDelta(signature=part.signature, choice=choice, id=part.id)
    elif isinstance(part, Refusal):
        yield RefusalDelta(part.text, choice, part.item_id)
    elif isinstance(part, ToolCall):
        yield ToolStarted(calls, part.id, part.name, choice, part.signature, part.custom, part.item_id)
        yield ToolDelta(calls, part.arguments, choice)
    elif isinstance(part, Image | Document | Audio):
        yield MediaDelta(part, choice)
    elif isinstance(part, Opaque):
        yield OpaqueDelta(part.dialect, part.value, choice)


def _pieces(text: str) -> list[str]:
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)] or [""]


def named_anew(body: bytes, identity: str) -> bytes:
    """A whole answer that is no conversation; its id, where it has one, is another."""
    if b'"id"' not in body[:4096]:
        return body
    fields: dict[str, Any] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    if "id" not in fields:
        return body
    return msgspec.json.encode({**fields, "id": identity})


def batched(pieces: Iterable[bytes]) -> list[bytes]:
    """The pieces in fewer ones."""
    batches: list[bytes] = []
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= BATCH:
            batches.append(b"".join(held))
            held, size = [], 0
    return [*batches, b"".join(held)]

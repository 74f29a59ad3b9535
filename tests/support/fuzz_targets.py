"""Every parser of bytes that strangers send, as a function from bytes that returns unless there is a bug.

A target lets through what its parser documents (FreeholdError and its like) and raises everything else. `scripts/fuzz`
feeds it until time is up; tests/test_fuzz_corpus.py feeds it what was once found. How a stream is cut into chunks comes
from the bytes themselves, so that an input found once always does the same.
"""

import asyncio
import json
import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from zlib import crc32

import fuzz_weights
import msgspec
from frames import frames, streamed
from mutations import mutated
from whole_requests import REQUESTS

from freehold.call.breaker import Breaker
from freehold.call.languages import CLIENT, ERRORS, PROVIDER
from freehold.call.operation import Operation
from freehold.call.operations_media import Images, Speak, Transcribe
from freehold.call.operations_text import EMBED, MODERATE, RERANK, Embed, Moderate, Rerank
from freehold.call.target import Address, Target
from freehold.call.transport import Connection, Flight, Origin, Pool
from freehold.config.load import loads
from freehold.config.problems import ConfigErrors
from freehold.config.schema import Timeouts
from freehold.config.schema_json import EXAMPLE
from freehold.decide.catalog import Deployment
from freehold.dialects import (
    audio,
    embeddings,
    gemini,
    images,
    messages,
    moderations,
    multipart,
    ollama,
    rerank,
    responses,
)
from freehold.dialects.conversation import (
    Choice,
    Finished,
    LogprobsDelta,
    Metered,
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
from freehold.dialects.eventstream import FrameParser
from freehold.dialects.gemini import embed as gemini_embed
from freehold.dialects.ollama import embed as ollama_embed
from freehold.dialects.ollama.lines import LineSplitter
from freehold.dialects.sse import SseParser, SseSplitter
from freehold.dialects.traits import Traits
from freehold.errors import FreeholdError, UpstreamBroken
from freehold.own.gguf import read_header
from freehold.record.journal import Journal, read_segment
from freehold.serve.exchange import Exchange
from freehold.serve.http import HttpConnection, sweep

CORPUS = Path(__file__).parents[1] / "fuzz_corpus"


class Parser(NamedTuple):
    """`run` raises for a bug only; `seeds` are valid inputs."""

    run: Callable[[bytes], None]
    seeds: list[bytes]


def allowed(action: Callable[[], Any]) -> Any:
    """What `action` returns; None where it says no in a documented way."""
    try:
        return action()
    except (FreeholdError, ConfigErrors) as error:
        if isinstance(error, FreeholdError):
            json.dumps([error.message, error.hint, error.param, error.code, error.status])
        return None


def pieces(data: bytes) -> Iterator[bytes]:
    """`data` in chunks, cut where a random generator says that was seeded with it."""
    rng = random.Random(crc32(data))
    longest = rng.choice((1, 3, 20, 200, 5000))
    at = 0
    while at < len(data):
        size = rng.randint(1, longest)
        yield data[at : at + size]
        at += size


def mutate(data: bytes, seed: int) -> bytes:
    """A JSON document, or one JSON line of a stream, made wrong deep inside; any other bytes with a few changed."""
    rng = random.Random(seed)
    if rng.random() < 0.8:
        lines = data.split(b"\n") if b"\n" in data and data[:1] not in b"{[" else [data]
        spots = [number for number, line in enumerate(lines) if b"{" in line]
        if spots:
            spot = rng.choice(spots)
            start = lines[spot].index(b"{")
            try:
                value = json.loads(lines[spot][start:])
            except (ValueError, RecursionError):
                value = None
            if value is not None:
                lines[spot] = lines[spot][:start] + _made_wrong(value, seed, rng)
                return b"\n".join(lines)
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randint(0, len(changed))
        match rng.randint(0, 3):
            case 0:
                changed[at:at] = rng.choice(_ODD_BYTES)
            case 1:
                del changed[at : at + rng.randint(1, 20)]
            case 2:
                changed[at : at + 1] = bytes([rng.randint(0, 255)])
            case _:
                other = rng.randint(0, len(changed))
                changed[at:at] = changed[other : other + rng.randint(1, 60)]
    return bytes(changed)


def _made_wrong(value: Any, seed: int, rng: random.Random) -> bytes:
    """Odd values in place of some; now and then one that the json module would not write."""
    if rng.random() < 0.8:
        return json.dumps(mutated(value, seed)).encode()
    text = json.dumps(mutated(value, seed, 1, ["@raw@"])).encode()
    return text.replace(b'"@raw@"', rng.choice(_ODD_JSON))


_ODD_JSON = [
    b"1e400", b"-1e400", b"9" * 400, b"1e-400", b"NaN", b'"\\ud83d"', b'"\\udc00\\ud800"', b"[" * 3000 + b"]" * 3000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000, b'[1e400]', b'{"type":"text","text":1e999}', b'"\xff"', b" ", b"{}{}",
]  # fmt: skip
_ODD_BYTES = [
    b"\0", b"\xff", b"\r\n", b"\n\n", b"\r", b'"', b"{", b"}", b"[", b"]", b"1e400", b"9" * 400, b"NaN", b"null", b"-",
    b'"\\ud83d"', b"\xed\xa0\x80", b"data: ", b"event: error\n", b"[DONE]", b"\xef\xbb\xbf", b"\xff\xff\xff\xff", b":",
]  # fmt: skip


# Conversations

REPLY = Reply(
    "id-1",
    "m",
    [
        Choice(
            [Thinking("hm", signature="EqQB"), Text("Rain, perhaps."), ToolCall("c1", "weather", '{"city":"Bern"}')],
            "tool_calls",
        )
    ],
    Usage(uncached=7, output=5),
)
EVENTS: list[Any] = [
    Started("id-1", "m", 1),
    ThinkingDelta("hm"),
    ThinkingDelta("", signature="EqQB"),
    TextDelta("Rain, "),
    TextDelta("perhaps."),
    LogprobsDelta({"content": [{"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}], "refusal": None}),
    ToolStarted(0, "c1", "weather"),
    ToolDelta(0, '{"city":'),
    ToolDelta(0, '"Bern"}'),
    Finished("tool_calls"),
    Metered(Usage(uncached=7, output=5)),
]
CONVERSE = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "EqQB"}}},
                {"text": "Rain."},
                {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Bern"}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12},
}
TRAITS = Traits()


def _client(name: str, data: bytes) -> None:
    language = CLIENT[name]
    where: dict[str, Any] = {"model": "m", "stream": False} if name == "gemini" else {}
    peeked = allowed(lambda: language.peek(data, **where))
    if peeked is not None:
        allowed(
            lambda: language.patch_request(
                data, model="n", traits=TRAITS, stream_usage=True, losses=[], seen=peeked.notes
            )
        )
    conversation = allowed(lambda: language.read_request(data, **where))
    if conversation is not None:
        conversation.model = "anthropic.claude-sonnet-4-5"
        providers = sorted(PROVIDER)
        provider = PROVIDER[providers[crc32(data) % len(providers)]]
        allowed(lambda: provider.write_request(conversation, [], TRAITS))
    match name:
        case "responses":
            allowed(lambda: responses.echo(data))
            allowed(lambda: responses.stored_items(data, "resp_1"))
            allowed(lambda: responses.with_history(data, [{"role": "user", "content": "x"}]))
        case "messages":
            allowed(lambda: messages.estimate_tokens(data))
        case "gemini":
            allowed(lambda: gemini.peek_count(data, model="m"))
            allowed(lambda: gemini.read_count_request(data, model="m"))
        case "ollama" | "ollama_generate":
            allowed(lambda: ollama.answer_loading(data, 1, name == "ollama_generate"))


def _reply(name: str, data: bytes) -> None:
    """A whole answer, and written again in each client's words."""
    reply = allowed(lambda: PROVIDER[name].read_reply(data))
    if reply is not None:
        for client in CLIENT.values():
            allowed(lambda client=client: client.write_reply(reply, [], 1))  # type: ignore[misc]
    for language in (PROVIDER[name], CLIENT.get(name)):
        for verb in ("read_receipt", "as_stream", "read_count"):
            if (read := getattr(language, verb, None)) is not None:
                allowed(lambda read=read: read(data))  # type: ignore[misc]


def _stream(name: str, data: bytes) -> None:
    """A stream, and written again in one client's words."""
    reader = PROVIDER[name].StreamReader()
    clients = sorted(CLIENT)
    writer = CLIENT[clients[crc32(data) % len(clients)]].StreamWriter("id", "m", 1, True)

    def go() -> None:
        for piece in pieces(data):
            for event in reader.feed(piece):
                writer.write(event)
        for event in reader.close():
            writer.write(event)
        if reader.complete:
            writer.close()

    if allowed(lambda: go() or True) is None:
        allowed(lambda: writer.fail(UpstreamBroken("cut"), "req_1"))


def _relay(name: str, data: bytes) -> None:
    """A stream passed through: what comes out must not depend on how it was cut."""
    made: list[bytes] = []
    for cut in (pieces(data), iter([data])):
        relay = CLIENT[name].StreamRelay(False)
        out: list[bytes] = []

        def go(relay: Any = relay, cut: Iterator[bytes] = cut, out: list[bytes] = out) -> bool:
            out.extend(relay.feed(piece) for piece in cut)
            out.append(relay.close())
            return True

        if allowed(go) is not None:
            made.append(b"".join(out))
    if len(made) == 2 and made[0] != made[1]:
        raise AssertionError("the relay's output depends on the chunks")


def _errors(data: bytes) -> None:
    status = 300 + crc32(data) % 300
    for language in {id(module): module for module in (*PROVIDER.values(), *ERRORS.values())}.values():
        if (read := getattr(language, "read_error", None)) is not None:
            error = read(status, {b"retry-after": data[:40], b"content-type": b"application/json"}, data)
            assert isinstance(error, FreeholdError)
            for writer in ERRORS.values():
                writer.write_error(error, "req_1")


# Operations


class _Anywhere(dict[str, str]):
    """Paths of a host that has all of them."""

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        return default if key.endswith("_stream") else "/x"


@lru_cache
def _target(dialect: str) -> Target:
    pool = Pool(Origin.parse("http://127.0.0.1:9"), connect_timeout=1.0, limit=1)
    deployment = Deployment(f"{dialect}/m", dialect, "m", dialect)
    return Target(deployment, Address(pool, _Anywhere(), [], dialect), TRAITS, Timeouts(), Breaker(5, 1.0))


Make = Callable[[bytes], Operation]
FORM, FORM_TYPE = multipart.write_form(
    [
        ("model", "m"),
        ("prompt", "p"),
        ("response_format", "verbose_json"),
        ("language", "en"),
        ("timestamp_granularities[]", "word"),
        ("file", multipart.File(b"RIFF$\0\0\0WAVEfmt ", "a.wav", "audio/wav")),
        ("image", multipart.File(b"\x89PNG\r\n\x1a\n", "a.png", "image/png")),
    ]
)
MAKES: dict[str, tuple[Make, list[str], bytes]] = {
    "embeddings": (lambda b: Embed(b, embeddings.peek(b)), sorted(EMBED), b""),
    "gemini_embed": (
        lambda b: Embed(
            b,
            gemini_embed.peek(b, model="m", method="embedContent"),
            request=gemini_embed.read_request(b, model="m", method="embedContent"),
            write=partial(gemini_embed.write_reply, method="embedContent"),
        ),
        sorted(EMBED),
        b"",
    ),
    "ollama_embed": (
        lambda b: Embed(b, ollama_embed.peek(b), request=ollama_embed.read_request(b), write=ollama_embed.write_reply),
        sorted(EMBED),
        b"",
    ),
    "rerank": (lambda b: Rerank(b, rerank.peek(b), None), sorted(RERANK), b""),
    "moderations": (lambda b: Moderate(b, moderations.peek(b)), sorted(MODERATE), b""),
    "images": (
        lambda b: Images("generations", b, "application/json", images.peek("generations", b, "application/json")),
        ["chat", "gemini"],
        b"",
    ),
    "image_edits": (
        lambda b: Images("edits", b, "application/json", images.peek("edits", b, "application/json")),
        ["chat", "gemini"],
        b"",
    ),
    "image_form": (
        lambda b: Images("edits", b, FORM_TYPE, images.peek("edits", b, FORM_TYPE)),
        ["chat", "gemini"],
        FORM,
    ),
    "speech": (lambda b: Speak(b, audio.peek_speech(b)), ["chat", "gemini"], b""),
    "transcriptions": (
        lambda b: Transcribe("transcriptions", b, FORM_TYPE, audio.peek_transcription("transcriptions", b, FORM_TYPE)),
        ["chat", "gemini"],
        FORM,
    ),
}
ANSWERS = [
    {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.25]}], "model": "m",
     "usage": {"prompt_tokens": 4, "total_tokens": 4}},
    {"embeddings": {"float": [[0.5, -1.25]]}, "meta": {"billed_units": {"input_tokens": 4}}},
    {"embeddings": [{"values": [0.5, -1.25]}], "usageMetadata": {"promptTokenCount": 4}},
    {"model": "m", "embeddings": [[0.5]], "prompt_eval_count": 4},
    {"id": "r", "results": [{"index": 0, "relevance_score": 0.9, "document": {"text": "rain"}}],
     "meta": {"billed_units": {"search_units": 1}}, "usage": {"total_tokens": 3}},
    {"id": "modr", "model": "m", "results": [{"flagged": True, "categories": {"hate": True},
     "category_scores": {"hate": 0.9}, "category_applied_input_types": {"hate": ["text"]}}]},
    {"created": 1, "data": [{"b64_json": "iVBORw0KGgo=", "revised_prompt": "x"}], "output_format": "png",
     "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "input_tokens_details": {"text_tokens": 1}}},
    {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000",
     "data": "AAAA"}}, {"text": '{"text": "hello"}'}]}, "finishReason": "STOP"}],
     "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2}},
    {"task": "transcribe", "language": "en", "duration": 1.5, "text": "hello", "words": [{"word": "hello", "start": 0,
     "end": 1}], "segments": [{"id": 0, "start": 0, "end": 1, "text": "hello"}], "usage": {"type": "tokens",
     "input_tokens": 1, "output_tokens": 2}},
]  # fmt: skip


def _operation(name: str, data: bytes) -> None:
    make, dialects, _ = MAKES[name]
    operation = allowed(lambda: make(data))
    if operation is not None:
        for dialect in dialects:
            allowed(lambda dialect=dialect: operation.prepare(_target(dialect)))  # type: ignore[misc]


@lru_cache
def _prepared() -> list[Any]:
    """An attempt of each operation with each provider, ready to read an answer."""
    made = []
    for name, (make, dialects, form) in MAKES.items():
        for given in (form, _seed_of(name)):
            for dialect in dialects:
                if (operation := allowed(lambda g=given, m=make: m(g))) is not None:  # type: ignore[misc]
                    made += [(operation, dialect)]
    return made


def _seed_of(name: str) -> bytes:
    if name not in REQUESTS:
        return b""
    body = {**REQUESTS[name]}
    if "stream" in body:
        body["stream"] = True
    return json.dumps(body).encode()


def _answers(data: bytes) -> None:
    """An answer to each operation, whole and as a stream."""
    for operation, dialect in _prepared():
        prepared = allowed(lambda o=operation, d=dialect: o.prepare(_target(d)))  # type: ignore[misc]
        if prepared is None:
            continue
        allowed(lambda p=prepared: p.read(data))  # type: ignore[misc]
        if operation.peek.stream:
            allowed(lambda p=prepared: _through(p.relay(), data))  # type: ignore[misc]


def _through(relay: Any, data: bytes) -> None:
    for piece in pieces(data):
        relay.feed(piece)
    relay.close()


# Framing


def _framing(make: Callable[[], Any], data: bytes) -> None:
    """What is found must not depend on how the bytes were cut."""
    found: list[list[Any]] = []
    for cut in (pieces(data), iter([data])):
        splitter = make()
        seen: list[Any] = []

        def go(splitter: Any = splitter, cut: Iterator[bytes] = cut, seen: list[Any] = seen) -> bool:
            for piece in cut:
                seen.extend(splitter.feed(piece))
            if hasattr(splitter, "close"):
                seen.append(splitter.close())
            return True

        if allowed(go) is not None:
            found.append(seen)
    if len(found) == 2 and found[0] != found[1]:
        raise AssertionError("what is found depends on the chunks")


def _multipart(data: bytes) -> None:
    head, _, body = data.partition(b"\n")
    kind = head.decode("latin-1")
    form = allowed(lambda: multipart.parse(body, kind))
    if form is not None:
        for field in form.fields:
            allowed(lambda field=field: form.read(field))  # type: ignore[misc]
            form.data(field)
        changed = allowed(lambda: form.replaced("model", "other"))
        if changed is not None:
            assert multipart.parse(changed, kind).text("model") == "other"
    allowed(lambda: multipart.replace_field(body, kind, "model", "other"))


class _Transport(asyncio.Transport):
    """Takes everything and sends it nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.sent = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@lru_cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _upstream(data: bytes) -> None:
    """The answer of an upstream over HTTP/1.1."""
    loop = _loop()

    async def go() -> None:
        pool = Pool(Origin.parse("http://127.0.0.1:9"), connect_timeout=1.0, limit=1)
        connection, transport = Connection(pool, loop), _Transport()
        connection.connection_made(transport)
        connection.send(Flight(loop.time()), b"POST / HTTP/1.1\r\n\r\n")
        for piece in pieces(data):
            if connection.closed:
                break
            connection.data_received(piece)
        connection.connection_lost(None)
        try:
            await connection.head()
            connection.fields()
            await connection.read(1 << 20)
        except FreeholdError:
            pass
        finally:
            connection.finish()
            pool.shut()

    loop.run_until_complete(asyncio.wait_for(go(), 5))


def _server(data: bytes) -> None:
    """Requests of a client over HTTP/1.1."""
    loop = _loop()
    failed: list[BaseException] = []

    async def application(exchange: Exchange) -> None:
        try:
            body = await exchange.read(4096)
            exchange.answer(200, b"", b"%d" % len(body))
        except FreeholdError as error:
            if error.status != 499:
                exchange.answer(error.status, b"", b"no")

    async def go() -> None:
        connections: set[HttpConnection] = set()
        connection, transport = HttpConnection(application, loop, connections), _Transport()
        connection.connection_made(transport)
        for piece in pieces(data):
            if transport.closed:
                break
            connection.data_received(piece)
            await asyncio.sleep(0)
        sweep(connections, loop.time() + 1000)
        connection.connection_lost(None)
        for _ in range(3):
            await asyncio.sleep(0)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        done, pending = await asyncio.wait(rest, timeout=1) if rest else (set(), set())
        assert not pending, "an exchange waits for a client that has left"
        failed.extend(error for task in done if (error := task.exception()) is not None)

    loop.set_exception_handler(lambda _, context: failed.append(context.get("exception") or AssertionError(context)))
    loop.run_until_complete(go())
    if failed:
        raise failed[0]


# Files


@lru_cache
def _folder() -> Path:
    """Lives as long as the process."""
    held = tempfile.TemporaryDirectory(prefix="fuzz-")
    _HELD.append(held)
    return Path(held.name)


_HELD: list[Any] = []


def _config(data: bytes) -> None:
    allowed(lambda: loads(data, {"KEY": "value"}, providers=("openai", "anthropic")))


def _journal(data: bytes) -> None:
    path = _folder() / "segment.log"
    path.write_bytes(data)
    offset = 0
    for _ in range(50):
        read = read_segment(path, offset, 7)
        if read.next_offset <= offset:
            break
        offset = read.next_offset


def _gguf(data: bytes) -> None:
    path = _folder() / "model.gguf"
    path.write_bytes(data)
    allowed(lambda: read_header(path))


def _weights(target: fuzz_weights.Target, data: bytes) -> None:
    folder = _folder() / "weights"
    folder.mkdir(exist_ok=True)
    target(allowed, folder, data)


def _paths(data: bytes) -> None:
    text = data.decode("latin-1")
    for path in (text, f"/v1beta/models/{text}:generateContent", f"/v1beta/models/m:{text}", f"/{text}:countTokens"):
        allowed(lambda path=path: gemini.parse_path(path))  # type: ignore[misc]


def _some_gguf() -> bytes:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    pairs = [
        text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"),
        text(b"llama.context_length") + struct.pack("<II", 4, 512),
        text(b"llama.attention.head_count_kv") + struct.pack("<IIQII", 9, 4, 2, 2, 2),
        text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"b"),
    ]
    tensors = [text(b"token_embd.weight") + struct.pack("<IQQIQ", 2, 4, 2, 0, 0)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(32)


def _some_journal() -> bytes:
    from freehold.record.entries import Settlement

    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal", "w0")
        fields = {
            field.name: {"str": "x", "int": 1, "float": 1.0}.get(getattr(field.type, "__name__", ""))
            for field in msgspec.structs.fields(Settlement)
            if field.required
        }
        for _ in range(3):
            journal.append(Settlement(**fields))
        (segment,) = (path for path in (Path(folder) / "journal").iterdir() if path.suffix != ".lock")
        data = segment.read_bytes()[:2000]
        journal.close()
    return data


HTTP_ANSWERS = [
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n0\r\nt: v\r\n\r\n",
    b"HTTP/1.0 500 No\r\n\r\nuntil the end",
]
HTTP_REQUESTS = [
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /a%20b?x=1 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n",
    b"GET http://x/y HTTP/1.0\r\nconnection: keep-alive\r\nupgrade: h2c\r\n\r\n",
]


# All of them


def _language(name: str) -> ModuleType:
    return CLIENT[name]


def _body(name: str) -> bytes:
    return json.dumps(REQUESTS[name]).encode()


def _whole(name: str) -> bytes:
    if name == "converse":
        return json.dumps(CONVERSE).encode()
    written: bytes = CLIENT[name].write_reply(REPLY, [], 1)
    return written


def _streamed(name: str) -> bytes:
    if name == "converse":
        return frames(streamed(CONVERSE))
    writer = CLIENT[name].StreamWriter("id-1", "m", 1, True)
    return b"".join(writer.write(event) for event in EVENTS) + bytes(writer.close())


def _targets() -> dict[str, Parser]:
    found: dict[str, Parser] = {}
    for name in CLIENT:
        found[f"request-{name}"] = Parser(partial(_client, name), [_body(name)])
    for name in PROVIDER:
        found[f"reply-{name}"] = Parser(partial(_reply, name), [_whole(name)])
        found[f"stream-{name}"] = Parser(partial(_stream, name), [_streamed(name)])
    for name, language in CLIENT.items():
        if hasattr(language, "StreamRelay"):
            found[f"relay-{name}"] = Parser(partial(_relay, name), [_streamed(name)])
    for name, (_, _, form) in MAKES.items():
        found[f"request-{name}"] = Parser(partial(_operation, name), [form or _body(name)])
    found["answers"] = Parser(_answers, [json.dumps(answer).encode() for answer in ANSWERS])
    failures = [language.write_error(UpstreamBroken("broken", code="x"), "r") for language in ERRORS.values()]
    found["errors"] = Parser(_errors, failures)
    found["sse"] = Parser(partial(_framing, SseSplitter), [b"event: a\r\ndata: {}\r\n\r\ndata: x\ndata: y\n\n: c\n\n"])
    found["sse-events"] = Parser(partial(_framing, SseParser), [b"\xef\xbb\xbfid: 1\ndata: {}\n\ndata\r\r"])
    found["lines"] = Parser(partial(_framing, LineSplitter), [b'{"a":1}\n\r\n{"b":2}\r\nx'])
    found["eventstream"] = Parser(partial(_framing, FrameParser), [frames(streamed(CONVERSE))])
    found["multipart"] = Parser(_multipart, [FORM_TYPE.encode() + b"\n" + FORM])
    found["http-upstream"] = Parser(_upstream, HTTP_ANSWERS)
    found["http-server"] = Parser(_server, HTTP_REQUESTS)
    found["config"] = Parser(_config, [msgspec.json.encode(EXAMPLE), b"models:\n  a: [openai/x, &b 'c']\nretries: 3\n"])
    found["journal"] = Parser(_journal, [_some_journal()])
    found["gguf"] = Parser(_gguf, [_some_gguf()])
    for name, (target, seeds) in fuzz_weights.targets().items():
        found[name] = Parser(partial(_weights, target), seeds)
    found["gemini-path"] = Parser(_paths, [b"/v1beta/models/gemini-2.5-pro:generateContent", b"tunedModels/a%2Fb"])
    return found


PARSERS: dict[str, Parser] = _targets()

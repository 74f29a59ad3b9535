"""A storm of bad input on every path: each gets a clear 4xx in its dialect's own shape, or a proper answer where it is
legal; memory stays bounded, nothing crashes, and the gateway answers afterwards. That its log holds no traceback is
checked where it is stopped (running.py).
"""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest
from mutations import ODD
from running import KEY, Running, config_for, started
from whole_requests import FORMS, PATHS, REQUESTS, request

MEBIBYTE = 1 << 20
NATIVE = {
    **dict.fromkeys(PATHS, "openai"),
    "messages": "anthropic",
    "count_tokens": "anthropic",
    "gemini": "gemini",
    "gemini_stream": "gemini",
    "gemini_count": "gemini",
    "gemini_embed": "gemini",
    "gemini_embed_batch": "gemini",
    "rerank": "cohere",
}
"""Whose model is asked where it speaks the client's dialect, or carries the operation."""
TRANSLATED = {
    **dict.fromkeys(("chat", "completions", "responses", "gemini", "gemini_stream", "cohere"), "anthropic"),
    **dict.fromkeys(("ollama", "ollama_generate", "mistral", "gemini_count"), "anthropic"),
    **dict.fromkeys(("messages", "embeddings", "ollama_embed", "images", "speech", "count_tokens"), "gemini"),
    "gemini_embed": "openai",
}
"""Whose model is asked so that the request must be read whole."""
PAIRS = [(dialect, provider) for models in (NATIVE, TRANSLATED) for dialect, provider in models.items()]
JSON_PATHS = pytest.mark.parametrize(("dialect", "provider"), PAIRS)


@pytest.fixture(scope="module")
def small(fake: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that takes bodies of one MiB, with a rerank provider and two that take no URLs."""
    folder = tmp_path_factory.mktemp("small")
    text = config_for(fake.url, "breaker: {failures: 100000}\nretries: 0").replace(
        "port: 0,", "port: 0, max_body_mb: 1,"
    )
    more = "".join(
        f'  {name}: {{base_url: "{fake.url}{path}", api_key: "${{UPSTREAM_KEY}}"}}\n'
        for name, path in (("cohere", ""), ("mistral", "/v1"))
    )
    more += f'  local: {{base_url: "{fake.url}", dialect: ollama}}\n'
    config = folder / "freehold.yaml"
    config.write_text(text.replace("keys:\n", more + "keys:\n"))
    with started("up", "--config", str(config), home=folder / "home", UPSTREAM_KEY="sk-upstream-000") as running:
        yield running


# Asking


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Client:
    """One connection that stays open, so that a thousand requests cost no more than they must."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def post(self, path: str, body: Any, kind: str = "application/json", **headers: str) -> Answer:
        sent = {"authorization": f"Bearer {KEY}", "content-type": kind, **headers}
        self._connection.request("POST", path, body, sent)
        answer = self._connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def client(small: Running) -> Iterator[Client]:
    made = Client(small.url)
    yield made
    made.close()


def whole(dialect: str, provider: str) -> tuple[str, dict[str, Any]]:
    return request(dialect, f"{provider}/fake")


# What an error must look like


def assert_clear(dialect: str, answer: Answer, statuses: set[int] | None = None) -> None:
    """A 4xx, one of `statuses` where they are given, in the shape that the dialect's SDK reads."""
    assert 400 <= answer.status < 500, (answer.status, answer.body[:500])
    assert statuses is None or answer.status in statuses, (answer.status, answer.body[:500])
    assert answer.headers["x-request-id"]
    assert answer.headers.get_content_type() == "application/json"
    error = json.loads(answer.body)
    if dialect in ("messages", "count_tokens"):
        assert answer.headers["request-id"] == error["request_id"] == answer.headers["x-request-id"]
        assert error["type"] == "error"
        kinds = {400: "invalid_request_error", 404: "not_found_error", 413: "request_too_large"}
        assert error["error"]["type"] == kinds.get(answer.status, error["error"]["type"])
        message = error["error"]["message"]
    elif dialect.startswith("gemini"):
        assert error["error"]["code"] == answer.status
        if answer.status in (400, 413):
            assert error["error"]["status"] == "INVALID_ARGUMENT"
        message = error["error"]["message"]
    elif dialect.startswith("ollama"):
        message = error["error"]
    elif dialect in ("cohere", "rerank", "mistral"):
        message = error["message"]
    else:
        assert error["error"].keys() >= {"message", "type", "param", "code"}
        assert error["error"]["type"] == ("not_found_error" if answer.status == 404 else "invalid_request_error")
        message = error["error"]["message"]
    assert isinstance(message, str)
    assert message


def assert_clear_or_right(dialect: str, answer: Answer) -> None:
    """What is wrong in one dialect may be a field nobody minds in another: then it must be answered."""
    if answer.status == 200:
        assert answer.body
        assert answer.headers["x-request-id"]
    else:
        assert_clear(dialect, answer)


# The requests themselves are right


@JSON_PATHS
def test_what_the_storm_starts_from_is_answered(client: Client, dialect: str, provider: str) -> None:
    path, body = whole(dialect, provider)
    answer = client.post(path, json.dumps(body))
    assert answer.status == 200, answer.body


# No JSON, or not the JSON that is due

MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \r\n\t",
    "cut": b'{"model": "m", "messages": [{"ro',
    "trailing comma": b'{"model": "m",}',
    "two values": b"{}{}",
    "no quotes": b"{model: m}",
    "single quotes": b"{'model': 'm'}",
    "a form": b"model=m&input=x",
    "a NUL": b"\0",
    "BOM in UTF-16": b'\xff\xfe{\0"\0',
    "array": b"[]",
    "array of objects": b'[{"model": "m"}]',
    "null": b"null",
    "number": b"17",
    "string": b'"model"',
    "true": b"true",
    "deep arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep and open": b"[" * 100_000,
    "NaN": b"NaN",
    "bad UTF-8": b'\xff\xfe\xfd{"model": "m"}',
}


@JSON_PATHS
def test_what_is_no_object_is_a_400(client: Client, dialect: str, provider: str) -> None:
    path, _ = whole(dialect, provider)
    for name, body in MALFORMED.items():
        answer = client.post(path, body)
        assert answer.status == 400, (name, answer.body[:300])
        assert_clear(dialect, answer)


# Right JSON with odd values; each stands in for a field, and as a field that nobody knows

RAW: dict[str, bytes] = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus Infinity": b"-Infinity",
    "bad UTF-8": b'"\xc3\x28\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "raw surrogate": b'"\xed\xa0\x80"',
    "raw control": b'"a\nb"',
}
"""None of it is JSON, wherever it stands."""
LEGAL: dict[str, bytes] = {
    "10^400": b"1" + b"0" * 400,
    "-10^400": b"-1" + b"0" * 400,
    "long float": b"0." + b"1" * 1000,
    "1e400": b"1e400",
    "-1e-400": b"-1e-400",
    "10^5000": b"9" * 5000,
    "lone surrogate": b'"\\ud83d"',
    "reversed surrogates": b'"\\udc00\\ud800"',
    "NUL": b'"\\u0000"',
    "deep array": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "many": b"[" + b"1," * 50_000 + b"1]",
    "same key a thousand times": b"{" + b",".join([b'"a":1'] * 1000) + b"}",
}


def with_raw(body: dict[str, Any], field: str, raw: bytes) -> bytes:
    """`body` with `field` replaced by bytes that need not be JSON."""
    return json.dumps({**body, field: "@"}).encode().replace(b'"@"', raw)


@JSON_PATHS
def test_values_that_are_no_json_are_a_400_wherever_they_stand(client: Client, dialect: str, provider: str) -> None:
    path, body = whole(dialect, provider)
    for name, raw in RAW.items():
        for field in (next(reversed(body)), "something_unknown"):
            answer = client.post(path, with_raw(body, field, raw))
            assert answer.status == 400, (name, field, answer.body[:300])
            assert_clear(dialect, answer)


@JSON_PATHS
def test_extreme_values_are_refused_or_answered(client: Client, dialect: str, provider: str) -> None:
    path, body = whole(dialect, provider)
    fields = [field for field in body if field != "model"]
    for number, (name, raw) in enumerate(LEGAL.items()):
        # Each value in three of the fields, all fields in turn.
        some = {fields[(3 * number + step) % len(fields)] for step in range(3)}
        for field in ("something_unknown", "model", *sorted(some)):
            answer = client.post(path, with_raw(body, field, raw))
            assert answer.status < 500, (name, field, answer.body[:300])
            assert_clear_or_right(dialect, answer)


@JSON_PATHS
def test_each_field_with_the_wrong_type(client: Client, dialect: str, provider: str) -> None:
    path, body = whole(dialect, provider)
    for number, field in enumerate(body):
        for value in ODD[number % 2 :: 2]:  # every second value, both halves in turn
            answer = client.post(path, json.dumps({**body, field: value}))
            assert answer.status < 500, (field, value, answer.body[:300])
            assert_clear_or_right(dialect, answer)
        answer = client.post(path, json.dumps({name: body[name] for name in body if name != field}))
        assert_clear_or_right(dialect, answer)


REQUIRED = {
    "chat": ("model", "messages"),
    "completions": ("model",),
    "responses": ("model",),
    "messages": ("model", "messages", "max_tokens"),
    "count_tokens": ("model", "messages"),
    "gemini": ("contents",),
    "gemini_stream": ("contents",),
    "gemini_embed": ("content",),
    "gemini_embed_batch": ("requests",),
    "ollama": ("model",),
    "ollama_generate": ("model",),
    "ollama_embed": ("model", "input"),
    "cohere": ("model", "messages"),
    "mistral": ("model", "messages"),
    "embeddings": ("model", "input"),
    "rerank": ("model", "query", "documents"),
    "moderations": ("input",),
    "images": ("prompt",),
    "image_edits": ("prompt", "images"),
    "speech": ("model", "input"),
}


@pytest.mark.parametrize("dialect", REQUIRED)
def test_what_a_request_cannot_be_without_is_named(client: Client, dialect: str) -> None:
    path, body = whole(dialect, NATIVE[dialect])
    for field in REQUIRED[dialect]:
        for wrong in (None, True) if field == "contents" else (None, {"a": {}}, True):  # Google takes a lone turn
            given = {name: body[name] for name in body if name != field}
            answer = client.post(path, json.dumps(given if wrong is None else {**given, field: wrong}))
            assert_clear(dialect, answer, {400})
            assert field.encode() in answer.body, (field, wrong, answer.body)


@JSON_PATHS
def test_doubled_keys_are_read_once_or_refused(client: Client, dialect: str, provider: str) -> None:
    path, body = whole(dialect, provider)
    text = json.dumps(body).encode()
    for doubled in (text[:-1] + b"," + text[1:], text[:-1] + b',"model":"nobody/nothing"}', b'{"model":[],' + text[1:]):
        assert_clear_or_right(dialect, client.post(path, doubled))


# Fields, tools and content that nobody knows

UNKNOWN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "chat": lambda part: {"messages": [{"role": "user", "content": [part]}], "tools": [part]},
    "responses": lambda part: {"input": [part, {"role": "user", "content": [part]}], "tools": [part]},
    "messages": lambda part: {"messages": [{"role": "user", "content": [part]}], "tools": [part]},
    "gemini": lambda part: {"contents": [{"role": "user", "parts": [part]}], "tools": [part]},
    "ollama": lambda part: {"messages": [{"role": "user", "content": "x", "new": part}], "tools": [part]},
    "cohere": lambda part: {"messages": [{"role": "user", "content": [part]}], "tools": [part]},
    "mistral": lambda part: {"messages": [{"role": "user", "content": [part]}], "tools": [part]},
}


@pytest.mark.parametrize("dialect", UNKNOWN)
@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "local", "cohere", "mistral"])
def test_unknown_tools_and_content_never_crash(client: Client, dialect: str, provider: str) -> None:
    path, body = whole(dialect, provider)
    for part in (
        {"type": "hologram", "hologram": {"data": [1, {"a": None}]}},
        {"type": "hologram"},
        {"type": None},
        {"type": ""},
        {"type": 7},
        {"type": ["text"]},
        {"type": {"type": "text"}},
        {"type": "text\u0000"},
        {"hologram": {}},
        {},
    ):
        answer = client.post(path, json.dumps({**body, **UNKNOWN[dialect](part), "brand_new": [part]}))
        assert answer.status < 500, (part, answer.body[:300])
        assert_clear_or_right(dialect, answer)


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages", "gemini", "ollama", "cohere"])
def test_unknown_fields_are_carried_or_reported(client: Client, fake: Running, dialect: str) -> None:
    path, body = request(dialect, f"{NATIVE[dialect]}/fake")
    answer = client.post(path, json.dumps({**body, "brand_new": {"x": 1}}))
    assert answer.status == 200, answer.body
    seen = fake.get("/__fake__/requests/last")["body"]
    assert seen.get("brand_new") == {"x": 1} or "brand_new" in answer.headers["x-freehold-lost"]


# URLs


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/a.png", "https://169.254.169.254/latest", "https://localhost/x", "https://["]
)
@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_a_url_that_leads_inside_is_not_fetched(client: Client, dialect: str, url: str) -> None:
    """For a provider that takes bytes only. One that takes URLs gets them, and fetches from where it is."""
    part: dict[str, Any] = {
        "chat": {"type": "image_url", "image_url": {"url": url}},
        "responses": {"type": "input_image", "image_url": url},
        "messages": {"type": "image", "source": {"type": "url", "url": url}},
    }[dialect]
    said = [{"role": "user", "content": [part]}]
    body = {"model": "local/fake", "max_tokens": 9, ("input" if dialect == "responses" else "messages"): said}
    answer = client.post(PATHS[dialect], json.dumps(body))
    assert_clear(dialect, answer, {400})
    assert b"URL" in answer.body or b"no public host" in answer.body
    if dialect != "messages":
        assert json.loads(answer.body)["error"]["param"] == "messages.0.image"


# Much of it

LISTS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "chat": ("messages", lambda n: {"role": ("user", "assistant")[n % 2], "content": "x"}),
    "responses": ("input", lambda n: {"role": "user", "content": "x"}),
    "messages": ("messages", lambda n: {"role": ("user", "assistant")[n % 2], "content": "x"}),
    "count_tokens": ("messages", lambda n: {"role": "user", "content": "x"}),
    "gemini": ("contents", lambda n: {"role": ("user", "model")[n % 2], "parts": [{"text": "x"}]}),
    "ollama": ("messages", lambda n: {"role": "user", "content": "x"}),
    "cohere": ("messages", lambda n: {"role": "user", "content": "x"}),
    "mistral": ("messages", lambda n: {"role": "user", "content": "x"}),
    "embeddings": ("input", lambda n: "x"),  # type: ignore[dict-item,return-value]
    "rerank": ("documents", lambda n: "x"),  # type: ignore[dict-item,return-value]
}


@pytest.mark.parametrize(("dialect", "provider"), [pair for pair in PAIRS if pair[0] in LISTS])
def test_ten_thousand_messages(client: Client, dialect: str, provider: str) -> None:
    path, body = whole(dialect, provider)
    field, make = LISTS[dialect]
    answer = client.post(path, json.dumps({**body, field: [make(n) for n in range(10_000)]}))
    if answer.status != 200:
        assert_clear(dialect, answer, {400})


@pytest.mark.parametrize("dialect", [*PATHS, "image_variations", "transcriptions", "translations"])
def test_a_body_over_the_limit_is_a_413(small: Running, dialect: str) -> None:
    """Announced, it is refused before it is sent; in pieces of unknown number, once it is too much."""
    path = PATHS.get(dialect, FORMS.get(dialect, "")).format(model=f"{NATIVE.get(dialect, 'openai')}/fake")
    announced = sent_raw(small.url, path, b"content-length: 1048577\r\n\r\n{")
    assert_clear(dialect, announced, {413})
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    in_pieces = sent_raw(small.url, path, b"transfer-encoding: chunked\r\n\r\n" + piece * 17)
    assert_clear(dialect, in_pieces, {413})


def sent_raw(url: str, path: str, rest: bytes) -> Answer:
    """The answer to a request that is never sent to its end."""
    host, port = urlsplit(url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n".encode())
        raw.sendall(b"content-type: application/json\r\n" + rest)
        answer = http.client.HTTPResponse(raw, method="POST")
        answer.begin()
        return Answer(answer.status, answer.headers, answer.read())


@pytest.mark.parametrize("length", [b"-1", b"1e9", b"9" * 400, b"0x10", b"+5", b"5, 5", b"\xb2"])
def test_a_length_that_is_none(small: Running, length: bytes) -> None:
    answer = sent_raw(small.url, PATHS["chat"], b"content-length: " + length + b"\r\n\r\n{}")
    assert answer.status in (400, 413)
    assert_clear("chat", answer)


# Forms

BOUNDARY = "multipart/form-data; boundary=B"


def form(*parts: bytes, end: bytes = b"--B--\r\n") -> bytes:
    return b"".join(b"--B\r\n" + part + b"\r\n" for part in parts) + end


def field(name: str, value: bytes, *, filename: str | None = None) -> bytes:
    more = "" if filename is None else f'; filename="{filename}"'
    return f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value


MODEL = field("model", b"openai/fake")
SOUND = field("file", b"RIFF$\0\0\0WAVEfmt ", filename="a.wav")
PICTURE = field("image", b"\x89PNG\r\n\x1a\n", filename="a.png")
PROMPT = field("prompt", b"a cat")
BAD_FORMS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", BOUNDARY),
    "no boundary": (form(MODEL, SOUND, PICTURE, PROMPT), "multipart/form-data"),
    "another boundary": (form(MODEL, SOUND, PICTURE, PROMPT), "multipart/form-data; boundary=C"),
    "boundary too long": (form(MODEL), "multipart/form-data; boundary=" + "x" * 500),
    "no end": (form(MODEL, SOUND, PICTURE, PROMPT, end=b""), BOUNDARY),
    "JSON": (b'{"model": "openai/fake"}', BOUNDARY),
    "no file": (form(MODEL), BOUNDARY),
    "no model": (form(field("model", b""), SOUND), BOUNDARY),
    "no name": (form(b"Content-Disposition: form-data\r\n\r\nx", SOUND, PICTURE, PROMPT), BOUNDARY),
    "no headers": (form(b"\r\nx"), BOUNDARY),
    "model in bad UTF-8": (form(field("model", b"\xff\xfe"), SOUND, PICTURE, PROMPT), BOUNDARY),
    "a million parts": (b"--B\r\n\r\n\r\n" * 90_000 + b"--B--", BOUNDARY),
    "one long header": (form(b"X: " + b"x" * 500_000 + b"\r\n\r\nx"), BOUNDARY),
    "two models": (form(MODEL, field("model", b"anthropic/fake"), SOUND, PICTURE, PROMPT), BOUNDARY),
}


@pytest.mark.parametrize("dialect", FORMS)
def test_broken_forms_are_a_400(client: Client, dialect: str) -> None:
    whole_form = form(MODEL, PICTURE, PROMPT) if dialect.startswith("image") else form(MODEL, SOUND)
    if dialect == "image_variations":
        whole_form = form(MODEL, PICTURE)
    right = client.post(FORMS[dialect], whole_form, BOUNDARY)
    assert right.status == 200, right.body
    for name, (body, kind) in BAD_FORMS.items():
        answer = client.post(FORMS[dialect], body, kind)
        assert answer.status == 400, (name, answer.status, answer.body[:300])
        assert_clear(dialect, answer)
    for name, value in (("n", b"NaN"), ("n", b"9" * 400), ("temperature", b"\xff"), ("stream", b"\0"), ("size", b"[")):
        answer = client.post(FORMS[dialect], form(field(name, value))[:-7] + whole_form, BOUNDARY)
        assert answer.status < 500, (name, value, answer.body[:300])
        assert_clear_or_right(dialect, answer)


# Afterwards


def rss(running: Running) -> int:
    """Bytes of memory that the gateway's processes hold, all together."""
    main = psutil.Process(running.process.pid)
    return sum(process.memory_info().rss for process in (main, *main.children(recursive=True)))


def test_memory_is_bounded_and_the_gateway_goes_on(small: Running) -> None:
    """What the storm above has left behind is not looked at: the same requests again must not add to it."""
    client = Client(small.url)
    bodies = [body for body in (*MALFORMED.values(), b" " * MEBIBYTE, *LEGAL.values()) if len(body) > 50_000]

    def storm() -> None:
        for dialect, provider in PAIRS:
            path, body = whole(dialect, provider)
            for raw in bodies:
                assert client.post(path, raw).status < 500
                assert client.post(path, with_raw(body, "something_unknown", raw)).status < 500

    storm()
    before = rss(small)
    for _ in range(2):
        storm()
    grown = rss(small) - before
    assert grown < 60 * MEBIBYTE
    for dialect, provider in PAIRS:
        path, body = whole(dialect, provider)
        assert client.post(path, json.dumps(body)).status == 200
    client.close()


def test_fifty_mebibytes(gateway: Running) -> None:
    """The limit as it comes: at it a body is taken and answered, a byte over it is a 413."""
    client = Client(gateway.url)
    head, tail = b'{"model":"openai/fake","messages":[{"role":"user","content":"', b'"}]}'
    filling = 50 * MEBIBYTE - len(head) - len(tail)
    before = rss(gateway)
    assert client.post(PATHS["chat"], head + b"x" * filling + tail).status == 200
    client.close()
    client = Client(gateway.url)
    over = iter([head, *[b"x" * MEBIBYTE] * 51, tail])
    try:
        answer = client.post(PATHS["chat"], over)
    except (BrokenPipeError, ConnectionResetError):
        answer = None  # refused before all of it was sent, and the connection closed
    assert answer is None or answer.status == 413
    client.close()
    client = Client(gateway.url)
    assert client.post(PATHS["chat"], json.dumps(whole("chat", "openai")[1])).status == 200
    client.close()
    assert rss(gateway) - before < 300 * MEBIBYTE


def test_every_request_here_has_a_path() -> None:
    assert PATHS.keys() == REQUESTS.keys()

"""Requests with a canary in every place a text can stand, and a gateway whose rented providers keep what reaches them.

The places are not listed by hand: they are all strings of a request that uses nearly everything its dialect has
(whole_requests.py), so a field that is added there is tested from then on.
"""

import copy
import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from faking import fake_here
from running import KEY, Running, started
from whole_requests import PATHS, REQUESTS

from freehold.fake import FakeProvider

Place = tuple[str | int, ...]
CANARIES = {
    "secret": "ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM",
    "credit_card": "4539 1488 0343 6467",
    "us_ssn": "SSN 536-90-4399",
    "iban": "DE89 3704 0044 0532 0130 00",
}
"""By type. None was ever issued."""


class Endpoint(NamedTuple):
    path: str
    streams: str
    """The path of its streams; "" where it has none."""
    model: str
    body: dict[str, Any]
    form: bool = False


def _talks() -> Iterator[tuple[str, Endpoint]]:
    makers = {
        "messages": "anthropic",
        "count": "anthropic",
        "gemini": "gemini",
        "cohere": "cohere",
        "mistral": "mistral",
    }
    for dialect, body in REQUESTS.items():
        if dialect not in PATHS or dialect in ("gemini_stream", "image_edits"):
            continue
        path = PATHS[dialect]
        model = f"{makers.get(dialect.partition('_')[0], 'openai')}/fake"
        streams = path if "count" not in dialect and "embed" not in dialect else ""
        if "generateContent" in path:
            streams = path.replace("generateContent", "streamGenerateContent") + "?alt=sse"
        yield dialect, Endpoint(path, streams, model, copy.deepcopy(body))


ENDPOINTS: dict[str, Endpoint] = {
    **dict(_talks()),
    "embeddings": Endpoint("/v1/embeddings", "", "openai/fake", {"input": ["one", "two"], "user": "u"}),
    "rerank": Endpoint("/v2/rerank", "", "cohere/fake", {"query": "q", "documents": ["one", "two"]}),
    "moderations": Endpoint("/v1/moderations", "", "openai/fake", {"input": ["one", "two"]}),
    "images": Endpoint("/v1/images/generations", "", "openai/fake", {"prompt": "a house", "user": "u"}),
    "speech": Endpoint(
        "/v1/audio/speech", "", "openai/fake", {"input": "hello", "voice": "alloy", "instructions": "softly"}
    ),
    "input_tokens": Endpoint("/v1/responses/input_tokens", "", "openai/fake", {"input": "hi", "instructions": "be"}),
    "edits": Endpoint(
        "/v1/images/edits", "", "openai/fake", {"prompt": "more", "user": "u", "image": b"\x89PNG\r\n\x1a\n"}, form=True
    ),
    "transcriptions": Endpoint(
        "/v1/audio/transcriptions", "", "openai/fake", {"prompt": "names", "file": b"RIFF\xff\xfe"}, form=True
    ),
}


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Every string in a body but the model's name."""
    if here == ("model",):
        return
    if isinstance(value, str):
        yield here
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*here, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*here, index))


def planted(body: dict[str, Any], place: Place, canary: str) -> dict[str, Any]:
    """A copy of `body` with the canary behind the string at `place`, or inside of it where that is JSON."""
    made = copy.deepcopy(body)
    holder: Any = made
    for part in place[:-1]:
        holder = holder[part]
    text = holder[place[-1]]
    if text.startswith("{"):
        holder[place[-1]] = json.dumps({**json.loads(text), "note": f"it is {canary}\nso"})
    else:
        holder[place[-1]] = f"{text}, {canary} "
    return made


class Told(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class House(NamedTuple):
    gateway: Running
    fake: FakeProvider
    kept: list[bytes]
    """Every request that reached the fake, head and body."""
    local: threading.local
    opened: list[http.client.HTTPConnection]
    """By whatever thread."""

    def ask(
        self, endpoint: Endpoint, body: dict[str, Any], *, key: str = KEY, stream: bool = False, model: str = "",
        escaped: str = "", headers: tuple[tuple[str, str], ...] = (),
    ) -> Told:  # fmt: skip
        """`escaped`: this text has each of its characters written as an escape of JSON."""
        model = model or endpoint.model
        path = (endpoint.streams if stream else endpoint.path).replace("{model}", model)
        body = body if "{model}" in endpoint.path else {**body, "model": model}
        kind = "application/json"
        if endpoint.form:
            data, kind = _form(body)
        else:
            if stream and "{model}" not in endpoint.path:
                body["stream"] = True
            elif "stream" in body or endpoint.path.startswith("/api/"):
                body["stream"] = False
            text = json.dumps(body)
            if escaped:
                text = text.replace(escaped, "".join(f"\\u{ord(letter):04x}" for letter in escaped))
            data = text.encode()
        sent = {"authorization": f"Bearer {key}", "content-type": kind, **dict(headers)}
        connection = self._connection()
        connection.request("POST", path, data, sent)
        answer = connection.getresponse()
        return Told(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def close(self) -> None:
        for connection in self.opened:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self.local, "connection", None)
        if found is None:
            found = self.local.connection = http.client.HTTPConnection(urlsplit(self.gateway.url).netloc, timeout=20)
            self.opened.append(found)
        return found

    def reached(self, canary: str) -> bool:
        """Whether the canary has reached a provider that is not cleared for it, in whatever form; forgets the rest."""
        marks = {canary.encode(), json.dumps(canary)[1:-1].encode(), canary.replace(" ", "").encode()}
        found = any(mark in request for request in self.kept for mark in marks)
        self.kept.clear()
        return found

    def requests(self) -> Counter[str]:
        """Requests so far, by the labels of `freehold_requests_total`."""
        name = "freehold_requests_total"
        lines = (line for line in self._metrics().splitlines() if line.startswith(name + "{"))
        pairs = (line.removeprefix(name).rsplit(" ", 1) for line in lines)
        return Counter({labels: int(float(value)) for labels, value in pairs})

    def _metrics(self) -> str:
        connection = self._connection()
        connection.request("GET", "/metrics", headers={"authorization": f"Bearer {KEY}"})
        return connection.getresponse().read().decode()

    def counted(self, direction: str, kind: str, action: str) -> int:
        page = self._metrics()
        start = f'freehold_checks_total{{direction="{direction}",type="{kind}",action="{action}"}} '
        return sum(int(float(line.rpartition(" ")[2])) for line in page.splitlines() if line.startswith(start))


def _form(body: dict[str, Any]) -> tuple[bytes, str]:
    """Bytes are files, called what stands under the empty name."""
    out = []
    for name, value in body.items():
        if not name:
            continue
        if isinstance(value, bytes):
            file = body.get("", "f.bin")
            head = f'form-data; name="{name}"; filename="{file}"\r\ncontent-type: application/octet-stream'
        else:
            head, value = f'form-data; name="{name}"', value.encode()
        out.append(b"--edge\r\ncontent-disposition: " + head.encode() + b"\r\n\r\n" + value + b"\r\n")
    return b"".join(out) + b"--edge--\r\n", "multipart/form-data; boundary=edge"


@contextmanager
def canary_house(folder: Path, config: str, script: dict[str, Any] | None = None) -> Iterator[House]:
    """`config` is added to a file with rented providers, one cleared for everything (`trusted`) and one owned
    (`home`)."""
    with fake_here(script=script) as fake:
        kept: list[bytes] = []
        accept = fake.served.accept

        def keep(row: Any, request: Any) -> None:
            head = b"\n".join(b"%b: %b" % pair for pair in request.headers.items())
            kept.append(request.url + b"\n" + head + b"\n\n" + request.body)
            accept(row, request)

        fake.served.accept = keep  # type: ignore[method-assign]
        path = folder / "freehold.yaml"
        path.write_text(_CONFIG.replace("URL", fake.url) + config)
        with started("up", "--config", str(path), home=folder / "home", UPSTREAM="sk-upstream-000") as gateway:
            house = House(gateway, fake, kept, threading.local(), [])
            yield house
            house.close()


_CONFIG = f"""
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
retries: 0
learn: false
breaker: {{failures: 100000}}
timeouts: {{connect: 2, first_byte: 10, idle: 10, total: 30}}
providers:
  openai:    {{base_url: "URL/v1", api_key: "${{UPSTREAM}}"}}
  anthropic: {{base_url: "URL", api_key: "${{UPSTREAM}}"}}
  gemini:    {{base_url: "URL", api_key: "${{UPSTREAM}}"}}
  cohere:    {{base_url: "URL", api_key: "${{UPSTREAM}}"}}
  mistral:   {{base_url: "URL/v1", api_key: "${{UPSTREAM}}"}}
  trusted:   {{base_url: "URL/v1", api_key: "${{UPSTREAM}}", cleared: restricted+pci+phi, policy: contract}}
  home:      {{base_url: "URL/v1", api_key: "${{UPSTREAM}}", owned: true}}
keys:
  - {{name: ci, key: "{KEY}"}}
"""

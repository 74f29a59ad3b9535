"""Recorded exchanges as a provider: a request that was seen before gets the response that was given then.

A file holds one JSON object a line: `source, index, host, method, uri, request, status, content_type, response` (JSON)
or `response_text` (a stream's text). A request is recognised by its path and its JSON body, ignoring `model`, key order
and the stream's usage option (a gateway may change those); several identical ones are given out in the order they were
recorded, the last one again and again. `x-fake-host` narrows by host, `x-fake-replay: SOURCE:INDEX` names one exchange.
Streamed bodies go out event by event, or with a seed cut at random byte boundaries.
"""

import gzip
import random
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct

from freehold.errors import ConfigError, NotFound
from freehold.fake.ask import Request

_NULL = Raw(b"null")


class Exchange(Struct):
    source: str
    index: int
    host: str
    method: str
    uri: str
    status: int
    request: Any = None
    content_type: str | None = None
    response: Raw = _NULL
    response_text: str | None = None

    @property
    def model(self) -> str:
        return str(self.request.get("model", "")) if isinstance(self.request, dict) else ""

    @property
    def body(self) -> bytes:
        if self.response_text is not None:
            return self.response_text.encode()
        return b"" if self.response == _NULL else bytes(self.response)

    @property
    def streamed(self) -> bool:
        return self.response_text is not None and "event-stream" in (self.content_type or "")


_decode = msgspec.json.Decoder(Exchange).decode
_EVENTS = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r|\Z)", re.DOTALL)


class Replay:
    """The exchanges of one file. Raises ConfigError when it cannot be read."""

    def __init__(self, path: str | Path, rechunk: int | None = None) -> None:
        self._random = None if rechunk is None else random.Random(rechunk)  # noqa: S311 - cuts, no secret
        self._named: dict[str, Exchange] = {}
        self._known: dict[tuple[str, bytes], list[Exchange]] = {}
        self._used: dict[tuple[str, bytes, str], int] = {}
        for number, line in enumerate(_lines(Path(path)), 1):
            try:
                exchange = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ConfigError(
                    f"not an exchange: {error}", where=f"{path}:{number}", hint="one JSON object a line"
                ) from None
            self._named[f"{exchange.source}:{exchange.index}"] = exchange
            key = (_path(exchange.uri), canonical(exchange.request))
            self._known.setdefault(key, []).append(exchange)

    def __len__(self) -> int:
        return len(self._named)

    def find(self, request: Request) -> Exchange | None:
        """Returns the recorded exchange for a request, None when there is none. Raises NotFound for a wrong name."""
        name = request.headers.get(b"x-fake-replay")
        if name is not None:
            found = self._named.get(name.decode("latin-1").strip())
            if found is None:
                raise NotFound("no exchange of that name", hint="x-fake-replay is SOURCE:INDEX of the replay file")
            return found
        try:
            body = msgspec.json.decode(request.body) if request.body else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        key = (_path(request.url.decode("latin-1")), canonical(body))
        host = request.headers.get(b"x-fake-host", b"").decode("latin-1").lower()
        candidates = [one for one in self._known.get(key, ()) if not host or one.host == host]
        if not candidates:
            return None
        turn = self._used.get((*key, host), 0)
        self._used[(*key, host)] = turn + 1
        return candidates[min(turn, len(candidates) - 1)]

    def parts(self, exchange: Exchange) -> list[bytes]:
        """Cuts a streamed body into what is sent at a time."""
        body = exchange.body
        if self._random is None:
            return [part for part in _EVENTS.findall(body) if part]
        parts = []
        start = 0
        while start < len(body):
            size = self._random.choice((1, 2, 3, 5, 9, 17, 40, 120, 500))
            parts.append(body[start : start + size])
            start += size
        return parts


def canonical(body: Any) -> bytes:
    """Returns a request body as bytes that are equal for requests that ask the same."""
    if isinstance(body, dict):
        body = {key: value for key, value in body.items() if key not in ("model", "stream_options")}
        if body.get("stream") is False:
            del body["stream"]
    return msgspec.json.encode(body, order="deterministic")


def _path(uri: str) -> str:
    """The path without a version in front, so that base URLs with and without `/v1` find the same exchange.

    The model in a Gemini or Bedrock path is left out, as it is in bodies.
    """
    path = urlsplit(uri).path.rstrip("/")
    path = re.sub(r"^/(?:v\d\w*/)?", "/", path)
    return re.sub(r"(/models?)/[^/:]+", r"\1/*", path)


def _lines(path: Path) -> list[bytes]:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot read the exchanges: {reason}", where=str(path), hint="name a .jsonl or .jsonl.gz file"
        ) from None
    return [line for line in data.splitlines() if line.strip()]

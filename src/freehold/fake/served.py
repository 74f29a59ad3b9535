"""The provider's own bill: one row for each accepted request, and totals that are exact even when old rows are dropped.

A row is written when the request has been read and before its response is sent: into memory, and with `file` as one
JSON line by a single `os.write`, so that it outlives whatever happens next. How the response ended (complete, cut by a
fault, left by the client) is only known later and stands in memory. Billed are all input tokens of an answered request,
and the output tokens of the content that was handed to the socket; errors cost nothing.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from freehold.errors import ConfigError
from freehold.fake.ask import Request

Ending = Literal["open", "complete", "cut", "client_fin", "client_rst"]
"""open: still being answered. cut: the fake broke it off, as told. client_*: the client left first, by FIN or RST."""

SECRET_HEADERS = (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")


class Row(Struct, gc=False):
    """One request. Times are milliseconds; `at` counts from the fake's start, on the monotonic clock."""

    seq: int
    at: float
    dialect: str
    path: str
    model: str
    client_request_id: str | None
    status: int
    stream: bool
    input_tokens: int
    output_tokens: int
    bytes_in: int
    fault: str | None = None
    rule: str | None = None
    bytes_out: int = 0
    ended: Ending = "open"
    complete: bool = False
    cancelled_after_ms: float | None = None
    """When the client's FIN or RST was seen, from the first byte of its request, if the response was not complete."""


class Totals(Struct):
    requests: int = 0
    complete: int = 0
    cut: int = 0
    cancelled: int = 0
    errors: int = 0
    """Responses with a status of 400 or more."""
    input_tokens: int = 0
    output_tokens: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Report(Struct):
    """What `GET /__fake__/served` returns. `oldest` is the first row still in memory."""

    totals: Totals
    oldest: int
    rows: list[Row]


_FILED = ("seq", "at", "dialect", "path", "model", "client_request_id", "status", "stream", "input_tokens",
          "output_tokens", "bytes_in", "fault", "rule")  # fmt: skip


class Served:
    """The ledger. `rows` are the last `keep`; `last` is the last raw request."""

    def __init__(self, file: "str | Path | None" = None, keep: int = 200_000) -> None:
        self.rows: deque[Row] = deque(maxlen=keep)
        self.totals = Totals()
        self.last: Request | None = None
        self.changed: Callable[[], None] | None = None
        self.began = time.monotonic()
        self._file = -1
        if file is not None:
            try:
                self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            except OSError as error:
                raise ConfigError(
                    f"cannot write the served file: {error.strerror}", where=str(file), hint="name a writable file"
                ) from None

    def accept(self, row: Row, request: Request) -> None:
        """Writes a request down; its response may be sent once this returns."""
        self.last = request
        self.rows.append(row)
        totals = self.totals
        totals.requests += 1
        totals.input_tokens += row.input_tokens
        totals.output_tokens += row.output_tokens
        totals.bytes_in += row.bytes_in
        if row.status >= 400:
            totals.errors += 1
        if self._file >= 0:
            line = {name: getattr(row, name) for name in _FILED}
            os.write(self._file, msgspec.json.encode({**line, "time": time.time()}) + b"\n")
        if self.changed is not None:
            self.changed()

    def end(self, row: Row, ended: Ending, share: float = 1.0, after_ms: float | None = None) -> None:
        """Notes how a response ended; `share` of its content had been sent."""
        if row.ended != "open":
            return
        row.ended = ended
        totals = self.totals
        totals.bytes_out += row.bytes_out
        if ended == "complete":
            row.complete = True
            totals.complete += 1
        else:  # what was not handed over is not billed
            billed = -int(-row.output_tokens * share // 1)
            totals.output_tokens += billed - row.output_tokens
            row.output_tokens = billed
            if ended == "cut":
                totals.cut += 1
            else:
                totals.cancelled += 1
                row.cancelled_after_ms = after_ms
        if self.changed is not None:
            self.changed()

    def report(self, since: int = 0) -> Report:
        """Returns totals and the rows whose `seq` is greater than `since`."""
        rows = [row for row in self.rows if row.seq > since]
        return Report(self.totals, self.rows[0].seq if self.rows else 0, rows)

    def clear(self) -> None:
        """Forgets rows, totals and the last request; the file is left as it is.

        Responses still open belong to the old bill: their end is not counted in the new one.
        """
        for row in self.rows:
            row.ended = "cut" if row.ended == "open" else row.ended
        self.rows.clear()
        self.totals = Totals()
        self.last = None
        if self.changed is not None:
            self.changed()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def described(request: Request) -> dict[str, Any]:
    """Returns a request without its secrets: of credentials only presence and a SHA-256.

    `{method, path, headers, auth: {name: {present, sha256}}, body or body_text, body_sha256}`. The hash is of the bare
    key, so it is the same whichever header carried it.
    """
    auth = {}
    for name in SECRET_HEADERS:
        value = request.headers.get(name)
        key = value.removeprefix(b"Bearer ") if value is not None else None
        auth[name.decode()] = {"present": value is not None, "sha256": sha256(key).hexdigest() if key else None}
    path, _, query = request.url.decode("latin-1").partition("?")
    kept = [term for term in query.split("&") if term and not term.startswith("key=")]
    shown: dict[str, Any] = {
        "method": request.method.decode(),
        "path": path + ("?" + "&".join(kept) if kept else ""),
        "headers": {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in request.headers.items()
            if name not in SECRET_HEADERS
        },
        "auth": auth,
        "body_sha256": sha256(request.body).hexdigest(),
    }
    try:
        msgspec.json.decode(request.body)
        shown["body"] = msgspec.Raw(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        shown["body_text"] = request.body.decode(errors="replace")
    return shown

"""What goes into the fake hub and what comes out: requests, answers, faults, and the list of what was asked."""

from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct, field

FaultKind = Literal[
    "cut", "stall", "slow", "wrong", "status", "whole", "unsatisfiable", "size", "hash", "move", "bare", "garbage"
]


class Fault(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Something that goes wrong, for the next `times` requests whose path ends in a name that matches `path`.

    While a file is sent, after its first `after` bytes:
        cut            the connection is closed
        stall          nothing more comes, the connection stays open
        slow           `rate` bytes a second from here on
        wrong          one byte is another one
    Instead of the file, or of an answer of the API (`path: "api"`):
        status         `status`, with Retry-After where `retry_after` is given
        garbage        200 and something that is no JSON and no model
        whole          Range is ignored: 200 and everything from the start
        unsatisfiable  416 for any Range
    In what the API says about a file, each time, whatever `times` is:
        size, hash     another size or checksum than the file has
        bare           neither size nor checksum, as mirrors do
    Before the answer:
        move           `main` gets a new commit, with `files` (path: text) changed
    """

    kind: FaultKind
    path: str = "*"
    times: int = 1
    after: int = 0
    rate: int = 1024
    status: int = 503
    retry_after: float | None = None
    repo: str = ""
    files: dict[str, str] = field(default_factory=dict)


class Seen(Struct, frozen=True):
    """One request as it came. `storage`: it came to the storage host. `authorized`: it carried a token."""

    method: str
    path: str
    range: str | None
    authorized: bool
    storage: bool
    status: int


class Asked(Struct, frozen=True):
    """A request. `path` is percent-decoded piece by piece, header names are lower case."""

    method: str
    path: list[str]
    query: str
    headers: dict[str, str]
    body: bytes
    storage: bool = False

    @property
    def token(self) -> str | None:
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else None

    def flag(self, name: str) -> bool:
        return parse_qs(self.query).get(name, [""])[0].lower() in ("1", "true", "on", "yes")

    def value(self, name: str, default: str = "") -> str:
        return parse_qs(self.query).get(name, [default])[0]

    def fields(self) -> dict[str, list[str]]:
        """The body, as a form or as JSON. Wrong input is an empty one."""
        if "json" in self.headers.get("content-type", ""):
            try:
                value = msgspec.json.decode(self.body)
            except msgspec.DecodeError:
                return {}
            pairs = value.items() if isinstance(value, dict) else ()
            return {key: [str(one) for one in (part if isinstance(part, list) else [part])] for key, part in pairs}
        return parse_qs(self.body.decode("utf-8", "replace"))


class Answer(Struct):
    """A response. A body that is a path is a file, which may be asked for in ranges."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Path = b""
    ranges: bool = False
    name: str = ""
    """Of the file in its repository; faults are matched against it."""


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, {"content-type": "application/json; charset=utf-8", **named}, msgspec.json.encode(value))

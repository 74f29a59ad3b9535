"""Requests as bytes, with canaries of one label in every place that takes one, in one of several writings.

Which places those are is found out by asking: each is filled alone in a request to an owned model, and kept if that is
answered and the canary arrives, or if it is answered at all (a place may be read here and not be sent on).
"""

import base64
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from canaries import CANARIES, Place
from house import OPEN, House, key_of
from markers import Markers
from rows import FORMS, Row, filled, free, unknown

WRITINGS = ("plain", "escaped", "base64", "url", "split")
"""How canaries stand in a request: as they are, each letter as an escape of JSON, inside of base64, percent-encoded, or
one half here and one there."""
WAYS = ("floor", "claim", "found")
"""What gives a request its label: its key, its client's header, or what detectors find in it."""
FOUND = {"restricted": CANARIES["secret"], "confidential": CANARIES["iban"]}
SESSION = "x-freehold-session"


class Asked(NamedTuple):
    """A request that can be sent, and what is known of it."""

    number: int
    label: str
    path: str
    headers: dict[str, str]
    body: bytes
    canaries: int


class Filler:
    """Makes requests, each with canaries of its own."""

    def __init__(self, markers: Markers) -> None:
        self.markers = markers
        self.sent: dict[int, Asked] = {}
        self.canaries: dict[str, int] = {}
        self.places: dict[str, list[Place]] = {}
        self.loose: dict[str, list[Place]] = {}
        self.able: dict[str, list[str]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def numbered(self, asked: Asked) -> Asked:
        with self._lock:
            self.sent[asked.number] = asked
            self.canaries[asked.label] = self.canaries.get(asked.label, 0) + asked.canaries
        return asked

    def writer(self, label: str, number: int, writing: str) -> Callable[[], str]:
        """Returns what makes one canary after the other, each in the writing."""
        count = itertools.count()
        halves: list[str] = []

        def new() -> str:
            if writing == "split" and halves:
                return halves.pop()
            canary = self.markers.canary(label, number, next(count))
            if writing == "base64":
                return base64.b64encode(f"it is {canary}".encode()).decode()
            if writing == "url":
                return "".join(f"%{ord(letter):02x}" for letter in canary)
            if writing == "split":
                halves.append(canary[15:])
                return canary[:15]
            return canary

        return new

    def request(
        self,
        row: Row,
        label: str,
        model: str,
        *,
        stream: bool = False,
        way: str = "floor",
        writing: str = "plain",
        places: list[Place] | None = None,
        change: Callable[[dict[str, Any], Callable[[], str]], None] | None = None,
        headers: dict[str, str] | None = None,
        around: bool = True,
        as_mail: bool = False,
    ) -> Asked:
        """`places` None: all that are free. `around`: outside of the body and in unknown fields too. `as_mail`: each
        canary is somebody's address, so that it is a finding by itself."""
        number = next(self._numbers)
        new = self.writer(label, number, writing)
        plain = self.writer(label, number, "plain")
        written: list[str] = []

        def noted() -> str:
            written.append(new())
            return f"{written[-1]}@acme-corp.com" if as_mail else written[-1]

        body = filled(row.body, self.places[row.name] if places is None else places, noted)
        if around and row.name not in FORMS:
            body.update(unknown(noted))
        if change is not None:
            change(body, noted)
        if way == "found":
            body["x_note"] = f"hi {FOUND[label]} so"
        sent = {"authorization": f"Bearer {key_of(label) if way == 'floor' else OPEN}"} | (headers or {})
        if way == "claim":
            sent["x-freehold-label"] = label
        path = (row.streams if stream else row.path).replace("{model}", model)
        if around:
            sent |= {name: plain() for name in ("user-agent", "referer", "cookie", "x-own", "anthropic-beta")}
            sent.setdefault(SESSION, plain())
            path += ("&" if "?" in path else "?") + "note=" + plain()
        if "{model}" not in row.path:
            body["model"] = model
            if row.name not in FORMS:
                body = {name: value for name, value in body.items() if name != "stream"}
                if stream or row.path.startswith("/api/"):
                    body["stream"] = stream
        if row.name in FORMS:
            sent["content-type"], data = _form(body, plain)
        else:
            sent["content-type"] = "application/json"
            data = _json(body, written if writing == "escaped" else [])
        return self.numbered(Asked(number, label, path, sent, data, len(written)))

    def calibrate(self, house: House, row: Row, own: str, others: list[str]) -> list[str]:
        """Finds the places of a row: `loose` are those with which `own`, who speaks its language, is asked, `places`
        those that can be translated for all of `others` too. Returns who of the others can be asked at all."""
        key = row.path.rpartition(":")[2] if "{model}" in row.path else row.name
        if key not in self.able:
            self.able[key] = [model for model in others if self._answered(house, row, model, [])]
            if row.name not in self.places:
                self.loose[row.name] = self._found(house, row, [own], free(row.body))
                self.places[row.name] = self._found(house, row, self.able[key], self.loose[row.name])
                assert self.places[row.name], f"{row.path}: no place takes a canary"
        return self.able[key]

    def _found(self, house: House, row: Row, models: list[str], among: list[Place]) -> list[Place]:
        """Halves what is refused until it is known which places they are."""
        if all(self._answered(house, row, model, among) for model in models):
            return among
        if len(among) <= 1:
            return []
        half = len(among) // 2
        taken = self._found(house, row, models, among[:half]) + self._found(house, row, models, among[half:])
        while taken and not all(self._answered(house, row, model, taken) for model in models):
            taken.pop()  # some do not go together
        return taken

    def _answered(self, house: House, row: Row, model: str, places: list[Place]) -> bool:
        asked = self.request(row, "public", model, places=places, around=False)
        return house.ask(asked.path, asked.body, asked.headers).status == 200


def _json(body: dict[str, Any], escaped: list[str]) -> bytes:
    text = json.dumps(body)
    for canary in escaped:
        text = text.replace(canary, "".join(f"\\u{ord(letter):04x}" for letter in canary))
    return text.encode()


def _form(body: dict[str, Any], new: Callable[[], str]) -> tuple[str, bytes]:
    def part(name: str, value: Any) -> Iterator[bytes]:
        if isinstance(value, bytes):
            yield (
                f'--edge\r\ncontent-disposition: form-data; name="{name}"; filename="{new()}.png"\r\n'
                f"content-type: application/octet-stream\r\n\r\n"
            ).encode()
            yield value
        else:
            yield f'--edge\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        yield b"\r\n"

    parts = b"".join(piece for name, value in body.items() for piece in part(name, value))
    return "multipart/form-data; boundary=edge", parts + b"--edge--\r\n"

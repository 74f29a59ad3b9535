"""What is sent in a run: every endpoint at every label, to everybody, in every way that a request can take.

direct          each sink asked by name, in each dialect
engines         models that are run here, and shadow copies
paths           every path there is, to one that is not cleared and to one that is
ways            aliases whose cleared members fail in every way the fake knows, while those not cleared stand ready;
                hedges, splits, schedules, cascades, routes that explore
conversations   sensitive once, and then as if nothing had been
lowered         personal data that are pseudonymised, or wait for a person
pictures        URLs that somebody here would have to fetch
kept            responses that are stored, gone on with and read again, by their own key and by others
others          feedback, pages of the gateway, bugs that raise exceptions, requests that are no requests
breaks          workers killed, configurations changed, exceptions, all under load
"""

import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import psutil
from fill import FOUND, SESSION, WAYS, WRITINGS, Asked, Filler
from house import ASKING, DIALECTS, FAULTS, OPEN, PRIVATE, SPEAKS, TALKING, House, Told, key_of
from rows import FORMS, Row, rows, usual
from sinks import LABELS, PROVIDERS, World

CLIENTS = 6
ROUTES = ("cheapest", "hedged", "split", "scheduled", "cascade")
OWN = {"responses": "responses", "messages": "messages", "gemini": "gemini", "cohere": "cohere", "mistral": "mistral",
       "ollama": "ollama", "ollama_generate": "ollama", "count_tokens": "messages", "gemini_count": "gemini",
       "input_tokens": "responses", "gemini_embed": "gemini", "gemini_embed_batch": "gemini", "ollama_embed": "ollama",
       "ollama_embed_old": "ollama", "rerank": "cohere"}  # fmt: skip
"""The dialect of providers that a row is passed through to; chat where nothing stands here."""


class Answer(NamedTuple):
    asked: Asked
    told: Told


class Told2(NamedTuple):
    """An answer that belongs to no request with canaries."""

    what: str
    body: bytes


def kind_of(row: Row) -> str:
    """Which aliases a row can ask."""
    if row.name == "completions":
        return "completions"
    if "embed" in row.name:
        return "embeddings"
    if row.name in ("rerank", "moderations"):
        return row.name
    if row.talks or row.name in ("count_tokens", "gemini_count", "input_tokens"):
        return "talk"
    return "media"


def dialects_of(row: Row) -> tuple[str, ...]:
    kind = kind_of(row)
    return TALKING if kind == "talk" else SPEAKS[kind]


class Drive:
    """Sends, and keeps what came back. `short`: a part of each, chosen by chance, instead of all."""

    def __init__(
        self, house: House, world: World, filler: Filler, *, short: bool, seed: int, names: Collection[str] = (),
        way: str = "",
    ) -> None:  # fmt: skip
        """`names`, `way`: only these rows, and this way to get a label, where some are given."""
        self.house = house
        self.world = world
        self.filler = filler
        self.short = short
        self.choose = random.Random(seed)
        self.rows = rows()
        self.usual = [row for row in usual(self.rows) if not names or row.name in names]
        self.answers: list[Answer] = []
        self.pages: list[Told2] = []
        self.statuses: dict[str, dict[int, int]] = {}
        self.failed: list[str] = []
        """Answers that say that something is broken here: what was to be shown was not."""
        self.broken = 0
        self._turn = 0
        self._only = way

    def all(self, only: Collection[str] = ()) -> Iterator[tuple[str, float]]:
        """Runs each part, or `only` these; yields its name and the seconds it took."""
        for part in (
            self.calibrate, self.direct, self.engines, self.paths, self.ways, self.conversations, self.lowered,
            self.pictures, self.kept, self.others, self.breaks,
        ):  # fmt: skip
            if only and part.__name__ not in only:
                continue
            began = time.monotonic()
            self._part = part.__name__
            part()
            yield part.__name__, time.monotonic() - began

    # parts

    def calibrate(self) -> None:
        def one(row: Row) -> None:
            own = f"owned-{OWN.get(row.name, 'chat')}/fake"
            others = [f"owned-{dialect}/fake" for dialect in dialects_of(row)]
            self.filler.calibrate(self.house, row, own, [own, *(one for one in others if one != own)])

        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(one, self.usual))

    def direct(self) -> None:
        self.send(self._direct())

    def _direct(self) -> Iterator[Asked]:
        for row in self.usual:
            dialects = [model.partition("/")[0].removeprefix("owned-") for model in self._able(row)]
            for label in LABELS:
                for sink in PROVIDERS:
                    for dialect in [self._next(dialects)] if self.short else dialects:
                        own = OWN.get(row.name, "chat") == dialect
                        places = (self.filler.loose if own else self.filler.places)[row.name]
                        yield self.request(row, label, f"{sink.name}-{dialect}/fake-echo", places=places)

    def engines(self) -> None:
        """Models that the gateway runs itself, one of which gets a copy of what the other is asked."""
        row = next(row for row in self.usual if row.name == "chat")

        def plain(body: dict[str, Any], new: Callable[[], str]) -> None:
            body.clear()
            body["messages"] = [{"role": "user", "content": f"hi {new()}"}]

        for label in LABELS:
            for _ in WRITINGS:
                self.tell(self.request(row, label, "own/a", places=[], change=plain))

    def paths(self) -> None:
        def asked() -> Iterator[Asked]:
            for row in self.rows:
                own = OWN.get(row.name, "chat")
                for name in ("public", "owned"):
                    yield self.request(row, "restricted", f"{name}-{own}/fake")

        self.send(asked())

    def ways(self) -> None:
        def asked() -> Iterator[Asked]:
            for row in self.usual:
                kind, count = kind_of(row), len(dialects_of(row))
                kinds = ROUTES if kind == "talk" else ROUTES[:-1]
                routes = [f"{route}-{turn}" for route in kinds for turn in range(count)]
                names = [*FAULTS, *routes]
                for label in LABELS:
                    for name in self.choose.sample(names, 1) if self.short else names:
                        yield self.request(row, label, f"{kind}-{name}")

        self.send(asked())

    def conversations(self) -> None:
        """Said once under a label to who may hear it; then to all, without it."""
        for row in self.usual:
            if not row.talks or row.name in ("completions", "ollama_generate"):
                continue
            for label in LABELS[2:]:
                for named in (False, True):
                    session = {SESSION: self.filler.markers.canary(label, 0)} if named else {}
                    where = self.filler.places[row.name]
                    first = self.filler.request(
                        row, label, f"owned-{OWN.get(row.name, 'chat')}/fake", way="claim", headers=session,
                        places=where, around=False,
                    )  # fmt: skip
                    self.tell(first)
                    for sink in PROVIDERS:
                        path = first.path.replace("owned-", f"{sink.name}-")
                        body = first.body.replace(b'"owned-', f'"{sink.name}-'.encode())
                        headers = {k: v for k, v in first.headers.items() if k != "x-freehold-label"}
                        again = self.filler.numbered(first._replace(path=path, body=body, headers=headers, canaries=0))
                        self.tell(again)
                if self.short:
                    break

    def lowered(self) -> None:
        """Personal data that are pseudonymised, or about which a person is asked who does not answer: the canaries are
        the data, so that whoever is not cleared for them must get placeholders, or nothing."""

        def asked() -> Iterator[Asked]:
            for row in self.usual:
                if row.name in FORMS:
                    continue
                own = OWN.get(row.name, "chat")
                for key in (PRIVATE, ASKING):
                    for sink in PROVIDERS[:1] + PROVIDERS[-1:] if self.short or key == ASKING else PROVIDERS:
                        other = self._next(dialects_of(row))
                        for dialect in [other] if self.short else {own, other}:
                            yield self.filler.request(
                                row, "confidential", f"{sink.name}-{dialect}/fake-echo", as_mail=True, around=False,
                                stream=bool(row.streams) and self._next((True, False)),
                                headers={"authorization": f"Bearer {key}"},
                            )  # fmt: skip

        self.send(asked())

    def pictures(self) -> None:
        """A URL in a message: who cannot fetch it itself is sent what is behind it, so we would have to."""
        if not self.world.fetches:
            return

        def asked() -> Iterator[Asked]:
            row = next(row for row in self.usual if row.name == "chat")
            for label in LABELS:
                for dialect in ("ollama", "converse", "chat"):
                    for sink in ("owned", "full", "public"):
                        yield self.filler.request(
                            row, label, f"{sink}-{dialect}/fake", places=[], change=_picture(self.world.fetches),
                            way=self._way(label), around=False,
                        )  # fmt: skip

        self.send(asked())

    def kept(self) -> None:
        """Responses that are kept by us and by providers, gone on with, and read by others."""
        row = next(row for row in self.usual if row.name == "responses")

        def storing(body: dict[str, Any], _: Callable[[], str]) -> None:
            body["store"] = True

        def asked() -> Iterator[Asked]:
            for label in LABELS:
                for name in ("owned-chat", "full-messages", "owned-responses"):
                    yield self.request(row, label, f"{name}/fake-echo", change=storing)

        before = len(self.answers)
        self.send(asked())
        for one in self.answers[before:]:
            if one.told.status != 200:
                continue
            identity = _identity(one.told.body)
            other = {"authorization": f"Bearer {key_of(LABELS[0])}"}
            own = {"authorization": one.asked.headers["authorization"]}
            for path in (f"/v1/responses/{identity}", f"/v1/responses/{identity}/input_items"):
                if other != own:
                    self.page(f"GET {path} of another key", path, other)
                self.house.ask(path, b"", own, "GET")
            for key in (other, own):
                for sink in ("public", "owned"):
                    body = {"model": f"{sink}-chat/fake", "input": "go on", "previous_response_id": identity}
                    headers = {**key, "content-type": "application/json"}
                    asked_now = one.asked._replace(body=json.dumps(body).encode(), headers=headers, canaries=0)
                    if key is own:
                        self.tell(self.filler.numbered(asked_now))
                    else:
                        told = self.house.ask(asked_now.path, asked_now.body, headers)
                        self.pages.append(Told2("a response gone on with by another key", told.head + told.body))

    def others(self) -> None:
        """Feedback, pages of the gateway, bugs, and what is no request."""
        answered = [one for one in self.answers if one.told.status == 200]
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(self._rate, self.choose.sample(answered, min(6 if self.short else 60, len(answered)))))
        self.send(asked for label in LABELS for asked in self._no_requests(label))
        row = next(row for row in self.usual if row.name == "chat")
        for label in LABELS:
            for kind in ("raise", "task", "callback", "thread"):
                self.tell(self.filler.request(row, label, "owned-chat/fake", headers={"x-break": kind}))
        self.own_pages()

    def _rate(self, answer: Answer) -> None:
        head = dict(line.split(b": ", 1) for line in answer.told.head.lower().splitlines())
        canary = self.filler.markers.canary(answer.asked.label, answer.asked.number)
        rating = {"request_id": head.get(b"x-request-id", b"").decode(), "score": 1}
        body = json.dumps({**rating, "reason": canary, "expected": canary}).encode()
        headers = {"authorization": answer.asked.headers["authorization"], "content-type": "application/json"}
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.house.ask("/v1/feedback", body, headers)

    def own_pages(self) -> None:
        """What the gateway shows to whoever has a key."""
        key = {"authorization": f"Bearer {OPEN}"}
        for path in ("/metrics", "/status", "/v1/models", "/api/tags", "/api/ps", "/v1beta/models", "/health/ready"):
            self.page(path, path, key)

    def breaks(self) -> None:
        """Kills workers, one of them so that a core would be left, and changes the configuration, all under load."""
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                row = self.choose.choice([row for row in self.usual if row.talks])
                label = self.choose.choice(LABELS)
                name = self.choose.choice(("owned", "full", "public"))
                own = OWN.get(row.name, "chat")
                self.tell(self.request(row, label, f"{name}-{own}/fake-latency-40"))

        with ThreadPoolExecutor(CLIENTS) as clients:
            running = [clients.submit(load) for _ in range(CLIENTS)]
            try:
                for number in (signal.SIGABRT, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT):
                    time.sleep(0.4)
                    self._kill(number)
                    time.sleep(0.3)
                    self._set_core_aside()
                self._reload()
            finally:
                stop.set()
            for one in running:
                one.result(60)
        self.house.ready()
        self.own_pages()

    # one request

    def request(self, row: Row, label: str, model: str, **more: Any) -> Asked:
        """The next combination of stream, writing and way."""
        self._turn += 1
        return self.filler.request(
            row,
            label,
            model,
            stream=bool(row.streams) and (self._turn % 2 == 0 or "{model}" in row.path),
            way=self._way(label, form=row.name in FORMS),
            writing=self._next(WRITINGS[:1] if row.name in FORMS else WRITINGS),
            **more,
        )

    def send(self, asked: Iterable[Asked]) -> None:
        with ThreadPoolExecutor(CLIENTS) as clients:
            for _ in clients.map(self.tell, asked):
                pass

    def tell(self, asked: Asked) -> Told | None:
        try:
            told = self.house.ask(asked.path, asked.body, asked.headers)
        except (OSError, http.client.HTTPException):
            self.broken += 1
            return None
        self.answers.append(Answer(asked, told))
        counts = self.statuses.setdefault(self._part, {})
        counts[told.status] = counts.get(told.status, 0) + 1
        if told.status == 500 and "x-break" not in asked.headers:
            self.failed.append(f"{self._part}: {asked.path[:60]} {told.body[:300]!r}")
        return told

    def page(self, what: str, path: str, headers: dict[str, str]) -> None:
        try:
            told = self.house.ask(path, b"", headers, "GET")
        except (OSError, http.client.HTTPException):  # the connection may be one of a worker that is no more
            told = self.house.ask(path, b"", headers, "GET")
        self.pages.append(Told2(what, told.head + b"\n\n" + told.body))

    # helpers

    def _able(self, row: Row) -> list[str]:
        return self.filler.able[row.path.rpartition(":")[2] if "{model}" in row.path else row.name]

    def _next(self, among: Any) -> Any:
        self._turn += 1
        return among[self._turn % len(among)]

    def _way(self, label: str, *, form: bool = False) -> str:
        ways = [way for way in WAYS if way != "found" or (label in FOUND and not form)]
        return self._only if self._only in ways else self.choose.choice(ways)

    def _no_requests(self, label: str) -> Iterator[Asked]:
        """What is refused, or understood by nobody: the errors must not carry it elsewhere."""
        number = next(self.filler._numbers)
        key = {"authorization": f"Bearer {key_of(label)}"}

        def one() -> str:
            return self.filler.markers.canary(label, number)

        def made(path: str, body: bytes, headers: dict[str, str]) -> Asked:
            return self.filler.numbered(Asked(number, label, path, headers, body, 1))

        yield made("/v1/chat/completions", b'{"model": "public-chat/fake", "messages": [' + one().encode(), key)
        yield made("/v1/chat/completions", one().encode(), key)
        yield made("/v1/chat/completions", b'{"messages": "%b"}' % one().encode(), key)
        yield made("/v1/chat/completions", b'{"model": "%b"}' % one().encode(), key)
        yield made("/v1/chat/completions", b"\x1f\x8b\x08" + one().encode(), key | {"content-encoding": "gzip"})
        yield made("/v1/chat/completions", b"{}", {"authorization": f"Bearer {one()}"})
        yield made(f"/v1/{one()}", b"{}", key)
        yield made("/v1/chat/completions", b"{}", key | {"x-freehold-label": one()})
        yield made("/v1/messages", b'{"model": "public-messages/fake", "max_tokens": "%b"}' % one().encode(), key)
        yield made("/v1/images/edits", one().encode(), key | {"content-type": f"multipart/form-data; boundary={one()}"})
        yield made(f"/v1/responses/{one()}/cancel", b"", key)
        yield made("/v1/feedback", b'{"request_id": "%b", "score": 1}' % one().encode(), key)
        goes_on = {"model": "public-responses/fake", "input": "x", "previous_response_id": one()}
        yield made("/v1/responses", json.dumps(goes_on).encode(), key)

    def _kill(self, number: int) -> None:
        """Ends one that may be, if there is one right now."""
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if found := self.house.killable():
                os.kill(self.choose.choice(found).pid, number)

    def _set_core_aside(self) -> None:
        """The next one would be written over it."""
        core = self.house.folder / "cwd" / "core"
        if core.exists():
            core.rename(core.with_name(f"core.{time.monotonic_ns()}"))

    def _reload(self) -> None:
        """Another configuration, a broken one, and the first again."""
        path = self.house.folder / "freehold.yaml"
        text = path.read_text()
        for changed in (text.replace("retries: 8", "retries: 7"), text + "\nno such key: 1\n", text):
            path.write_text(changed)
            time.sleep(0.8)


def _identity(body: bytes) -> str:
    """The id of a response, whole or streamed."""
    at = body.find(b'"id":')
    return body[at + 5 :].lstrip(b' "').partition(b'"')[0].decode() if at >= 0 else ""


def _picture(fetches: str) -> Callable[[dict[str, Any], Callable[[], str]], None]:
    def change(body: dict[str, Any], new: Callable[[], str]) -> None:
        url = fetches.format(new()) + new() + ".png?" + new()
        body.clear()
        part = {"type": "image_url", "image_url": {"url": url}}
        body["messages"] = [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, part]}]

    return change


__all__ = ["DIALECTS", "Answer", "Drive"]

"""Plans carried out against a fake provider in the same process: real sockets, and everything written down."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from freehold.call.attempts import Answer, call
from freehold.call.breaker import Breaker
from freehold.call.profiles import traits
from freehold.call.talk import Talk
from freehold.call.target import Address, Target
from freehold.call.transport import Flight, Origin, Pool
from freehold.call.transport.ticker import Ticker
from freehold.call.watch import Watch
from freehold.classify import Facts
from freehold.config.schema import Timeouts
from freehold.decide.catalog import Deployment
from freehold.dialects import chat
from freehold.dialects.conversation import Usage
from freehold.dialects.receipt import Receipt
from freehold.errors import FreeholdError
from freehold.fake.provider import FakeProvider
from freehold.fake.served import Row

PROMPT = 7
"""Tokens of the prompt, as estimated here."""


def limited(target: Target, calls: float) -> Target:
    """`target`, having shown just now that it takes so many calls at a time."""
    watch = target.watch
    watch._limit.value = calls
    watch._limit._cut_at = asyncio.get_running_loop().time()
    watch._limited()
    return target


class Written:
    """One attempt as it was written down. `call.attempts.Entry`."""

    def __init__(self, call: str, target: str, why: str) -> None:
        self.call = call
        self.target = target
        self.why = why
        self.began = time.time_ns()
        self.first = 0
        self.received = 0
        self.outcome = ""
        self.status = 0
        self.usage: Usage | None = None
        self.error = ""

    def also(self, body: bytes) -> None:
        """One more body of the same attempt."""

    def end(
        self, outcome: str, status: int, usage: Usage | None, error: str, receipt: Receipt | None, lost: str = ""
    ) -> None:
        assert not self.outcome, f"{self.call} was settled twice"
        self.outcome, self.status, self.usage, self.error = outcome, status, usage, error


class Paper:
    """A recorder that keeps what it is told. `call.attempts.Recorder`."""

    def __init__(self, request: str) -> None:
        self._request = request
        self.entries: list[Written] = []

    def fetching(self, host: str, url: str) -> None:
        """A URL of the request is fetched."""

    def may_fetch(self, url: str) -> None:
        """Any URL may be."""

    def begin(self, target: Target, attempt: int, why: str = "fallback", body: bytes = b"") -> Written:
        entry = Written(f"{self._request}-{attempt}", target.name, why if attempt > 1 else "")
        assert entry.call not in [other.call for other in self.entries]
        self.entries.append(entry)
        return entry

    @property
    def outcomes(self) -> list[tuple[str, str, str]]:
        return [(entry.target, entry.outcome, entry.error) for entry in self.entries]


class House:
    """What a test needs: a fake provider and what is asked of it."""

    def __init__(self, fake: FakeProvider) -> None:
        self.fake = fake
        self.ticker = Ticker()
        self._pools: list[Pool] = []
        self._asked = 0

    def target(self, model: str, url: str = "", watch: Watch | None = None, **timeouts: float) -> Target:
        """A deployment whose model tells the fake what to do, such as `fake-first-200`; with connections of its own."""
        pool = Pool(Origin.parse((url or self.fake.url) + "/v1"), connect_timeout=2.0, limit=100)
        self._pools.append(pool)
        return Target(
            Deployment(f"openai/{model}", "openai", model, "chat", input_price=1.0, output_price=2.0),
            Address(pool, {"chat": "/chat/completions"}, [(b"authorization", b"Bearer k")]),
            traits("openai", model),
            Timeouts(**timeouts),
            watch or Watch(Breaker(100, 15.0)),
        )

    def operation(self, *, stream: bool, **fields: Any) -> Talk:
        body = json.dumps(
            {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}], **fields}
        ).encode()
        return Talk("chat", body, chat.peek(body))

    def flight(self) -> Flight:
        known = Facts(asked="m", kind="chat", needs=frozenset(), input_tokens=PROMPT, output_tokens=1024)
        flight = Flight(asyncio.get_running_loop().time(), "key", known)
        self.ticker.add(flight)
        return flight

    async def ask(
        self, targets: list[Target], *, stream: bool = False, retries: int = 0, total: float = 20.0, **more: Any
    ) -> "Told":
        """Carries a plan out and reads its answer to the end, as the gateway would."""
        self._asked += 1
        paper, flight = Paper(f"req{self._asked}"), more.pop("flight", None) or self.flight()
        operation = more.pop("operation", None) or self.operation(stream=stream)
        told = Told(paper, flight)
        try:
            answer = await call(targets, operation, flight, paper, retries=retries, total=total, **more)
            told.answer = answer
            told.content = self._whole(answer) if answer.relay is None else await self._read(answer)
        except FreeholdError as error:
            told.error = error
        finally:
            self.ticker.flights.discard(flight)
        return told

    def _whole(self, answer: Answer) -> bytes:
        answer.entry.end("ok", answer.status, answer.receipt.usage if answer.receipt else None, "", answer.receipt)
        return answer.body

    async def _read(self, answer: Answer) -> bytes:
        relay, connection, entry = answer.relay, answer.connection, answer.entry
        assert relay is not None
        assert connection is not None
        content = answer.first
        now = asyncio.get_running_loop().time
        failure: FreeholdError | None = None
        try:
            while relay.failed is None and (chunk := await connection.chunk()):
                content += relay.feed(chunk)
                if relay.started and not answer.began:
                    answer.started(now())
            content += relay.close()
        except FreeholdError as error:
            failure = error
        answer.over(failure, now())
        if failure is not None:
            entry.end("failed", answer.status, relay.usage, failure.code, None)
            raise failure
        entry.end("ok", answer.status, relay.usage, "", None)
        return content

    async def served(self, requests: int) -> list[Row]:
        """The fake's own bill, once it has seen the end of so many requests."""
        await self.fake.until(lambda served: sum(row.ended != "open" for row in served.rows) >= requests)
        return list(self.fake.served.rows)

    def close(self) -> None:
        for pool in self._pools:
            pool.shut()


class Told:
    """What came of it."""

    def __init__(self, paper: Paper, flight: Flight) -> None:
        self.paper = paper
        self.flight = flight
        self.answer: Answer | None = None
        self.error: FreeholdError | None = None
        self.content = b""

    @property
    def by(self) -> str:
        assert self.answer is not None, self.error
        return self.answer.target.deployment.model

    @property
    def text(self) -> str:
        """The words of the answer, whichever form it came in."""
        if not self.content.startswith(b"data:"):
            said: str = json.loads(self.content)["choices"][0]["message"]["content"]
            return said
        events = [line[6:] for line in self.content.split(b"\n") if line.startswith(b"data: {")]
        deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
        return "".join(delta.get("content") or "" for delta in deltas)


@asynccontextmanager
async def house(script: dict[str, Any] | None = None) -> AsyncIterator[House]:
    async with FakeProvider(script) as fake:
        there = House(fake)
        try:
            yield there
        finally:
            there.close()
            await asyncio.sleep(0)

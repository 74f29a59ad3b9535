"""Shadow copies: to cleared sinks only, into free places only, written down, and nobody's concern when they fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from freehold.call.breaker import Breaker
from freehold.call.operation import Operation, Prepared
from freehold.call.target import Address, Target
from freehold.call.transport import Origin, Pool
from freehold.classify import Facts
from freehold.config.schema import Config, Timeouts
from freehold.config.schema_routing import Labels, Sinks
from freehold.decide import Choice, Deployment
from freehold.dialects.conversation import Usage
from freehold.dialects.receipt import Receipt
from freehold.dialects.traits import Traits
from freehold.errors import Forbidden, UpstreamBroken
from freehold.labels import INTERNAL, Label, Rules
from freehold.record.entries import Intent, Settlement
from freehold.record.receipts.sent import Sent, Sink
from freehold.serve.gateway import Gateway
from freehold.serve.shadow import MOST, Rule, Shadows

ANSWERED = Deployment("own/a", "own", "a", "chat", owned=True)
SINK = Deployment("own/b", "own", "b", "chat", owned=True)
USUAL = Config(timeouts=Timeouts(total=5.0))


class Upstream:
    """Answers every request with `body`, when `go` is set."""

    def __init__(self) -> None:
        self.body = b'{"ok":1}'
        self.go = asyncio.Event()
        self.go.set()
        self.asked = 0
        self.host = ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            self.asked += 1
            await self.go.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(self.body), self.body))
            await writer.drain()
        finally:
            writer.close()


class Once:
    """An operation whose request is `{}`; its answer must be `{"ok":1}`."""

    peek = SimpleNamespace(images=False, documents=False, stream=False)

    def prepare(self, target: Target) -> Prepared:
        def read(body: bytes) -> tuple[bytes, Receipt]:
            if body != b'{"ok":1}':
                raise UpstreamBroken("garbage")
            return body, Receipt("id", "b", Usage(uncached=3, output=2), "stop", None)

        def no_relay() -> Any:
            raise AssertionError

        return Prepared(target.head("chat", False), b"{}", [], read, no_relay, lambda *_: UpstreamBroken("refused"))


@asynccontextmanager
async def host(
    loaded: bool = True, busy: int = 0, health: str | None = None, config: Config = USUAL
) -> AsyncIterator[tuple[Any, Upstream]]:
    """What a copy needs of a gateway, around a real connection."""
    upstream = Upstream()
    server = await asyncio.start_server(upstream.talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    upstream.host = f"127.0.0.1:{port}"
    pool = Pool(Origin.parse(f"http://127.0.0.1:{port}/v1"), connect_timeout=2.0, limit=10)
    target = Target(SINK, Address(pool, {"chat": "/chat/completions"}, []), Traits(), Timeouts(), Breaker(5, 15.0))
    journal: list[Any] = []
    gate = SimpleNamespace(life=SimpleNamespace(flights=[None] * busy, limit=4) if loaded else None, queue=())
    yield (
        SimpleNamespace(
            catalog=SimpleNamespace(find={"own/b": Choice("direct", (SINK,))}.get),
            health=lambda deployment: health,
            gate=lambda deployment: gate,
            target=lambda deployment: target,
            now=asyncio.get_running_loop().time,
            config=config,
            journal=SimpleNamespace(
                append=journal.append,
                entries=journal,
                sent=lambda sink, call, body, by="": Sent(len(journal) + 1, sink, len(body), b"digest", by),
            ),
            rulebook=SimpleNamespace(rules=Rules(config)),
            version="v",
        ),
        upstream,
    )
    server.close()


def copy(shadows: Shadows, gateway: Any, answered: Deployment = ANSWERED, label: Label | None = INTERNAL) -> None:
    known = Facts(asked="own/a", kind="chat", needs=frozenset(), input_tokens=3, output_tokens=5)
    known.label = label
    shadows.copy(cast("Gateway", gateway), answered, cast("Operation", Once()), known, "key", "req-1")


async def finished(shadows: Shadows) -> None:
    while shadows._running:
        await asyncio.gather(*shadows._running, return_exceptions=True)


@pytest.mark.parametrize(
    ("label", "made"), [(INTERNAL, True), (Label(2), False), (Label(1, frozenset({"phi"})), False), (None, False)]
)
async def test_a_request_that_may_not_be_copied_is_not(label: Label | None, made: bool) -> None:
    capped = Config(timeouts=Timeouts(total=5.0), labels=Labels(sinks=Sinks(shadows="internal")))
    async with host(config=capped) as (gateway, upstream):
        shadows = Shadows({"own/a": Rule("own/b", 100.0)})
        copy(shadows, gateway, label=label)
        await finished(shadows)
    assert (upstream.asked, bool(gateway.journal.entries)) == (int(made), made)


async def test_a_copy_is_made_and_written_down() -> None:
    async with host() as (gateway, upstream):
        shadows = Shadows({"own/a": Rule("own/b", 100.0)})
        copy(shadows, gateway)
        await finished(shadows)
    intent, settlement = gateway.journal.entries
    assert upstream.asked == 1
    assert isinstance(intent, Intent)
    assert (intent.deployment, intent.request, intent.reason) == ("own/b", "req-1-shadow", "shadow of own/a")
    assert isinstance(settlement, Settlement)
    assert (settlement.call, settlement.outcome, settlement.output) == (intent.call, "ok", 2)
    assert intent.label == "internal"
    assert intent.sent == Sent(1, Sink(upstream.host, "", "everything"), len(b"{}"), b"digest")
    assert settlement.received == len(upstream.body)


async def test_a_copy_that_fails_is_nobodys_concern() -> None:
    async with host() as (gateway, upstream):
        upstream.body = b"garbage"
        shadows = Shadows({"own/a": Rule("own/b", 100.0)})
        copy(shadows, gateway)
        await finished(shadows)
    _, settlement = gateway.journal.entries
    assert (settlement.outcome, settlement.error) == ("failed", "upstream_broken")


@pytest.mark.parametrize("state", [{"loaded": False}, {"busy": 2}, {"health": "resting"}])
async def test_a_copy_waits_for_nothing(state: dict[str, Any]) -> None:
    async with host(**state) as (gateway, upstream):
        shadows = Shadows({"own/a": Rule("own/b", 100.0)})
        copy(shadows, gateway)
        assert not shadows._running
    assert gateway.journal.entries == []
    assert upstream.asked == 0


async def test_only_the_share_asked_for_and_only_of_that_model() -> None:
    async with host() as (gateway, _):
        shadows = Shadows({"own/a": Rule("own/b", 25.0)}, chance=lambda: 0.25)
        copy(shadows, gateway)
        copy(Shadows({"own/other": Rule("own/b", 100.0)}), gateway)
        copy(Shadows({"own/a": Rule("own/gone", 100.0)}), gateway)
        assert gateway.journal.entries == []


async def test_few_at_a_time_and_all_end_with_the_gateway() -> None:
    async with host() as (gateway, upstream):
        upstream.go.clear()
        shadows = Shadows({"own/a": Rule("own/b", 100.0)})
        for _ in range(MOST + 3):
            copy(shadows, gateway)
        assert len(shadows._running) == MOST
        while upstream.asked < MOST:
            await asyncio.sleep(0)
        await shadows.close()
        upstream.go.set()
    outcomes = [entry.outcome for entry in gateway.journal.entries if isinstance(entry, Settlement)]
    assert outcomes == ["cancelled"] * MOST


@pytest.mark.parametrize("sink", ["openai/gpt-5.4", "auto", "local/b"])
def test_a_sink_that_is_not_cleared_is_refused(sink: str) -> None:
    with pytest.raises(Forbidden) as caught:
        Shadows({"own/a": Rule(sink, 1.0)})
    assert caught.value.code == "sink_not_cleared"

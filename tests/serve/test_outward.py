"""Receipts of what is sent besides attempts: fetches of URLs, redirects among them, and further bodies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from freehold.call.breaker import Breaker
from freehold.call.fetch_url import UrlLimits
from freehold.call.inline import Noted, inline, watched
from freehold.call.target import Address, Target
from freehold.call.transport import Origin, Pool
from freehold.classify import Facts
from freehold.config.label_names import LEVELS
from freehold.config.schema import Config, Provider, Timeouts
from freehold.decide import Deployment
from freehold.dialects.conversation import Conversation, Image, Turn
from freehold.dialects.traits import Traits
from freehold.errors import BadRequest, InternalError, PolicyError
from freehold.labels import INTERNAL, Label, Rules
from freehold.record.entries import Intent
from freehold.record.journal import Journal, JournalError, read_segment
from freehold.record.receipts.places import body_hash
from freehold.record.receipts.sent import Outward
from freehold.serve.outward import declassified, may_fetch
from freehold.serve.shadow import ShadowRecorder

PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)
Told = list[tuple[str, str]]


@asynccontextmanager
async def web() -> AsyncIterator[int]:
    """Sends /moved on to /picture."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b" /moved" in head:
            writer.write(b"HTTP/1.1 302 Found\r\nlocation: /picture\r\ncontent-length: 0\r\n\r\n")
        else:
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n%b" % (len(PNG), PNG)
            )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def target(port: int, fetch: UrlLimits | None = None) -> Target:
    pool = Pool(Origin.parse(f"http://127.0.0.1:{port}"), connect_timeout=1.0, limit=1)
    deployment = Deployment("own/a", "own", "a", "ollama", owned=True)
    return Target(deployment, Address(pool, {}, []), Traits(), Timeouts(), Breaker(5, 15.0), fetch=fetch)


def anything(url: str) -> None:
    """Any URL may be fetched."""


def asking(url: str) -> Conversation:
    return Conversation(model="a", turns=[Turn("user", [Image(url=url)])])


def open_to(port: int) -> UrlLimits:
    return UrlLimits(http=True, ports=frozenset({port}), allowed=lambda address: True)


async def fetched(port: int, path: str, limits: UrlLimits) -> Told:
    told: Told = []
    ours = watched(target(port, limits), lambda host, url: told.append((host, url)), anything)
    assert isinstance(ours.fetch, Noted)
    made = await inline(asking(f"http://127.0.0.1:{port}{path}"), ours.fetch)
    assert made is not None
    return told


async def test_each_server_is_told_before_it_is_asked() -> None:
    async with web() as port:
        assert await fetched(port, "/picture", open_to(port)) == [
            (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}/picture")
        ]


async def test_a_redirect_is_a_call_of_its_own() -> None:
    async with web() as port:
        place = f"127.0.0.1:{port}"
        assert await fetched(port, "/moved", open_to(port)) == [(place, f"http://{place}/moved"), (place, "")]


async def test_what_is_refused_was_no_call() -> None:
    async with web() as port:
        limits = replace(open_to(port), allowed=lambda address: False)
        with pytest.raises(BadRequest):
            await fetched(port, "/picture", limits)
        told: Told = []
        ours = watched(target(port, limits), lambda host, url: told.append((host, url)), anything)
        with pytest.raises(BadRequest):
            await inline(asking(f"http://127.0.0.1:{port}/picture"), cast("UrlLimits", ours.fetch))
        assert told == []


async def test_what_may_not_leave_is_asked_of_no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolver(host: str, port: int) -> list[str]:
        raise AssertionError("a host's name says something too")

    monkeypatch.setattr("freehold.call.inline.system_resolver", resolver)
    told: Told = []

    def barred(url: str) -> None:
        may_fetch(gateway, Label(2))

    gateway: Any = SimpleNamespace(rulebook=SimpleNamespace(rules=Rules(Config())))
    ours = watched(target(1, open_to(1)), lambda host, url: told.append((host, url)), barred)
    with pytest.raises(PolicyError, match="cleared for internal at most") as caught:
        await inline(asking("http://secret.example/x.png"), cast("UrlLimits", ours.fetch))
    assert (caught.value.status, caught.value.code) == (403, "label")
    assert told == []
    may_fetch(gateway, INTERNAL)
    with pytest.raises(PolicyError):
        may_fetch(gateway, None)


async def test_a_url_of_which_nobody_has_asked_is_not_fetched() -> None:
    with pytest.raises(InternalError, match="nobody has asked"):
        await inline(asking("http://127.0.0.1:1/x.png"), open_to(1))


def rented(cleared: str | None = None) -> tuple[Any, Target]:
    provider = Provider(cleared=cleared, policy="contract")
    rules = Rules(Config(providers={"openai": provider}))
    gateway: Any = SimpleNamespace(rulebook=SimpleNamespace(rules=rules))
    pool = Pool(Origin.parse("http://127.0.0.1:1"), connect_timeout=1.0, limit=1)
    deployment = Deployment("openai/a", "openai", "a", "chat")
    return gateway, Target(deployment, Address(pool, {}, []), Traits(), Timeouts(), Breaker(5, 15.0))


def facts_of(label: Label | None, leaving: Any = None) -> Facts:
    return Facts(asked="a", needs=frozenset(), input_tokens=3, output_tokens=5, label=label, leaving=leaving)


@given(st.integers(0, 3), st.none() | st.integers(0, 3), st.sampled_from(["public", "internal", "confidential"]))
def test_nothing_is_written_down_that_may_not_go_there(level: int, lowered: int | None, cleared: str) -> None:
    """Whoever planned it: the label under which it goes, lowered or not, must flow to the target."""
    gateway, place = rented(cleared)
    most = LEVELS.index(cleared)
    known = facts_of(Label(level), None if lowered is None else lambda name: (Label(lowered), "somebody"))
    goes = level if lowered is None else lowered
    for _ in range(2):  # what was cleared is remembered, and what was not is not
        if goes <= most:
            assert declassified(gateway, place, known) == ("" if lowered is None else "somebody")
        else:
            with pytest.raises(InternalError, match="which it may not"):
                declassified(gateway, place, known)
    assert place.cleared <= {Label(below) for below in range(most + 1)}


def test_a_request_that_nobody_has_labelled_goes_nowhere_rented() -> None:
    gateway, place = rented("restricted")
    with pytest.raises(InternalError):
        declassified(gateway, place, facts_of(None))
    assert declassified(gateway, place, facts_of(Label(3))) == ""


async def test_what_cannot_be_written_down_is_not_fetched() -> None:
    def full(host: str, url: str) -> None:
        raise JournalError("no space")

    async with web() as port:
        ours = watched(target(port, open_to(port)), full, anything)
        with pytest.raises(JournalError):
            await inline(asking(f"http://127.0.0.1:{port}/picture"), cast("UrlLimits", ours.fetch))


async def test_a_target_is_not_changed_by_being_watched() -> None:
    limits = UrlLimits()
    ours = target(1, limits)
    assert watched(ours, lambda *_: None, anything) is not ours
    assert ours.fetch is limits
    without = target(1)
    assert watched(without, lambda *_: None, anything) is without


async def test_entries_are_numbered_together_and_say_for_whom(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "w0")
    gateway: Any = SimpleNamespace(journal=journal, version="c0ffee", rulebook=SimpleNamespace(rules=Rules(Config())))
    known = Facts(asked="own/a", kind="chat", needs=frozenset(), input_tokens=3, output_tokens=5)
    known.label = INTERNAL
    recorder = ShadowRecorder(gateway, "own/b", known, "bot", "req")
    recorder.fetching("pictures.example", "https://pictures.example/x.png")
    entry = recorder.begin(target(1234), 1, "", b"one")
    entry.also(b"two, the longer one")
    journal.close()
    fetch, intent, part = [entry for _, entry in read_segment(journal.path).entries]
    digest = body_hash(tmp_path / "receipts").digest
    assert isinstance(fetch, Outward)
    assert (fetch.kind, fetch.call, fetch.request, fetch.key) == ("fetch", "req-shadow-fetch1", "req-shadow", "bot")
    assert (fetch.label, fetch.config, fetch.sent.sink.host) == ("internal", "c0ffee", "pictures.example")
    assert fetch.sent.digest == digest("req-shadow-fetch1", b"https://pictures.example/x.png")
    assert isinstance(intent, Intent)
    assert intent.sent is not None
    assert (intent.sent.size, intent.sent.digest) == (3, digest("req-shadow-1", b"one"))
    assert (intent.sent.sink.host, intent.sent.sink.clearance) == ("127.0.0.1:1234", "everything")
    assert isinstance(part, Outward)
    assert (part.kind, part.call, part.sent.size) == ("part", "req-shadow-1-part3", 19)
    assert [one.sent.seq for one in (fetch, intent, part) if one.sent is not None] == [1, 2, 3]


def test_without_the_key_nothing_goes_out(tmp_path: Path) -> None:
    (tmp_path / "receipts").write_text("no folder")
    journal = Journal(tmp_path / "journal", "w0")
    gateway: Any = SimpleNamespace(journal=journal, version="v", rulebook=SimpleNamespace(rules=Rules(Config())))
    known = Facts(asked="own/a", kind="chat", needs=frozenset(), input_tokens=3, output_tokens=5)
    with pytest.raises(JournalError, match="key for digests"):
        ShadowRecorder(gateway, "own/b", known, "bot", "req").begin(target(1), 1, "", b"{}")
    journal.close()
    assert read_segment(journal.path).entries == []

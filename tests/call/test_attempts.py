"""A plan carried out, over real sockets: who is asked again and who is not, what is counted, what is held back."""

import asyncio
from typing import Any

import pytest
from asking import house, limited

from freehold.call.breaker import Breaker
from freehold.call.watch import Watch
from freehold.config.schema import Early
from freehold.errors import ClientGone, UpstreamOverloaded, UpstreamTimeout

CUTS = ["fake-fault-cut-before-headers", "fake-fault-cut-after-headers", "fake-fault-reset-before-headers"]


# The body is not sent twice to who may have it


@pytest.mark.parametrize("model", [*CUTS, "fake-status-502", "fake-status-504", "fake-fault-null-body"])
async def test_who_may_have_accepted_a_body_does_not_get_it_again(model: str) -> None:
    async with house() as there:
        told = await there.ask([there.target(model)], retries=3)
        assert told.error is not None
        assert len(there.fake.served.rows) == 1


@pytest.mark.parametrize("model", [*CUTS, "fake-status-502"])
@pytest.mark.parametrize("stream", [False, True])
async def test_but_another_deployment_gets_it_once(model: str, stream: bool) -> None:
    async with house() as there:
        told = await there.ask([there.target(model), there.target("fake")], stream=stream, retries=3)
        assert told.by == "fake"
        assert [row.model for row in there.fake.served.rows] == [model, "fake"]
        assert [entry.outcome for entry in told.paper.entries] == ["failed", "ok"]


@pytest.mark.parametrize("status", [429, 503, 500])
async def test_what_was_refused_may_be_asked_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.call.attempts.pause", lambda *_: 0.001)
    async with house({"rules": [{"match": {"nth": 1}, "reply": {"status": status}}]}) as there:
        told = await there.ask([there.target("fake")], retries=1)
        assert [entry.outcome for entry in told.paper.entries] == ["failed", "ok"]


async def test_no_more_than_the_budget_of_a_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.call.attempts.pause", lambda *_: 0.0)
    async with house() as there:
        target = there.target("fake-status-503", watch=Watch(Breaker(100_000, 1.0)))
        for _ in range(40):
            await there.ask([target], retries=3)
        assert 40 + 20 <= len(there.fake.served.rows) <= 40 * 1.25 + 30


@pytest.mark.parametrize("model", [*CUTS, "fake-status-500"])
async def test_with_an_idempotency_key_nobody_else_gets_it_either(model: str) -> None:
    async with house() as there:
        told = await there.ask([there.target(model), there.target("fake")], retries=3, once=True)
        assert told.error is not None
        assert len(there.fake.served.rows) == 1
        told = await there.ask([there.target("fake-status-429"), there.target("fake")], once=True)
        assert told.by == "fake", "it was refused: nobody has it"


async def test_a_silent_provider_is_left_for_the_next() -> None:
    async with house() as there:
        slow = there.target("fake-latency-5000", first_byte=0.15)
        told = await there.ask([slow, there.target("fake")])
        assert told.by == "fake"
        assert told.paper.outcomes[0] == (slow.name, "failed", "upstream_timeout")
        rows = await there.served(2)
        assert rows[0].cancelled_after_ms is not None
        told = await there.ask([slow])
        assert isinstance(told.error, UpstreamTimeout)


async def test_no_time_no_further_attempt() -> None:
    async with house() as there:
        told = await there.ask([there.target("fake-latency-5000"), there.target("fake")], total=0.1)
        assert isinstance(told.error, UpstreamTimeout)
        assert len(there.fake.served.rows) == 1


async def test_a_client_that_leaves_after_a_timeout_is_not_forgotten() -> None:
    async with house() as there:
        flight = there.flight()
        flight.abort(UpstreamTimeout("silence"))
        flight.abort(ClientGone("left"))
        told = await there.ask([there.target("fake"), there.target("fake")], flight=flight)
        assert isinstance(told.error, ClientGone)
        assert not there.fake.served.rows


# What the watch is told


@pytest.mark.parametrize("stream", [False, True])
async def test_a_good_answer_counts_when_it_is_over(stream: bool) -> None:
    async with house() as there:
        target = there.target("fake-latency-20+event-2")
        for _ in range(3):
            await there.ask([target], stream=stream)
        watch = target.watch
        assert (watch.inflight, watch.begun, watch.answered, watch.failed) == (0, 3, 3, 0)
        assert (watch.first if stream else watch.whole) >= 0.015
        assert watch.per_token > 0


async def test_a_stream_that_began_well_and_then_broke_has_failed() -> None:
    async with house() as there:
        target = there.target("fake-fault-cut-between-events+events-20", watch=Watch(Breaker(3, 15.0)))
        for _ in range(3):
            told = await there.ask([target, there.target("fake")], stream=True)
            assert told.error is not None, "its client has seen content: nothing is mixed into it"
        assert target.watch.failed == 3
        assert target.watch.inflight == 0
        assert target.watch.breaker.tripped
        assert len(there.fake.served.rows) == 3


async def test_a_client_that_leaves_in_a_stream_says_nothing_of_it_and_pays_for_what_came() -> None:
    async with house() as there:
        target = there.target("fake-latency-8000")
        flight = there.flight()
        asking = asyncio.create_task(there.ask([target], stream=True, flight=flight))
        await there.fake.until(lambda served: bool(served.rows))
        flight.abort(ClientGone("left"))
        told = await asking
        assert told.paper.outcomes == [(target.name, "cancelled", "client_gone")]
        usage = told.paper.entries[0].usage
        assert usage is not None
        assert (usage.uncached, usage.estimated) == (7, True)
        assert (target.watch.inflight, target.watch.failed) == (0, 0)


# The early window


@pytest.mark.parametrize("early", [Early(), Early(bytes=2000)])
async def test_a_stream_that_dies_before_its_content_is_answered_by_another(early: Early) -> None:
    async with house() as there:
        told = await there.ask(
            [there.target("fake-fault-cut-after-headers"), there.target("fake")], stream=True, early=early
        )
        assert told.by == "fake"


async def test_one_that_dies_within_the_first_bytes_is_too_where_these_are_held_back() -> None:
    async with house() as there:
        dying = there.target("fake-fault-cut-between-events+events-12")
        told = await there.ask([dying, there.target("fake")], stream=True)
        assert told.error is not None
        told = await there.ask([dying, there.target("fake")], stream=True, early=Early(bytes=4000))
        assert told.by == "fake"
        assert told.text == "Hello from the fake provider: nobody was billed for this."
        assert [entry.outcome for entry in told.paper.entries] == ["failed", "ok"]


@pytest.mark.parametrize("size", [1, 20, 60, 4000])
async def test_what_is_held_back_comes_in_order_and_whole(size: int) -> None:
    async with house() as there:
        plain = await there.ask([there.target("fake")], stream=True)
        told = await there.ask([there.target("fake-event-3")], stream=True, early=Early(bytes=size))
        assert told.text == plain.text


async def test_nothing_is_held_back_for_longer_than_that() -> None:
    async with house() as there:
        target = there.target("fake-events-40+event-30")
        waiting = asyncio.create_task(there.ask([target], stream=True, early=Early(seconds=0.1, bytes=60_000)))
        await there.fake.until(lambda served: bool(served.rows))
        told = await waiting
        assert told.answer is not None
        first = told.answer.first.count(b"data:")
        assert 1 <= first < 20, f"{first} of 40 events were held back"


# Concurrency


async def test_over_its_limit_the_next_is_asked_and_the_first_is_not_bothered() -> None:
    async with house() as there:
        one, two = limited(there.target("fake-latency-100"), 1.0), there.target("fake")
        first = asyncio.create_task(there.ask([one, two]))
        await there.fake.until(lambda served: bool(served.rows))
        told = await there.ask([one, two])
        assert told.by == "fake"
        assert (await first).by == "fake-latency-100"
        assert told.paper.outcomes == [(two.name, "ok", "")]


async def test_where_nobody_has_room_it_waits_a_moment_for_whoever_has_first() -> None:
    async with house() as there:
        one = limited(there.target("fake-latency-60"), 1.0)
        answers = await asyncio.gather(*(there.ask([one]) for _ in range(4)))
        assert all(told.by == "fake-latency-60" for told in answers)
        assert one.watch.inflight == 0


async def test_and_is_then_told_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.call.concurrency.WAIT", 0.05)
    async with house() as there:
        one = limited(there.target("fake-latency-400"), 1.0)
        first = asyncio.create_task(there.ask([one]))
        await there.fake.until(lambda served: bool(served.rows))
        told = await there.ask([one])
        assert isinstance(told.error, UpstreamOverloaded)
        assert told.error.code == "upstream_crowded"
        assert told.error.retry_after
        assert not told.paper.entries
        assert (await first).by == "fake-latency-400"


async def test_refusals_lower_the_limit_of_a_rented_deployment() -> None:
    async with house() as there:
        target = there.target("fake-latency-30+status-429")
        await asyncio.gather(*(there.ask([target]) for _ in range(20)))
        assert 4 <= target.watch.limit <= 18
        spent: dict[str, Any] = {"status": 429, "error": {"code": "insufficient_quota", "message": "no money"}}
        there.fake.script = {"rules": [{"reply": spent}]}
        other = there.target("fake")
        await asyncio.gather(*(there.ask([other]) for _ in range(8)))
        assert other.watch.limit == float("inf"), "a spent quota is no matter of how many at a time"

"""Hedges, over real sockets: one answer, the loser cut off and booked, a budget that holds, and nobody left behind."""

import asyncio

import pytest
from asking import PROMPT, House, Told, house, limited

from freehold.call.hedge import BURST, Hedging, most
from freehold.call.watch import ENOUGH
from freehold.config.schema_routing import Hedge
from freehold.errors import ClientGone, UpstreamBroken, UpstreamTimeout

HELLO = "Hello from the fake provider: nobody was billed for this."


def hedging(**rule: object) -> Hedging:
    return Hedging(Hedge(**{"after": 0.05, "share": 1.0, **rule}))  # type: ignore[arg-type]


async def settled(there: House, told: Told, requests: int = 2) -> list[str]:
    """How each attempt was booked, when all is over on both sides: nothing may be left open anywhere."""
    rows = await there.served(requests)
    assert sorted(str(row.client_request_id) for row in rows) == sorted(entry.call for entry in told.paper.entries)
    assert len({row.client_request_id for row in rows}) == requests
    return [entry.outcome for entry in told.paper.entries]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_second_answers_when_the_first_is_slow(stream: bool) -> None:
    async with house() as there:
        slow, quick = there.target("fake-latency-4000"), there.target("fake")
        hedge = hedging()
        told = await there.ask([slow, quick], stream=stream, hedge=hedge)
        assert (told.by, told.text) == ("fake", HELLO)
        assert told.answer is not None
        assert told.answer.attempts == 2
        assert await settled(there, told) == ["cancelled", "ok"]
        lost, won = told.paper.entries
        assert (lost.error, won.error, won.why) == ("hedge_lost", "", "hedge")
        assert lost.usage is not None
        assert (lost.usage.uncached, lost.usage.output, lost.usage.estimated) == (PROMPT, 0, True)
        assert (hedge.made, hedge.won) == (1, 1)
        assert slow.watch.inflight == quick.watch.inflight == 0
        assert slow.watch.failed == 0, "slow is not broken"
        row = next(row for row in there.fake.served.rows if row.model == "fake-latency-4000")
        assert row.cancelled_after_ms is not None
        assert row.cancelled_after_ms < 1000


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_may_win_after_all(stream: bool) -> None:
    async with house() as there:
        first, second = there.target("fake-latency-150"), there.target("fake-latency-4000")
        told = await there.ask([first, second], stream=stream, hedge=hedging())
        assert (told.by, told.text) == ("fake-latency-150", HELLO)
        assert await settled(there, told) == ["ok", "cancelled"]
        assert second.watch.inflight == 0
        assert told.answer is not None
        assert told.answer.attempts == 2


async def test_a_quick_one_is_not_hedged() -> None:
    async with house() as there:
        told = await there.ask([there.target("fake"), there.target("fake-x")], hedge=hedging(after=5.0))
        assert [entry.outcome for entry in told.paper.entries] == ["ok"]


async def test_a_stream_is_won_with_content_not_with_its_head() -> None:
    """The first says its role at once and is then silent: what it has sent is never shown."""
    async with house() as there:
        silent = there.target("fake-events-3+event-3000")
        told = await there.ask([silent, there.target("fake-latency-20")], stream=True, hedge=hedging(after=0.05))
        assert told.text == HELLO
        assert told.content.count(b'"role":"assistant"') == 1


async def test_what_the_loser_has_counted_is_what_is_booked() -> None:
    """A stream of Anthropic's counts the prompt before its first word."""
    async with house() as there:
        silent = there.target("fake-events-3+event-3000")
        silent.dialect = "messages"
        silent._address.paths["messages"] = "/messages"
        told = await there.ask([silent, there.target("fake")], stream=True, hedge=hedging(after=0.1))
        lost = told.paper.entries[0]
        assert lost.outcome == "cancelled"
        assert lost.usage is not None
        rows = await there.served(2)
        billed = next(row for row in rows if row.client_request_id == lost.call)
        assert (lost.usage.uncached, lost.usage.estimated) == (billed.input_tokens, False)


@pytest.mark.parametrize("stream", [False, True])
async def test_whoever_fails_leaves_it_to_the_other(stream: bool) -> None:
    async with house() as there:
        dying = there.target("fake-latency-120+status-500")
        told = await there.ask([dying, there.target("fake-latency-200")], stream=stream, hedge=hedging())
        assert told.by == "fake-latency-200"
        assert await settled(there, told) == ["failed", "ok"]
        told = await there.ask([there.target("fake-latency-150"), there.target("fake-status-500")], hedge=hedging())
        assert told.by == "fake-latency-150"
        assert [entry.outcome for entry in told.paper.entries] == ["ok", "failed"]


async def test_the_first_may_run_out_of_time_while_the_second_works() -> None:
    async with house() as there:
        stuck = there.target("fake-latency-9000", first_byte=0.15)
        told = await there.ask([stuck, there.target("fake-latency-400")], hedge=hedging())
        assert told.by == "fake-latency-400"
        assert told.paper.entries[0].error == "upstream_timeout"


async def test_the_second_has_a_deadline_of_its_own() -> None:
    async with house() as there:
        stuck = there.target("fake-latency-9000", first_byte=0.1)
        told = await there.ask([there.target("fake-latency-450"), stuck], hedge=hedging())
        assert told.by == "fake-latency-450"
        assert told.paper.entries[1].error == "upstream_timeout"
        told = await there.ask([there.target("fake-latency-100+status-500"), stuck], hedge=hedging(after=0.02))
        assert isinstance(told.error, UpstreamTimeout)


async def test_when_both_fail_the_rest_of_the_plan_is_asked() -> None:
    async with house() as there:
        dying = there.target("fake-latency-120+status-500"), there.target("fake-fault-cut-before-headers")
        told = await there.ask([*dying, there.target("fake")], hedge=hedging())
        assert told.by == "fake"
        assert await settled(there, told, 3) == ["failed", "failed", "ok"]
        told = await there.ask(list(dying), hedge=hedging())
        assert isinstance(told.error, UpstreamBroken)


async def test_one_that_fails_before_the_delay_is_followed_as_ever() -> None:
    async with house() as there:
        hedge = hedging(after=2.0)
        told = await there.ask([there.target("fake-status-500"), there.target("fake")], hedge=hedge)
        assert told.by == "fake"
        assert hedge.made == 0
        assert [entry.why for entry in told.paper.entries] == ["", "fallback"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_both_at_once(stream: bool) -> None:
    async with house() as there:
        one, two = there.target("fake-latency-8000"), there.target("fake-latency-9000")
        flight = there.flight()
        asking = asyncio.create_task(there.ask([one, two], stream=stream, flight=flight, hedge=hedging()))
        await there.fake.until(lambda served: len(served.rows) == 2)
        loop = asyncio.get_running_loop()
        left = loop.time()
        flight.abort(ClientGone("left"))
        told = await asking
        assert isinstance(told.error, ClientGone)
        assert await settled(there, told) == ["cancelled", "cancelled"]
        assert loop.time() - left < 0.1
        assert one.watch.inflight == two.watch.inflight == 0


async def test_a_client_that_leaves_when_only_the_second_is_left_ends_it_too() -> None:
    async with house() as there:
        one, two = there.target("fake-latency-100+status-500"), there.target("fake-latency-9000")
        flight = there.flight()
        asking = asyncio.create_task(there.ask([one, two], flight=flight, hedge=hedging()))
        await there.fake.until(lambda served: any(row.ended == "complete" for row in served.rows))
        await asyncio.sleep(0.05)
        flight.abort(ClientGone("left"))
        told = await asking
        assert isinstance(told.error, ClientGone)
        assert await settled(there, told) == ["failed", "cancelled"]
        assert two.watch.inflight == 0


async def test_a_gateway_that_stops_leaves_nothing_running() -> None:
    async with house() as there:
        one, two = there.target("fake-latency-8000"), there.target("fake-latency-9000")
        asking = asyncio.create_task(there.ask([one, two], hedge=hedging()))
        await there.fake.until(lambda served: len(served.rows) == 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        rows = await there.served(2)
        assert all(row.cancelled_after_ms is not None for row in rows)
        assert one.watch.inflight == two.watch.inflight == 0


async def test_the_winners_stream_goes_on_under_the_requests_own_flight() -> None:
    """The client may leave in the middle of it, and its silence is noticed."""
    async with house() as there:
        slow, long = there.target("fake-latency-8000"), there.target("fake-events-2000+event-20", idle=0.3)
        flight = there.flight()
        asking = asyncio.create_task(there.ask([slow, long], stream=True, flight=flight, hedge=hedging()))
        await there.served(1)
        assert flight.connection is not None
        flight.abort(ClientGone("left"))
        told = await asking
        assert isinstance(told.error, ClientGone)
        rows = await there.served(2)
        assert all(row.cancelled_after_ms is not None for row in rows)
        assert long.watch.inflight == 0


async def test_answers_are_never_mixed() -> None:
    """Both begin at about the same moment, many times over: each client gets one whole answer, all is settled once."""
    async with house() as there:
        one = there.target("fake-latency-10+jitter-90+text-one+event-1")
        two = there.target("fake-jitter-20+text-two+event-1")

        async def ask(number: int) -> Told:
            return await there.ask([one, two], stream=bool(number % 2), hedge=hedging(after=0.03))

        answers = await asyncio.gather(*(ask(number) for number in range(60)))
        assert {told.text for told in answers} == {"one", "two"}
        for told in answers:
            assert sorted(entry.outcome for entry in told.paper.entries) in (["ok"], ["cancelled", "ok"])
            assert next(entry for entry in told.paper.entries if entry.outcome == "ok").target == f"openai/{told.by}"
        assert one.watch.inflight == two.watch.inflight == 0
        assert one.watch.failed == two.watch.failed == 0, "who is cut off has not failed"


# When, and how many


async def test_the_delay_is_learned() -> None:
    slow = {"match": {"model": "usual"}, "reply": {"latency_ms": 40}}
    async with house({"rules": [slow]}) as there:
        one, two = there.target("usual"), there.target("fake")
        hedge = hedging(after="learned")
        assert hedge.delay(one.watch, False) is None, "nothing is known yet"
        for _ in range(ENOUGH):
            await there.ask([one])
        delay = hedge.delay(one.watch, False)
        assert delay is not None
        assert 0.04 <= delay <= 0.3
        assert hedge.delay(one.watch, True) is None, "streams have times of their own"
        there.fake.script = {"rules": [{**slow, "reply": {"latency_ms": 6000}}]}
        told = await there.ask([one, two], hedge=hedge)
        assert told.by == "fake"


async def test_no_more_than_the_share_whatever_happens() -> None:
    async with house() as there:
        slow, quick = there.target("fake-latency-60"), there.target("fake")
        hedge = hedging(share=0.1, after=0.01)
        for _ in range(3):
            await asyncio.gather(*(there.ask([slow, quick], hedge=hedge) for _ in range(40)))
        assert 5 <= hedge.made <= 0.1 * 120 + 1


def test_what_is_saved_up_is_bounded() -> None:
    hedge = hedging(share=0.5)

    class Quiet:
        def first_at(self, quantile: float) -> None: ...

    for _ in range(1000):
        hedge.delay(Quiet(), True)  # type: ignore[arg-type]
    assert hedge._saved == BURST


@pytest.mark.parametrize(("price", "made"), [(0.01, 1), (0.001, 0), (None, 1)])
async def test_no_dearer_than_allowed(price: float | None, made: int) -> None:
    """7 tokens at $1 and at most 1,024 at $2 a million: $0.002055."""
    async with house() as there:
        slow, quick = there.target("fake-latency-200"), there.target("fake")
        flight = there.flight()
        assert most(quick, flight) == pytest.approx(0.002055)
        hedge = hedging(price=price)
        await there.ask([slow, quick], flight=flight, hedge=hedge)
        assert hedge.made == made


@pytest.mark.parametrize("fields", [{"store": True}, {"mcp_servers": []}])
async def test_what_must_not_be_done_twice_is_not(fields: dict[str, object]) -> None:
    async with house() as there:
        operation = there.operation(stream=False, **fields)
        hedge = hedging()
        told = await there.ask(
            [there.target("fake-latency-200"), there.target("fake")], hedge=hedge, operation=operation
        )
        assert told.by == "fake-latency-200"
        assert hedge.made == 0


async def test_nobody_is_asked_who_rests_or_has_no_room() -> None:
    async with house() as there:
        slow, resting, full = (there.target("fake-latency-150"), there.target("fake"), there.target("fake-x"))
        resting.watch.breaker.trip(asyncio.get_running_loop().time())
        limited(full, 0.0)
        for second in (resting, full):
            hedge = hedging()
            told = await there.ask([slow, second], hedge=hedge)
            assert told.by == "fake-latency-150"
            assert hedge.made == 0

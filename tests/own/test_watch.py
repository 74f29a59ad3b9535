"""Engines that tell how full their cache is are asked while they work; those that do not are left alone."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from freehold.errors import EngineError
from freehold.own import watch as watching
from freehold.own.engine import Adapter, Probe, Progress
from freehold.own.link import Report, Row
from freehold.own.lives import Run
from freehold.own.tally import Tally
from freehold.own.watch import Watch


class Life:
    def __init__(self, answer: bytes | None) -> None:
        self.answer, self.asked = answer, 0

    async def ask(self, probe: Probe) -> bytes:
        self.asked += 1
        if self.answer is None:
            raise EngineError("it does not answer")
        return self.answer


class Engine:
    """As much of a Run and of an Adapter as the watch asks for."""

    name = "a"
    number = 1
    serves = True
    metrics = Probe("/metrics")

    def __init__(self, answer: bytes | None) -> None:
        self.life = Life(answer)

    def progress(self, body: bytes) -> Progress:
        return Progress(cache=float(body)) if body else Progress()


async def told_by(engine: Engine, looks: int, inflight: int = 1) -> list[Progress]:
    tally, told, tasks = Tally(), list[Progress](), list[asyncio.Task[None]]()

    def begin(work: Coroutine[Any, Any, None]) -> None:
        tasks.append(asyncio.ensure_future(work))

    watch = Watch(tally, 600.0, lambda run, why: None, begin, lambda name, progress: told.append(progress))
    for look in range(looks):
        tally.heard(1, Report(1, [Row("a", 1, inflight, 1, look)]), 0.0)
        watch.look(cast("Run", engine), cast("Adapter", engine))
        await asyncio.gather(*tasks)
    return told


async def test_it_is_told_how_full_the_cache_is_but_not_at_every_look() -> None:
    engine = Engine(b"0.25")
    assert await told_by(engine, 5) == [Progress(cache=0.25)]
    assert engine.life.asked == 1


async def test_it_is_told_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "GAUGE_EVERY", 0.0)
    assert len(await told_by(Engine(b"0.25"), 5)) == 5


async def test_an_engine_that_does_not_tell_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "GAUGE_EVERY", 0.0)
    engine = Engine(b"")
    assert await told_by(engine, 5) == []
    assert engine.life.asked == 1


async def test_an_idle_engine_is_left_alone() -> None:
    engine = Engine(b"0.25")
    assert await told_by(engine, 3, inflight=0) == []
    assert engine.life.asked == 0


async def test_one_that_fails_to_answer_harms_nobody() -> None:
    assert await told_by(Engine(None), 2) == []

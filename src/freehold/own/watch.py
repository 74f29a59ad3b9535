"""Looks after engines that are ready: feeds the judge of wedged engines (health.py) and sends the probes it asks for.

Observations come from the workers' reports; the engine's own counter is read only when its answers have been silent for
a while. The probe goes straight to the engine and not through the gateway, so nothing that is in flight delays it but
the engine itself.

An engine that tells how full its cache is (vLLM, SGLang) is asked for that about once a second while it works, for
decisions go by it. llama.cpp divides its cache among its places beforehand: it would say nothing new.
"""

import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec
from msgspec import structs

from freehold.errors import EngineError
from freehold.own.engine import Adapter, Progress
from freehold.own.health import Counts, Judge, Seen, Verdict
from freehold.own.link import Answered
from freehold.own.lives import Run
from freehold.own.tally import Tally

QUIET = 0.25
"""In multiples of the stall: silence after which the engine's own counter is read."""

GAUGE_EVERY = 1.0
"""Seconds between questions to a working engine how full its cache is."""

COUNTS: dict[str, Counts] = {"llamacpp": "steps", "llama-server": "steps", "vllm": "tokens", "sglang": "tokens"}
"""What an engine's own counter shows; "ends" (of requests only) for the others."""


class Watch:
    """`eject` is called with a run that is wedged, and why. `begin` runs a coroutine beside the steward's task. `gauge`
    is told what an engine says of its work, where it tells how full its cache is."""

    def __init__(
        self,
        tally: Tally,
        stall: float,
        eject: Callable[[Run, str], None],
        begin: Callable[[Coroutine[Any, Any, None]], None],
        gauge: Callable[[str, Progress], None] | None = None,
    ) -> None:
        self._gauge = gauge
        self._gauged: dict[str, tuple[int, float]] = {}
        """When an engine was asked last, with the number of its life; never again where that is infinite."""
        self._tally = tally
        self.stall = stall
        self._eject = eject
        self._begin = begin
        self._judges: dict[str, Judge] = {}
        self._heard: dict[str, tuple[int, float]] = {}
        self._reading: set[str] = set()

    @property
    def period(self) -> float:
        """Seconds between looks."""
        return min(1.0, self.stall / 10)

    def began(self, run: Run, adapter: Adapter) -> None:
        judge = self._judges.get(run.name)
        if judge is None:
            judge = self._judges[run.name] = Judge(self.stall, counts=COUNTS.get(adapter.name, "ends"))
        judge.began(time.monotonic())
        self._heard.pop(run.name, None)

    def learn(self, answers: Iterable[Answered]) -> None:
        """Takes in how fast engines were: what honest work takes is known from that."""
        for one in answers:
            if (judge := self._judges.get(one.name)) is not None:
                judge.answered(one.read, one.first, one.written, one.total)

    def forget(self, name: str) -> None:
        self._judges.pop(name, None)
        self._heard.pop(name, None)
        self._gauged.pop(name, None)

    def look(self, run: Run, adapter: Adapter) -> None:
        """Called every `period` for each engine that is ready."""
        now = time.monotonic()
        seen = self._tally.look(run.name, run.number, now)
        if self._gauge is not None and seen.inflight and adapter.metrics is not None:
            self._ask(run, adapter, now)
        received, since = self._heard.get(run.name, (-1, now))
        if seen.received != received or not seen.inflight:
            self._heard[run.name] = (seen.received, now)
        elif now - since >= QUIET * self.stall and adapter.metrics is not None and run.life is not None:
            if run.name not in self._reading:
                self._reading.add(run.name)
                self._begin(self._look_closer(run, adapter))
            return
        self._judge(run, adapter, seen)

    def _ask(self, run: Run, adapter: Adapter, now: float) -> None:
        number, last = self._gauged.get(run.name, (-1, 0.0))
        if (number != run.number or now - last >= GAUGE_EVERY) and run.name not in self._reading:
            self._gauged[run.name] = (run.number, now)
            self._begin(self._measure(run, adapter))

    async def _measure(self, run: Run, adapter: Adapter) -> None:
        assert adapter.metrics is not None
        if run.life is None or self._gauge is None:
            return
        try:
            progress = adapter.progress(await run.life.ask(structs.replace(adapter.metrics, timeout=GAUGE_EVERY)))
        except EngineError:
            return
        if progress.cache is None:
            self._gauged[run.name] = (run.number, float("inf"))
        elif run.serves:
            self._gauge(run.name, progress)

    async def _look_closer(self, run: Run, adapter: Adapter) -> None:
        progress = None
        try:
            assert adapter.metrics is not None
            probe = structs.replace(adapter.metrics, timeout=max(0.1, self.period))
            if run.life is not None:
                progress = _counted(adapter.progress(await run.life.ask(probe)))
        except EngineError:
            pass
        finally:
            self._reading.discard(run.name)
        if run.serves:
            seen = self._tally.look(run.name, run.number, time.monotonic())
            self._judge(run, adapter, structs.replace(seen, progress=progress))

    def _judge(self, run: Run, adapter: Adapter, seen: Seen) -> None:
        judge = self._judges.get(run.name)
        if judge is None:
            return
        verdict = judge.look(seen)
        if verdict.probe is not None:
            self._begin(self._probe(run, adapter, judge, verdict.probe))
        self._act(run, verdict)

    async def _probe(self, run: Run, adapter: Adapter, judge: Judge, timeout: float) -> None:
        token = False
        try:
            if run.life is not None:
                probe = structs.replace(adapter.warm_up(run.spec, run.prepared.model), timeout=timeout)
                token = has_token(await run.life.ask(probe))
        except EngineError:
            pass
        if run.serves:
            self._act(run, judge.probed(time.monotonic(), token=token))

    def _act(self, run: Run, verdict: Verdict) -> None:
        if verdict.state == "wedged" and run.serves:
            self._eject(run, f"wedged: {verdict.why}")


class _Choice(msgspec.Struct):
    text: str | None = None
    message: dict[str, Any] | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []
    data: list[Any] = []
    results: list[Any] = []
    usage: dict[str, Any] | None = None


def has_token(body: bytes) -> bool:
    """Whether an answer to the smallest request holds what was asked for: a token, a vector, a score."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        return False
    if answer.data or answer.results:
        return True
    made = (answer.usage or {}).get("completion_tokens")
    return bool(answer.choices) and made != 0


def _counted(progress: Progress) -> int | None:
    """One number that moves with the work."""
    known = [value for value in progress.counts if value is not None]
    return round(sum(known)) if known else None

"""The steward's engine half: what should run, runs; what the gateway may know of it stands in run/engines.json.

One task, `Steward.run`, owns all state. Everybody else only posts events to it: `apply` (what should run), the tasks
that each watch one child process, and timers. So there are no locks, and no two transitions at once.

A child that ends is started again: soon after the first time, later and later after that, and after `crashes` deaths
without a good life between them only every `rest` seconds (the crash-loop breaker). What cannot get better by itself,
such as a broken file, is not tried again until `apply` is called. READY means that a token has been generated.

The file is replaced in one step and readable by the owner only, because it holds the engines' keys.
"""

import asyncio
import random
import re
import secrets
import time
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from freehold.errors import EngineError, FreeholdError
from freehold.home import write_private
from freehold.own.engine import (
    TRANSITIONS,
    Adapter,
    EngineSpec,
    LaunchPlan,
    Missing,
    Published,
    State,
)
from freehold.own.gguf import ModelFile, read_header
from freehold.own.life import BoundedLog, Life, describe
from freehold.own.llamacpp import LlamaCpp
from freehold.own.memory import available, refuse_too_large

FILE = "engines.json"


class Policy(Struct, frozen=True):
    """Durations are seconds."""

    first: float = 0.2
    """Pause after the first death; it doubles with each further one."""
    longest: float = 30.0
    crashes: int = 5
    rest: float = 300.0
    stable: float = 60.0
    """A life in READY this long makes earlier deaths forgotten."""
    notice: float = 1.0
    """Between the announcement that an engine drains and SIGTERM: gateway workers look at the file this often."""
    drain: float = 30.0

    def pause(self, deaths: int) -> float:
        if deaths >= self.crashes:
            return self.rest
        return float(min(self.longest, self.first * 2 ** (deaths - 1))) * random.uniform(0.8, 1.2)  # noqa: S311


# Events. `life` numbers the lives of one engine, so that news of an earlier one is recognised and dropped.


class Wanted(Struct):
    specs: tuple[EngineSpec, ...]


class Spawned(Struct):
    name: str
    number: int
    life: Life
    plan: LaunchPlan


class Answering(Struct):
    name: str
    number: int


class Warm(Struct):
    name: str
    number: int
    capabilities: list[str]


class Ended(Struct):
    name: str
    number: int
    reason: str
    lasting: bool


class Due(Struct):
    name: str
    number: int


class Stop(Struct):
    pass


class Republish(Struct):
    """The file could not be written a moment ago."""


News = Spawned | Answering | Warm | Ended | Due
Event = News | Wanted | Stop | Republish


class _Engine:
    """What the steward knows of one engine."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.state = State.ABSENT
        self.since = time.time()
        self.error: str | None = None
        self.number = 0
        self.deaths = 0
        self.reserved = 0
        self.life: Life | None = None
        self.plan: LaunchPlan | None = None
        self.task: asyncio.Task[tuple[str, bool]] | None = None
        self.capabilities: list[str] = []
        self.successor: EngineSpec | None = None

    def to(self, state: State, error: str | None = None) -> None:
        assert state in TRANSITIONS[self.state], f"{self.state} to {state}"
        self.state, self.error, self.since = state, error, time.time()

    def published(self) -> Published:
        reachable = self.state in (State.READY, State.DRAINING) and self.life is not None
        return Published(
            state=self.state,
            base_url=f"{self.life.origin}/v1" if reachable and self.life else "",
            api_key=self.plan.api_key if reachable and self.plan else "",
            pid=self.life.pid if self.life else None,
            since=self.since,
            context=self.spec.context,
            capabilities=self.capabilities,
            error=self.error,
        )


class Steward:
    """Keeps `specs` running from `run` until its `stop` event is set."""

    def __init__(
        self,
        specs: Iterable[EngineSpec],
        run_dir: Path,
        log_dir: Path | None = None,
        *,
        adapters: Mapping[str, Adapter] | None = None,
        policy: Policy | None = None,
    ) -> None:
        self._policy = policy or Policy()
        self._adapters = adapters or {"llamacpp": LlamaCpp(drain=self._policy.drain)}
        self._file = run_dir / FILE
        self._logs = log_dir or run_dir
        self._engines: dict[str, _Engine] = {}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._helpers: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.apply(specs)

    def apply(self, specs: Iterable[EngineSpec]) -> None:
        """From now on these should run: new ones start, others drain, unchanged ones go on, failed ones try again."""
        self._events.put_nowait(Wanted(tuple(specs)))

    def published(self) -> dict[str, Published]:
        """Returns what engines.json holds."""
        return {name: engine.published() for name, engine in self._engines.items()}

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set and every engine has ended. Cancelled, it kills them."""
        stopper = asyncio.create_task(self._stop_when(stop))
        try:
            while not (self._stopping and all(engine.task is None for engine in self._engines.values())):
                self._handle(await self._events.get())
                while not self._events.empty():
                    self._handle(self._events.get_nowait())
                self._publish()
        finally:
            stopper.cancel()
            for engine in self._engines.values():
                if engine.life is not None:
                    engine.life.kill()
            rest: list[asyncio.Task[Any]] = [
                *self._helpers,
                *(engine.task for engine in self._engines.values() if engine.task is not None),
            ]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, stopper, return_exceptions=True)

    async def _stop_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._events.put_nowait(Stop())

    def _publish(self) -> None:
        """A full disk must not end the steward: the file is written as soon as there is room."""
        try:
            write_private(self._file, msgspec.json.encode(self.published()))
        except OSError:
            asyncio.get_running_loop().call_later(1.0, self._events.put_nowait, Republish())

    # transitions: called by `run` only

    def _handle(self, event: Event) -> None:
        match event:
            case Wanted(specs):
                if not self._stopping:
                    self._want(specs)
                return
            case Stop():
                self._stopping = True
                for engine in list(self._engines.values()):
                    engine.successor = None
                    self._end(engine, notice=0.0)
                return
            case Republish():
                return
        found = self._engines.get(event.name)
        if found is not None and found.number == event.number:
            self._news(found, event)

    def _news(self, engine: _Engine, event: News) -> None:
        match event:
            case Spawned(_, _, life, plan):
                engine.life, engine.plan = life, plan
                if engine.state is State.DRAINING:
                    life.kill()
            case Answering() if engine.state is State.STARTING:
                engine.to(State.WARMING)
            case Warm(_, _, capabilities) if engine.state is State.WARMING:
                engine.capabilities = capabilities
                engine.reserved = engine.plan.mapped if engine.plan else 0
                engine.to(State.READY)
            case Ended(_, _, reason, lasting):
                self._ended(engine, reason, lasting)
            case Due() if engine.state is State.FAILED and not self._stopping:
                self._start(engine)

    def _want(self, specs: tuple[EngineSpec, ...]) -> None:
        wanted = {spec.name: spec for spec in specs}
        for name, engine in list(self._engines.items()):
            if name not in wanted:
                engine.successor = None
                self._end(engine, notice=self._policy.notice)
        for name, spec in wanted.items():
            known = self._engines.get(name)
            if known is None:
                self._engines[name] = _Engine(spec)
                self._start(self._engines[name])
            elif known.state in (State.FAILED, State.STOPPED, State.ABSENT):
                known.spec, known.deaths = spec, 0
                self._start(known)
            elif known.state is State.DRAINING:
                known.successor = spec
            elif known.spec != spec:
                known.successor = spec
                self._end(known, notice=self._policy.notice)

    def _start(self, engine: _Engine) -> None:
        engine.number += 1
        engine.life = engine.plan = None
        engine.to(State.STARTING)
        spec, number = engine.spec, engine.number
        engine.task = asyncio.create_task(self._live(spec, number))
        engine.task.add_done_callback(lambda task: self._events.put_nowait(_end_of(task, spec.name, number)))

    def _end(self, engine: _Engine, *, notice: float) -> None:
        """Lets an engine that may have requests drain; any other is stopped on the spot."""
        if engine.state in (State.DRAINING, State.STOPPED):
            return
        if engine.task is None:
            engine.to(State.STOPPED)
            self._forget(engine)
            return
        ready = engine.state is State.READY
        engine.to(State.DRAINING)
        if engine.life is None:
            engine.task.cancel()
        elif ready:
            self._begin(self._drain(engine.life, notice))
        else:
            engine.life.kill()

    def _ended(self, engine: _Engine, reason: str, lasting: bool) -> None:
        engine.life = engine.plan = engine.task = None
        engine.reserved = 0
        if engine.state is State.DRAINING:
            engine.to(State.STOPPED)
            if engine.successor is not None and not self._stopping:
                engine.spec, engine.successor, engine.deaths = engine.successor, None, 0
                self._start(engine)
            else:
                self._forget(engine)
            return
        good = engine.state is State.READY and time.time() - engine.since >= self._policy.stable
        engine.deaths = 1 if good else engine.deaths + 1
        if lasting:
            engine.to(State.FAILED, reason)
            return
        pause = self._policy.pause(engine.deaths)
        engine.to(State.FAILED, f"{reason}; death {engine.deaths}, next start in {pause:.1f} s")
        asyncio.get_running_loop().call_later(pause, self._events.put_nowait, Due(engine.spec.name, engine.number))

    def _forget(self, engine: _Engine) -> None:
        if not self._stopping:
            del self._engines[engine.spec.name]

    # one life, and its end: run as tasks of their own, and post events

    async def _live(self, spec: EngineSpec, number: int) -> tuple[str, bool]:
        """Returns why the life ended, once the process is gone, and whether the next would end the same way."""
        life: Life | None = None
        try:
            adapter, model, plan = await self._prepare(spec)
            life = await Life.spawn(plan, BoundedLog(self._logs / f"engine-{_file_name(spec.name)}.log"))
            self._events.put_nowait(Spawned(spec.name, number, life, plan))
            await life.answering()
            self._events.put_nowait(Answering(spec.name, number))
            for probe in (adapter.health, adapter.warm_up(model)):
                await life.ask(probe)
            facts = _object(await life.ask(adapter.facts))
            self._events.put_nowait(Warm(spec.name, number, adapter.capabilities(spec, model, facts)))
            return f"it ended ({describe(await life.exited())})" + life.last_words(), False
        except FreeholdError as error:
            return error.text, error.retry == "no"
        except OSError as error:
            return f"{spec.path}: {error.strerror or error}", True
        finally:
            if life is not None:
                await life.end()

    async def _prepare(self, spec: EngineSpec) -> tuple[Adapter, ModelFile, LaunchPlan]:
        """Looks before it leaps: engine installed, file sound, memory enough. Raises EngineError or OSError."""
        adapter = self._adapters[spec.engine]
        found = adapter.probe()
        if isinstance(found, Missing):
            raise EngineError(found.reason, code="engine_missing", hint=found.hint, retry="no")
        assert spec.path is not None
        model = await asyncio.to_thread(read_header, spec.path)
        plan = adapter.plan(spec, model, secrets.token_urlsafe(32))
        if not spec.gpu_layers:
            self._reserve(spec, model, plan)
        return adapter, model, plan

    def _reserve(self, spec: EngineSpec, model: ModelFile, plan: LaunchPlan) -> None:
        """Starting engines have not taken their memory yet; pages of weights in use only look free."""
        free = available()
        if free is not None:
            free -= sum(other.reserved for other in self._engines.values() if other.spec.name != spec.name)
        refuse_too_large(model, need=plan.memory, free=free, context=spec.context, parallel=spec.parallel)
        self._engines[spec.name].reserved = plan.memory

    async def _drain(self, life: Life, notice: float) -> None:
        await asyncio.sleep(notice)
        await life.stop(self._policy.drain)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)


def _end_of(task: asyncio.Task[tuple[str, bool]], name: str, number: int) -> Ended:
    """Also for a task that was cancelled before it began, or failed as nobody foresaw."""
    if task.cancelled():
        return Ended(name, number, "it was stopped", lasting=False)
    if error := task.exception():
        return Ended(name, number, f"{type(error).__name__}: {error}", lasting=False)
    return Ended(name, number, *task.result())


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100]

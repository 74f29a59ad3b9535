"""The steward: the one process beside the workers. It runs engines, and turns journals into the ledger.

Everything here is off the request path and may take its time: ledger ingestion, price data (a heavy import), local
servers looked for on their usual ports, metrics of workers that have died. What workers need of it they find in small
files under run/. When it is killed, nothing is lost: journals keep what was written, the ledger's place in them is
saved with its rows, and the parent starts it again.
"""

import asyncio
import os
import signal
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

from freehold.admit.budget import Spent
from freehold.admit.keys import read_keys
from freehold.call.providers import resolve, rows
from freehold.config.budgets import PERIODS, began
from freehold.config.checks_own import own_name
from freehold.config.load import Loaded
from freehold.config.schema import Config
from freehold.config.schema_routing import Auto
from freehold.config.sizes import parse_size
from freehold.errors import ConfigError, FreeholdError
from freehold.home import database, home, journal_dir, keys_file, log_dir, run_dir, write_private
from freehold.labels.policies import rows as terms
from freehold.labels.rules import today
from freehold.own.budget import Budget
from freehold.own.catalog import engine_specs, reasons, unpulled, words
from freehold.own.engine import Progress
from freehold.own.events import Absent
from freehold.own.steward import Steward
from freehold.own.stock import asked
from freehold.own.weights.store import Store as WeightStore
from freehold.own.weights.store import open_store
from freehold.record.ingest import Ingest
from freehold.record.metrics import fold_departed, save_ledger
from freehold.record.prices import Pricer, price_age
from freehold.record.receipts.taking import open_receipts
from freehold.record.store import Store
from freehold.record.usage import spent_by_key
from freehold.serve.board import STEWARD, Board, Load
from freehold.serve.catalog import build_catalog
from freehold.serve.floors import FILE as FLOORS
from freehold.serve.floors import Floors
from freehold.serve.foresight import Foresight
from freehold.serve.local import LocalServers
from freehold.serve.processes import Snapshotted, die_with_parent
from freehold.serve.published import Rate, Rates
from freehold.serve.pulls import Pulls
from freehold.serve.rollout import Referee, Wanted

INGEST_EVERY = 0.5
INGEST_BATCH = 20_000
LOCAL_EVERY = 30.0
STORE_EVERY = 0.25
JUDGE_EVERY = 1.0
FOLD_EVERY = 5.0
SIGN_EVERY = 60.0
SPENT_EVERY = 2.0


def run(source: Snapshotted) -> None:
    """Works until SIGTERM, then ingests what is left and stops the engines."""
    die_with_parent(signal.SIGTERM)
    asyncio.run(_run(source))


async def _run(source: Snapshotted) -> None:
    loaded = source.load()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    engines = _Engines(loaded)
    local = LocalServers(lambda: engines.version)
    work = [
        loop.create_task(engines.run(stop)),
        loop.create_task(_every(STORE_EVERY, stop, engines.look_at_store)),
        loop.create_task(_every(JUDGE_EVERY, stop, engines.judge_canaries)),
        loop.create_task(_every(LOCAL_EVERY, stop, local.look)),
        loop.create_task(_every(FOLD_EVERY, stop, _fold)),
    ]
    ledger = await _Ledger.open(loaded)
    work.append(loop.create_task(ledger.run(stop)))

    def reload() -> None:
        try:
            changed = source.load()
            engines.configure(changed)
            ledger.configure(changed)
        except FreeholdError as error:
            _say(f"the steward keeps its configuration: {error}")

    loop.add_signal_handler(signal.SIGHUP, reload)
    stopped = loop.create_task(stop.wait())
    await asyncio.wait([stopped, work[0]], return_when=asyncio.FIRST_COMPLETED)
    failure = work[0].exception() if work[0].done() else None
    stop.set()
    await asyncio.gather(stopped, *work, return_exceptions=True)
    local.close()
    await ledger.finish()
    if failure is not None:
        raise failure


class _Engines:
    """What should run: the configuration's models, and what is in the store, which is watched."""

    def __init__(self, loaded: Loaded) -> None:
        self._store = open_store()
        self._seen = self._store.changed()
        self._loaded = loaded
        self._told: set[str] = set()
        config = loaded.config
        self._budget = Budget(home(), *_limits(config))
        self._steward = Steward(
            [],
            run_dir(),
            log_dir(),
            budget=self._budget,
            workers=config.server.workers,
            stall=config.engines.stall,
            gauge=self._gauge,
        )
        self._board = Board(run_dir() / "board", STEWARD)
        self._pulls = Pulls(self._apply, _say)
        self._referee = Referee(run_dir(), home() / "rollouts.json", self._store.promote)
        self._apply()

    async def run(self, stop: asyncio.Event) -> None:
        try:
            await self._steward.run(stop)
        finally:
            await self._pulls.close()

    def _gauge(self, engine: str, progress: Progress) -> None:
        """Tells the workers how full an engine says its cache is."""
        self._board.write(engine, Load(cache=progress.cache or 0.0), time.monotonic())

    @property
    def version(self) -> str:
        """Of the configuration in force."""
        return self._loaded.version

    def configure(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._budget.limit(*_limits(loaded.config))
        self._steward.configure(stall=loaded.config.engines.stall, workers=loaded.config.server.workers)
        self._pulls.forgive()
        self._apply()

    async def look_at_store(self) -> None:
        """A model that was pulled is offered as soon as its record is there."""
        changed = self._store.changed()
        if changed != self._seen:
            self._seen = changed
            self._apply()

    async def judge_canaries(self) -> None:
        """One that cannot run is taken back like one that answers badly."""
        engines = self._steward.published()
        failures = {name: entry.error or "" for name, entry in engines.items() if entry.lasting}
        if self._referee.step(time.time(), failures):
            await self.look_at_store()

    def _apply(self) -> None:
        """The parent has checked the files; one that is gone since is told, once, and left out."""
        broken: list[ConfigError] = []
        specs = engine_specs(self._loaded.config, self._loaded.path, broken, store=self._store)
        for error in broken:
            if str(error) not in self._told:
                self._told.add(str(error))
                _say(str(error))
        config = self._loaded.config
        absent = {name: Absent(why) for name, why in reasons(config, broken).items()}
        self._steward.apply(specs, absent | self._begin(config))
        self._referee.configure(_canaries(self._loaded.config, self._store))

    def _begin(self, config: Config) -> dict[str, Absent]:
        """Begins to pull what is not there yet, or says why it cannot be pulled here."""
        wanted = unpulled(config, self._store)
        if config.server.egress == "open":
            return self._pulls.begin(wanted, words(config))
        return {name: Absent(f"its weights are not here, and {_away(config)}") for name in wanted}


def _away(config: Config) -> str:
    if config.server.egress == "none":
        return "this gateway is air-gapped; freehold weights import takes them from a file"
    return "with strict egress they are pulled before the start; freehold pull, elsewhere, brings them at any time"


def _canaries(config: Config, store: WeightStore) -> list[Wanted]:
    """The canaries of models whose weights are there."""
    there, found = set(store.names()), []
    for owned in config.own:
        name = own_name(owned)
        if owned.canary is not None and name in there:
            wanted = asked(store, name, owned)
            if wanted.pull is None:
                pinned = wanted.version is not None
                found.append(Wanted(name, owned.canary, wanted.version or store.current(name), pinned=pinned))
    return found


def _limits(config: Config) -> tuple[int | None, int | None]:
    ram, gpu = config.engines.memory, config.engines.gpu_memory
    return (parse_size(ram) if ram is not None else None, parse_size(gpu) if gpu is not None else None)


class _Ledger:
    """Journals into the store, and the figures that follow from it.

    All of it runs in one thread of its own: the engines' loop must not wait for a database, nor they for it.
    """

    @classmethod
    async def open(cls, loaded: Loaded) -> "_Ledger":
        thread = ThreadPoolExecutor(1, "ledger")
        return await asyncio.get_running_loop().run_in_executor(thread, cls, loaded, thread)

    def __init__(self, loaded: Loaded, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._store = Store(database())
        self._pricer = _pricer(loaded)
        self._ingest = Ingest(self._store, journal_dir(), self._pricer, lambda: open_receipts(home(), os.environ))
        self._terms_at = today()
        self._signed_at = 0.0
        self._loaded = loaded
        self._rates_due = True
        self._spending = Spending()
        self._spending_at = 0.0
        self._floors = Floors(home() / FLOORS, run_dir() / FLOORS)
        self._watch_floors()

    def configure(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._pricer = _pricer(loaded)
        self._ingest.pricer = self._pricer
        self._rates_due = True
        self._watch_floors()

    def _watch_floors(self) -> None:
        routes = {name: route for name, route in self._loaded.config.models.items() if isinstance(route, Auto)}
        floors = {name: (one.floor, one.confidence) for name, one in routes.items() if one.floor is not None}
        if floors:
            endpoints = resolve(self._loaded.config, os.environ)
            foresight = Foresight(self._loaded, build_catalog(self._loaded, endpoints, {}, {}, {}))
            self._floors.configure(foresight, floors)

    async def run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            try:
                busy = await loop.run_in_executor(self._thread, self._step)
                if self._rates_due or self._terms_expired():
                    self._rates_due = False
                    await loop.run_in_executor(self._thread, self._publish_rates)
            except Exception as error:
                _say(f"the ledger could not be written: {type(error).__name__}: {error}; it will be tried again")
                busy = False
            if not busy:
                await _pause(stop, INGEST_EVERY)

    def _terms_expired(self) -> bool:
        """Whether a provider's terms have expired since the last look. Then the workers begin anew with the rates, and
        what they knew of who may see what is forgotten."""
        before, self._terms_at = self._terms_at, today()
        return before != self._terms_at and any(before < row.expires <= self._terms_at for row in terms().values())

    async def finish(self) -> None:
        """Takes in what the workers left when they stopped. What cannot be written now waits in the journals."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._finish)
        self._thread.shutdown()

    def _finish(self) -> None:
        try:
            while self._step():
                pass
            self._ingest.sign()
        except Exception as error:
            _say(f"the ledger could not be completed: {type(error).__name__}: {error}; the next start will go on")
        self._ingest.close()
        self._store.close()

    def _step(self) -> bool:
        start = time.time()
        report = self._ingest.step(INGEST_BATCH)
        if report.entries or report.calls:
            totals = self._store.totals()
            totals.lag_seconds = report.lag_seconds
            save_ledger(run_dir(), totals)
        self._spending.changed |= report.calls > 0
        if report.entries or report.calls:
            self._floors.step(self._store.connection)
        if report.entries >= INGEST_BATCH:
            return True
        if not 0 <= start - self._signed_at < SIGN_EVERY:
            self._ingest.sign()
            self._signed_at = start
        if not report.locked and not 0 <= start - self._spending_at < SPENT_EVERY:
            self._spending_at = start
            self._spending.publish(self._store.connection, self._loaded.config, start)
        return False

    def _publish_rates(self) -> None:
        """Prices of every deployment that can be chosen, for ranking: loaded once, the price data is slow to import."""
        endpoints = resolve(self._loaded.config, os.environ)
        catalog = build_catalog(self._loaded, endpoints, {}, {}, {})
        rates: dict[str, Rate] = {}
        for deployment in catalog.deployments.values():
            found = None if deployment.owned else self._pricer.per_million(deployment.provider, deployment.model)
            if found is not None:
                rates[deployment.name] = Rate(*found)
        age = price_age()
        write_private(run_dir() / "rates.json", msgspec.json.encode(Rates(age.isoformat() if age else "", rates)))


class Spending:
    """run/spent.json: what each key has spent in the present day, week and month, if any key has a budget."""

    def __init__(self) -> None:
        self._starts: dict[str, float] = {}
        self._keys: dict[str, tuple[int, int, int]] = {}
        self.changed = True
        """Whether calls have come into the ledger since the sums were made."""

    def publish(self, connection: sqlite3.Connection, config: Config, at: float) -> None:
        """`at`: Unix time in seconds up to which the ledger is complete."""
        if not _budgeted(config):
            return
        starts: dict[str, float] = {period: began(period, at) for period in PERIODS}
        if self.changed or starts != self._starts:
            sums = spent_by_key(connection, [starts[period] for period in PERIODS])
            self._keys = {name: (day, week, month) for name, (day, week, month) in sums.items()}
            self._starts, self.changed = starts, False
        write_private(run_dir() / "spent.json", msgspec.json.encode(Spent(at, self._starts, self._keys)))


def _budgeted(config: Config) -> bool:
    """Whether some key may have a budget; a key file that cannot be read says nothing to the contrary."""
    try:
        return any(key.budget is not None for key in (*config.keys, *read_keys(keys_file())))
    except ConfigError:
        return True


def _pricer(loaded: Loaded) -> Pricer:
    return Pricer(loaded.config, {name: row.prices for name, row in rows().items() if row.prices})


async def _fold() -> None:
    fold_departed(run_dir())


async def _every(seconds: float, stop: asyncio.Event, work: "object") -> None:
    assert callable(work)
    while not stop.is_set():
        try:
            await work()
        except Exception as error:
            _say(f"{getattr(work, '__name__', 'work').strip('_')} failed: {type(error).__name__}: {error}")
        await _pause(stop, seconds)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _say(text: str) -> None:
    sys.stderr.write(f"freehold steward, {time.strftime('%H:%M:%S')}: {text}\n")
    sys.stderr.flush()

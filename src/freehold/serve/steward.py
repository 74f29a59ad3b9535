"""The steward: the one process beside the workers. It runs engines, and turns journals into the ledger.

Everything here is off the request path and may take its time: ledger ingestion, price data (a heavy import), local
servers looked for on their usual ports, metrics of workers that have died. What workers need of it they find in small
files under run/. When it is killed, nothing is lost: journals keep what was written, the ledger's place in them is
saved with its rows, and the parent starts it again.
"""

import asyncio
import os
import signal
import sys
import time

import msgspec

from freehold.call.discover import probe_local
from freehold.call.providers import resolve, rows
from freehold.call.transport import fetch
from freehold.config.load import Loaded
from freehold.errors import ConfigError, FreeholdError
from freehold.home import database, journal_dir, log_dir, run_dir, write_private
from freehold.own.catalog import engine_specs
from freehold.own.engine import EngineSpec
from freehold.own.steward import Steward
from freehold.record.ingest import Ingest
from freehold.record.metrics import fold_departed, save_ledger
from freehold.record.prices import Pricer, price_age
from freehold.record.store import Store
from freehold.serve.catalog import build_catalog
from freehold.serve.processes import Snapshotted, die_with_parent
from freehold.serve.published import Local, Rate, Rates

INGEST_EVERY = 0.5
INGEST_BATCH = 20_000
LOCAL_EVERY = 30.0
FOLD_EVERY = 5.0


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
    engines = Steward(_specs(loaded), run_dir(), log_dir())
    work = [
        loop.create_task(engines.run(stop)),
        loop.create_task(_every(LOCAL_EVERY, stop, _look_for_local)),
        loop.create_task(_every(FOLD_EVERY, stop, _fold)),
    ]
    ledger = _Ledger(loaded)
    work.append(loop.create_task(ledger.run(stop)))

    def reload() -> None:
        try:
            changed = source.load()
            engines.apply(_specs(changed))
            ledger.configure(changed)
        except FreeholdError as error:
            _say(f"the steward keeps its configuration: {error}")

    loop.add_signal_handler(signal.SIGHUP, reload)
    await stop.wait()
    await asyncio.gather(*work, return_exceptions=True)
    ledger.finish()


def _specs(loaded: Loaded) -> list[EngineSpec]:
    """The engines that can run. The parent has checked the files; one that is gone since is told and left out."""
    broken: list[ConfigError] = []
    specs = engine_specs(loaded.config, loaded.path, broken)
    for error in broken:
        _say(str(error))
    return specs


class _Ledger:
    """Journals into the store, and the figures that follow from it."""

    def __init__(self, loaded: Loaded) -> None:
        self._store = Store(database())
        self._pricer = _pricer(loaded)
        self._ingest = Ingest(self._store, journal_dir(), self._pricer)
        self._loaded = loaded
        self._rates_due = True

    def configure(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._pricer = _pricer(loaded)
        self._ingest.pricer = self._pricer
        self._rates_due = True

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                busy = self._step()
                if self._rates_due:
                    self._rates_due = False
                    await asyncio.to_thread(self._publish_rates)
            except Exception as error:
                _say(f"the ledger could not be written: {type(error).__name__}: {error}; it will be tried again")
                busy = False
            if not busy:
                await _pause(stop, INGEST_EVERY)
            else:
                await asyncio.sleep(0)

    def finish(self) -> None:
        """Takes in what the workers left when they stopped. What cannot be written now waits in the journals."""
        try:
            while self._step():
                pass
        except Exception as error:
            _say(f"the ledger could not be completed: {type(error).__name__}: {error}; the next start will go on")
        self._ingest.close()
        self._store.close()

    def _step(self) -> bool:
        report = self._ingest.step(INGEST_BATCH)
        if report.entries or report.calls:
            totals = self._store.totals()
            totals.lag_seconds = report.lag_seconds
            save_ledger(run_dir(), totals)
        return report.entries >= INGEST_BATCH

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


def _pricer(loaded: Loaded) -> Pricer:
    return Pricer(loaded.config, {name: row.prices for name, row in rows().items() if row.prices})


async def _look_for_local() -> None:
    servers = [(found.provider, found.base_url, found.models) for found in await probe_local(fetch)]
    path = run_dir() / "local.json"
    content = msgspec.json.encode(Local(servers))
    if not path.exists() or path.read_bytes() != content:
        write_private(path, content)


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

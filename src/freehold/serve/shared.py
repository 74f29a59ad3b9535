"""What a worker keeps across configurations: journal, limits, metrics, connections, watches, flights. One per process.

Everything that a `Gateway` is built from and that must not begin anew when freehold.yaml changes stands here.
"""

import os
import zlib

from freehold.admit.budget import Budgets, Spent
from freehold.admit.limits import Limits
from freehold.call.auth import Auth
from freehold.call.clouds import Signing, make_auth
from freehold.call.hedge import Hedging
from freehold.call.ratelimits import RateWindow
from freehold.call.transport import Origin, Pool, Through, Way
from freehold.call.transport.pool import IDLE_SECONDS
from freehold.call.watch import Watch
from freehold.errors import ConfigError, EngineError
from freehold.home import home, journal_dir, keys_file, run_dir
from freehold.record.journal import Journal
from freehold.record.metrics import Metrics
from freehold.serve.board import Board
from freehold.serve.cache.life import CacheLife
from freehold.serve.cascade import Reliabilities
from freehold.serve.catalog import OWN
from freehold.serve.engines import EngineTable
from freehold.serve.flights import Flights
from freehold.serve.floors import Alarms
from freehold.serve.foresight import FILE as PREDICTOR
from freehold.serve.kept import KeptResponses
from freehold.serve.learning import Learning
from freehold.serve.outward import Receipted
from freehold.serve.pressure import Pressure
from freehold.serve.published import Engine, Local, Published, Rates, stamp
from freehold.serve.rollout import Rollouts
from freehold.serve.safety.approvals import Approvals
from freehold.serve.safety.marks import Marks
from freehold.serve.sessions import Sessions

MOST_WATCHED = 2000
"""Deployments whose behaviour is remembered: names come from strangers."""


class Shared:
    """What outlives a configuration. One per worker process."""

    def __init__(self, index: int, workers: int = 1, keep_days: int = 30, way: Way | None = None) -> None:
        """`way`: in strict mode, the one way out."""
        self.way = way
        self.worker = f"w{index}"
        self.journal = Journal(journal_dir(), self.worker)
        self.limits = Limits(run_dir() / "limits", alone=workers == 1)
        self.flights = Flights(2000)
        self.metrics = Metrics(run_dir(), self.worker)
        self.table = EngineTable(run_dir())
        self.rollouts = Rollouts(run_dir(), self.worker)
        self._rates = Published(run_dir() / "rates.json", Rates)
        self._local = Published(run_dir() / "local.json", Local)
        self._floors = Published(run_dir() / "floors.json", Alarms)
        self.alarms: Alarms = dict(self._floors.value)
        self._spent = Published(run_dir() / "spent.json", Spent)
        self.budgets = Budgets()
        self.budgets.update(self._spent.value)
        self.learning = Learning(self.journal.append)
        self.kept = KeptResponses(home() / "responses.db", keep_days)
        self.cache: CacheLife | None = None
        """Made when a configuration first asks for it."""
        self.windows: dict[str, RateWindow] = {}
        self.sessions = Sessions(run_dir() / "sessions", life=self._life)
        self.marks = Marks(home() / "marks")
        self.approvals = Approvals(home() / "approvals.db")
        self.reliabilities = Reliabilities()
        self.watches: dict[str, Watch] = {}
        self.hedges: dict[str, Hedging] = {}
        self.pressure = Pressure(self.watches, self.windows, Board(run_dir() / "board", index + 1))
        self.version = ""
        """Of the configuration in force."""
        self._tokens = Receipted(lambda: self.journal, "token", self.worker, lambda: self.version)
        self._auths: dict[Signing, Auth] = {}
        self._pools: dict[tuple[str, float, int, Through | None], Pool] = {}
        self._keys = stamp(keys_file())
        self._predictor = stamp(home() / PREDICTOR)
        self._similar = stamp(home() / "cache" / "similar.json")

    def through(self, provider: str, deployment: str = "") -> Through | None:
        """The way to a provider in strict mode; None where it is called as it is."""
        return Through(self.way, provider, deployment) if self.way is not None else None

    def pool(
        self, base_url: str, connect: float, limit: int, idle: float = IDLE_SECONDS, through: Through | None = None
    ) -> Pool:
        """Returns the connections to an origin; a configuration that did not change it goes on using them."""
        key = (base_url, connect, limit, through)
        pool = self._pools.get(key)
        if pool is None:
            origin = Origin.parse(base_url)
            if len(self._pools) > MOST_WATCHED:
                self._pools.clear()  # through an egress process each deployment has its own, and names are strangers'
            pool = self._pools[key] = Pool(
                origin, connect_timeout=connect, limit=limit, idle_seconds=idle, through=through
            )
        return pool

    def _life(self, name: str) -> int:
        """Which life an owned model's engine lives; 0 for what has no engine."""
        provider, _, model = name.partition("/")
        engine = self.table.entries.get(model) if provider == OWN else None
        if engine is None:
            return 0
        return zlib.crc32(repr((engine.number, engine.base_url, engine.api_key)).encode())  # numbers begin anew

    def window(self, name: str) -> RateWindow:
        """What a deployment's provider says of its rate limit."""
        if len(self.windows) > MOST_WATCHED:
            self.windows.clear()
        return self.windows.setdefault(name, RateWindow())

    def auth(self, signing: Signing) -> Auth:
        """Returns what signs requests so; tokens outlive a configuration. Raises EngineError: what is missing."""
        auth = self._auths.get(signing)
        if auth is None:
            try:
                auth = self._auths[signing] = make_auth(signing, os.environ, self._tokens)
            except ConfigError as error:
                raise EngineError(error.message, hint=error.hint, code="no_credentials", retry="other") from error
        return auth

    def changed(self) -> bool:
        """Whether engines, rates or keys were replaced since the last look, so that a new gateway is due."""
        keys, self._keys = self._keys, stamp(keys_file())
        similar, self._similar = self._similar, stamp(home() / "cache" / "similar.json")
        predictor, self._predictor = self._predictor, stamp(home() / PREDICTOR)
        self.table.refresh()
        self.rollouts.refresh()
        engines, self.table.changed = self.table.changed, False
        if self._floors.refresh():
            self.alarms.clear()
            self.alarms.update(self._floors.value)
        if self._spent.refresh():
            self.budgets.update(self._spent.value)
        files = [published.refresh() for published in (self._rates, self._local)]
        return any(files) or keys != self._keys or predictor != self._predictor or similar != self._similar or engines

    @property
    def engines(self) -> dict[str, Engine]:
        """Owned engines by name."""
        return self.table.entries

    @property
    def rates(self) -> Rates:
        return self._rates.value

    @property
    def local(self) -> Local:
        """Servers found on this machine."""
        return self._local.value

    def count_gauges(self, now: float) -> None:
        self.metrics.inflight = len(self.flights)
        self.metrics.open = [name for name, watch in self.watches.items() if watch.breaker.blocks(now)]

    def publish(self, now: float) -> None:
        """Leaves this worker's counters where the others, and the steward, find them."""
        self.count_gauges(now)
        self.metrics.save()
        self.rollouts.save()

    def close(self) -> None:
        self.metrics.save()
        self.rollouts.save()
        self.journal.close()
        self.limits.close()
        self.kept.close()
        if self.cache is not None:
            self.cache.close()
        self.sessions.close()
        self.marks.close()
        if self.way is not None:
            self.way.close()
        self.approvals.close()

"""One configuration in force, and what a worker keeps across configurations.

`Shared` lives as long as the worker: journal, limits, metrics, connections, breakers, flights. `Gateway` is built
whole from a checked configuration and replaces the one before it in one assignment; a request keeps the gateway it
began with, and its version is written into every journal entry.
"""

import asyncio
import difflib
import math
import os
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from freehold.admit.budget import Budgets, Spent
from freehold.admit.keys import Keyring, read_keys
from freehold.admit.limits import Limits
from freehold.call.auth import Auth
from freehold.call.breaker import Breaker
from freehold.call.clouds import Signing, make_auth
from freehold.call.fetch_url import UrlLimits
from freehold.call.profiles import traits
from freehold.call.providers import Endpoint, resolve
from freehold.call.ratelimits import RateWindow
from freehold.call.talk import COUNTERS
from freehold.call.target import Address, Target
from freehold.call.transport import Origin, Pool
from freehold.call.transport.pool import IDLE_SECONDS
from freehold.config.checks_labels import key_trouble
from freehold.config.checks_own import own_name
from freehold.config.load import Loaded
from freehold.config.schema import Config
from freehold.decide import Catalog, Deployment, Plan
from freehold.decide.signals import Signals
from freehold.dialects.converse.invoke import messages_on_vertex
from freehold.errors import ConfigError, EngineError
from freehold.home import home, journal_dir, keys_file, run_dir
from freehold.own.catalog import served
from freehold.own.guard import callers_fault, guard
from freehold.own.tools import assist
from freehold.record.journal import Journal
from freehold.record.metrics import Metrics
from freehold.serve.board import Board
from freehold.serve.cascade import Reliabilities
from freehold.serve.catalog import OWN, build_catalog, owned_specs
from freehold.serve.engines import EngineTable
from freehold.serve.exchange import Exchange
from freehold.serve.flights import Flights
from freehold.serve.floors import Alarms
from freehold.serve.gates import LLAMA, NOWHERE, PULLING, Gate
from freehold.serve.kept import KeptResponses
from freehold.serve.learning import Learning
from freehold.serve.pressure import Pressure
from freehold.serve.published import Engine, Local, Published, Rates, stamp
from freehold.serve.rollout import Rollouts
from freehold.serve.rulebook import Rulebook
from freehold.serve.sessions import Sessions
from freehold.serve.shadow import Rule, Shadows


class Shared:
    """What outlives a configuration. One per worker process."""

    def __init__(self, index: int, workers: int = 1, keep_days: int = 30) -> None:
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
        self.breakers: dict[str, Breaker] = {}
        self.windows: dict[str, RateWindow] = {}
        self.sessions = Sessions(run_dir() / "sessions", life=self._life)
        self.reliabilities = Reliabilities()
        self.watches: dict[str, Any] = {}
        self.pressure = Pressure(self.watches, self.windows, Board(run_dir() / "board", index + 1))
        self._auths: dict[Signing, Auth] = {}
        self._pools: dict[tuple[str, float, int], Pool] = {}
        self._keys = stamp(keys_file())

    def pool(self, base_url: str, connect: float, limit: int, idle: float = IDLE_SECONDS) -> Pool:
        """Returns the connections to an origin; a configuration that did not change it goes on using them."""
        key = (base_url, connect, limit)
        pool = self._pools.get(key)
        if pool is None:
            origin = Origin.parse(base_url)
            pool = self._pools[key] = Pool(origin, connect_timeout=connect, limit=limit, idle_seconds=idle)
        return pool

    def _life(self, name: str) -> int:
        """Which life an owned model's engine lives; 0 for what has no engine."""
        provider, _, model = name.partition("/")
        engine = self.table.entries.get(model) if provider == OWN else None
        if engine is None:
            return 0
        return zlib.crc32(repr((engine.number, engine.base_url, engine.api_key)).encode())  # numbers begin anew

    def auth(self, signing: Signing) -> Auth:
        """Returns what signs requests so; tokens outlive a configuration. Raises EngineError: what is missing."""
        auth = self._auths.get(signing)
        if auth is None:
            try:
                auth = self._auths[signing] = make_auth(signing, os.environ)
            except ConfigError as error:
                raise EngineError(error.message, hint=error.hint, code="no_credentials", retry="other") from error
        return auth

    def changed(self) -> bool:
        """Whether engines, rates or keys were replaced since the last look, so that a new gateway is due."""
        keys, self._keys = self._keys, stamp(keys_file())
        self.table.refresh()
        self.rollouts.refresh()
        engines, self.table.changed = self.table.changed, False
        if self._floors.refresh():
            self.alarms.clear()
            self.alarms.update(self._floors.value)
        if self._spent.refresh():
            self.budgets.update(self._spent.value)
        files = [published.refresh() for published in (self._rates, self._local)]
        return any(files) or keys != self._keys or engines

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
        self.metrics.open = [name for name, breaker in self.breakers.items() if breaker.blocks(now)]

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
        self.sessions.close()


class Gateway:
    """What a request needs, under short names."""

    def __init__(self, loaded: Loaded, shared: Shared) -> None:
        """Raises ConfigError when the keys cannot be read: an unreadable key file is no key, never every key."""
        self.loaded = loaded
        self.config: Config = loaded.config
        self.version = loaded.version
        self.shared = shared
        self.journal = shared.journal
        self.limits = shared.limits
        self.metrics = shared.metrics
        self.kept = shared.kept
        self.flights = shared.flights
        self.flights.limit = self.config.server.max_inflight
        self.max_body = self.config.server.max_body_mb * 1024 * 1024
        self.strict = self.config.strict
        self._fetch = UrlLimits() if self.config.fetch_urls else None
        self._patience = (self.config.retries, self.config.timeouts.total)
        self.keyring = Keyring([*self.config.keys, *read_keys(keys_file())], lambda key: key_trouble(self.config, key))
        self.endpoints = resolve(self.config, os.environ, local=shared.local.addresses)
        self.catalog: Catalog = build_catalog(
            loaded, self.endpoints, shared.engines, shared.rates.rates, shared.local.models
        )
        self.rulebook = Rulebook(loaded, self.catalog, shared.alarms)
        shared.sessions.know(self.catalog.deployments)
        self.served = served(owned_specs(loaded))
        shared.table.configure(self.config.engines.queue, self.config.engines.waiting, self.config.timeouts.connect)
        rules = {f"{OWN}/{own_name(o)}": Rule(o.shadow.to, o.shadow.percent) for o in self.config.own if o.shadow}
        self.shadows = Shadows(rules) if rules else None
        self._targets: dict[str, Target] = {}
        self._now: Callable[[], float] | None = None

    def now(self) -> float:
        """Loop time in seconds."""
        if self._now is None:
            self._now = asyncio.get_running_loop().time
        return self._now()

    def target(self, deployment: Deployment) -> Target:
        """Returns what is needed to call a deployment. Raises EngineError when its engine has just gone."""
        target = self._targets.get(deployment.name)
        if target is None:
            target = self._target(deployment)
            if len(self._targets) > 2000:
                self._targets.clear()
            self._targets[deployment.name] = target
        return target

    def _target(self, deployment: Deployment) -> Target:
        breaker = self._breaker(deployment.name)
        if deployment.provider == OWN:
            gate = self.gate(deployment)
            llama = gate.entry is None or gate.entry.engine in LLAMA
            return Target(
                deployment,
                NOWHERE,
                traits(OWN, deployment.model),
                self.config.timeouts,
                breaker,
                guard if llama else None,
                callers_fault if llama else None,
                fetch=self._fetch,
                engine=gate,
                assist=assist if llama else None,
            )
        endpoint = self.endpoints[deployment.provider]
        pool = self.shared.pool(endpoint.base_url, endpoint.timeouts.connect, endpoint.max_connections)
        auth = [endpoint.auth] if endpoint.auth else []
        address = Address(pool, endpoint.paths, [*auth, *endpoint.headers], endpoint.dialect, endpoint.row.separate)
        return Target(
            deployment,
            address,
            traits(deployment.provider, deployment.model),
            endpoint.timeouts,
            breaker,
            auth=self.shared.auth(endpoint.signs) if endpoint.signs is not None else None,
            rewrite=messages_on_vertex if (endpoint.row.auth, deployment.dialect) == ("google", "messages") else None,
            fetch=self._fetch,
        )

    def gate(self, deployment: Deployment) -> Gate:
        """The way to an owned model's engine."""
        one = self.served.get(deployment.model)
        return self.shared.table.gate(one.engine if one is not None else deployment.model)

    def seen(self, deployment: Deployment) -> Signals:
        """What is seen of a deployment right now."""
        if deployment.provider == OWN:
            return self.shared.pressure.owned(deployment, self.gate(deployment))
        return self.shared.pressure.rented(deployment)

    def _breaker(self, name: str) -> Breaker:
        breaker = self.shared.breakers.get(name)
        if breaker is None:
            settings = self.config.breaker
            if len(self.shared.breakers) > 2000:
                self.shared.breakers.clear()
            breaker = self.shared.breakers[name] = Breaker(settings.failures, settings.cooldown)
        return breaker

    def health(self, deployment: Deployment) -> str | None:
        """Why a deployment cannot be called right now, None when it can."""
        target = self._targets.get(deployment.name)
        if target is None:
            absent = self._absent(deployment)
            if absent is not None:
                return absent
            breaker = self.shared.breakers.get(deployment.name)
        else:
            breaker = target.breaker
            if target.engine is not None and (absent := target.engine.hopeless) is not None:
                return absent
        if breaker is not None and breaker.tripped and (seconds := breaker.blocks(self.now())):
            return f"resting {math.ceil(seconds)} s after repeated failures"
        return None

    def _absent(self, deployment: Deployment) -> str | None:
        """Why there is nothing to be called. When that changes the gateway is replaced, so a target once made stays."""
        if deployment.provider == OWN:
            return self.gate(deployment).hopeless
        endpoint = self.endpoints.get(deployment.provider)
        if endpoint is None:
            return "its provider is not configured any more"
        if endpoint.unavailable is not None:
            return f"{endpoint.unavailable} ({endpoint.fix})"
        return None

    def tried(self, decision: Plan, exchange: Exchange) -> Plan:
        """The plan with another version before the present one, where this request is one of a canary's."""
        headers = exchange.headers
        conversation = headers.get(b"x-freehold-session") or headers.get(b"session_id")
        return self.shared.rollouts.route(decision, self.catalog.find, self.health, conversation)

    def soonest(self, names: Iterable[str]) -> float:
        """Seconds until the first of these deployments may be tried again, at least one."""
        names = list(names)
        waits = [breaker.blocks(self.now()) for name in names if (breaker := self.shared.breakers.get(name))]
        waits += [PULLING for name in names if self._pulling(name)]
        return max(1.0, min((wait for wait in waits if wait), default=1.0))

    def _pulling(self, name: str) -> bool:
        deployment = self.catalog.deployments.get(name)
        return deployment is not None and deployment.provider == OWN and self.gate(deployment).state == "pulling"

    def can_count(self, deployment: Deployment) -> bool:
        return deployment.dialect in COUNTERS and self.target(deployment).counter is not None

    def strict_for(self, exchange: Exchange) -> bool:
        """Whether what a provider cannot carry is an error: the client's header decides, else the configuration."""
        wanted = exchange.headers.get(b"x-freehold-strict")
        return self.strict if wanted is None else wanted.strip().lower() in (b"1", b"true", b"yes", b"on")

    def patience(self, exchange: Exchange) -> tuple[int, float]:
        """Retries of ours, and seconds for all attempts together.

        No retries where the client's SDK is already repeating: they would multiply. Its own timeout, where it names
        one, can only shorten ours.
        """
        headers = exchange.headers
        retries, total = self._patience
        if headers.get(b"x-stainless-retry-count", b"0") != b"0":
            retries = 0
        value = headers.get(b"x-stainless-read-timeout") or headers.get(b"x-stainless-timeout")
        if value is not None:
            try:
                seconds = float(value)
            except ValueError:
                return retries, total
            if 0 < seconds < total:
                total = seconds
        return retries, total

    def nearest(self, names: list[str], name: str) -> str | None:
        close = difflib.get_close_matches(name[:200], names, 1, 0.6)
        return close[0] if close else None

    def metrics_page(self) -> bytes:
        """Prometheus text of all workers together."""
        self.shared.count_gauges(self.now())
        return self.metrics.render()

    def status(self) -> dict[str, object]:
        """What the status page shows."""
        rows = [
            {
                "name": d.name,
                "owned": d.owned,
                "state": self.health(d) or (self.gate(d).state if d.provider == OWN else "ready"),
                "context": d.context,
                "input_price": d.input_price,
                "output_price": d.output_price,
            }
            for d in self.catalog.deployments.values()
            if d.listed
        ]
        names = []
        for name in self.catalog.names():
            choice = self.catalog.find(name)
            if choice is not None and choice.kind != "direct":
                names.append({"name": name, "kind": choice.kind, "members": [d.name for d in choice.members]})
        return {
            "config_version": self.version,
            "config_path": self.loaded.path,
            "worker": self.shared.worker,
            "inflight": len(self.flights),
            "price_date": self.shared.rates.date,
            "deployments": rows,
            "names": names,
            "unavailable": [(e.name, f"{e.unavailable}: {e.fix}") for e in _reported(self.endpoints.values())],
        }


def _reported(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    return [e for e in endpoints if e.unavailable is not None and (e.configured or not e.row.local)]


def build(loaded: Loaded, shared: Shared) -> Gateway:
    """Returns the gateway for a checked configuration. Raises ConfigError."""
    return Gateway(loaded, shared)

"""One configuration in force.

A `Gateway` is built whole from a checked configuration and replaces the one before it in one assignment; a request
keeps the gateway it began with, and its version is written into every journal entry. What outlives it is in shared.py.
"""

import asyncio
import difflib
import math
import os
import time
from collections.abc import Callable, Iterable
from functools import partial

from freehold.admit.keys import Keyring, read_keys
from freehold.call.breaker import Breaker
from freehold.call.count import COUNTERS
from freehold.call.fetch_url import UrlLimits
from freehold.call.hedge import Hedging
from freehold.call.profiles import traits
from freehold.call.providers import Endpoint, resolve
from freehold.call.ratelimits import RateWindow
from freehold.call.target import Address, Headers, Target
from freehold.call.watch import Watch
from freehold.config.checks_labels import key_trouble
from freehold.config.checks_own import own_name
from freehold.config.load import Loaded
from freehold.config.schema import Config
from freehold.decide import Catalog, Deployment, Plan
from freehold.decide.signals import Signals
from freehold.dialects.converse.invoke import messages_on_vertex
from freehold.home import keys_file, pseudonyms_key
from freehold.labels import UNKNOWN, Kind, Label
from freehold.own.catalog import served
from freehold.own.guard import callers_fault, guard
from freehold.own.tools import assist
from freehold.record.receipts.keys import secret
from freehold.serve.cache.responses import make_cache
from freehold.serve.catalog import OWN, build_catalog, owned_specs
from freehold.serve.exchange import Exchange
from freehold.serve.gates import LLAMA, NOWHERE, PULLING, Gate
from freehold.serve.rulebook import Rulebook
from freehold.serve.safety import checks
from freehold.serve.safety.guards import Guards
from freehold.serve.shadow import Rule, Shadows
from freehold.serve.shared import MOST_WATCHED, Shared


class Gateway:
    """What a request needs, under short names."""

    def __init__(self, loaded: Loaded, shared: Shared) -> None:
        """Raises ConfigError when the keys cannot be read: an unreadable key file is no key, never every key."""
        self.loaded = loaded
        self.config: Config = loaded.config
        self.version = shared.version = loaded.version
        self.shared = shared
        self.journal = shared.journal
        self.limits = shared.limits
        self.metrics = shared.metrics
        self.kept = shared.kept
        self.flights = shared.flights
        self.flights.limit = self.config.server.max_inflight
        self.max_body = self.config.server.max_body_mb * 1024 * 1024
        self.strict = self.config.strict
        if shared.way is not None:
            shared.way.version = self.version
        self._fetch = UrlLimits(through=shared.through("")) if self.config.fetch_urls else None
        self._patience = (self.config.retries, self.config.timeouts.total)
        self.keyring = Keyring([*self.config.keys, *read_keys(keys_file())], lambda key: key_trouble(self.config, key))
        self.endpoints = resolve(self.config, os.environ, local=shared.local.addresses)
        self.catalog: Catalog = build_catalog(
            loaded, self.endpoints, shared.engines, shared.rates.rates, shared.local.models
        )
        self.rulebook = Rulebook(loaded, self.catalog, self.endpoints, shared.alarms)
        self.checks = checks.compiled(self.config)
        self.pseudonyms = secret(pseudonyms_key(), 32) if self.checks.lowers else b""
        """What placeholders are made with; all workers have the same."""
        wanted = self.config.checks.guard is not None or self.config.checks.names is not None
        self.guards = Guards(self.config.checks) if wanted else None
        shared.sessions.know(self.catalog.deployments)
        self.served = served(owned_specs(loaded))
        shared.table.configure(self.config.engines.queue, self.config.engines.waiting, self.config.timeouts.connect)
        rules = {f"{OWN}/{own_name(o)}": Rule(o.shadow.to, o.shadow.percent) for o in self.config.own if o.shadow}
        self.shadows = Shadows(rules) if rules else None
        self._targets: dict[str, Target] = {}
        self.cache = make_cache(self)
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
        watch = self._watch(deployment)
        if deployment.provider == OWN:
            gate = self.gate(deployment)
            llama = gate.entry is None or gate.entry.engine in LLAMA
            return Target(
                deployment,
                NOWHERE,
                traits(OWN, deployment.model),
                self.config.timeouts,
                watch,
                guard if llama else None,
                callers_fault if llama else None,
                fetch=self._fetch,
                engine=gate,
                assist=assist if llama else None,
            )
        endpoint = self.endpoints[deployment.provider]
        through = self.shared.through(endpoint.name, deployment.name)
        connect, limit = endpoint.timeouts.connect, endpoint.max_connections
        pool = self.shared.pool(endpoint.base_url, connect, limit, through=through)
        auth = [endpoint.auth] if endpoint.auth else []
        address = Address(pool, endpoint.paths, [*auth, *endpoint.headers], endpoint.dialect, endpoint.row.separate)
        target = Target(
            deployment,
            address,
            traits(deployment.provider, deployment.model),
            endpoint.timeouts,
            watch,
            auth=self.shared.auth(endpoint.signs) if endpoint.signs is not None and through is None else None,
            rewrite=messages_on_vertex if (endpoint.row.auth, deployment.dialect) == ("google", "messages") else None,
            fetch=self._fetch,
        )
        target.heard = partial(self._heard, self.shared.window(deployment.name))
        return target

    def _heard(self, window: RateWindow, status: int, headers: Headers) -> None:
        """An answer's head has come: what it says of the rate limit."""
        if status == 429:
            window.refused(headers, self.now(), time.time(), None)
        else:
            window.heard(headers, self.now(), time.time())

    def hedging(self, decision: Plan) -> Hedging | None:
        """What hedges the requests of a route, under the rule that it has now."""
        rule = decision.hedge
        hedging = self.shared.hedges.get(decision.route)
        if rule is not None and (hedging is None or hedging.rule != rule):
            hedging = self.shared.hedges[decision.route] = Hedging(rule)
        return hedging

    def learns(self, label: Label | None) -> bool:
        """Whether something may be learned from a request with this label."""
        return self.config.learn and self.rulebook.rules.barred(label or UNKNOWN, Kind.TRAINING) is None

    def gate(self, deployment: Deployment) -> Gate:
        """The way to an owned model's engine."""
        one = self.served.get(deployment.model)
        return self.shared.table.gate(one.engine if one is not None else deployment.model)

    def seen(self, deployment: Deployment) -> Signals:
        """What is seen of a deployment right now."""
        if deployment.provider == OWN:
            return self.shared.pressure.owned(deployment, self.gate(deployment))
        return self.shared.pressure.rented(deployment)

    def _watch(self, deployment: Deployment) -> Watch:
        name = deployment.name
        watch = self.shared.watches.get(name)
        if watch is None:
            settings = self.config.breaker
            if len(self.shared.watches) > MOST_WATCHED:
                self.shared.watches.clear()
            watch = self.shared.watches[name] = Watch(
                Breaker(settings.failures, settings.cooldown),
                share=settings.share,
                volume=settings.volume,
                owned=deployment.provider == OWN,
            )
        return watch

    def health(self, deployment: Deployment) -> str | None:
        """Why a deployment cannot be called right now, None when it can."""
        target = self._targets.get(deployment.name)
        if target is None:
            absent = self._absent(deployment)
            if absent is not None:
                return absent
            watch = self.shared.watches.get(deployment.name)
            breaker = watch.breaker if watch is not None else None
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
        now, watches = self.now(), self.shared.watches
        waits = [watch.breaker.blocks(now) for name in names if (watch := watches.get(name)) is not None]
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

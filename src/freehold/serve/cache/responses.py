"""Answers that are kept and given again (docs/caching.md): one look after the decision, one keep after the answer.

An answer is given again to the same request of the same tenant with the same label, and to nobody else. That holds
because tenant and label go into the digest that an answer is found by, and again into its seal, which is compared when
it is read (record/cache.py). What is more:

- Checks of requests have been made, and who may answer has been decided, before anything is looked up. An answer whose
  maker may not answer this request now (another policy, a key's providers, a model that is gone) is not given.
- The cache is a sink: a request above `cache.clearance` is neither looked up nor kept.
- The rules of `checks` are part of the digest, so an answer was looked at, and judged by guard models, by the rules of
  whoever gets it. It is looked at again all the same, because detectors learn.
- A request that was changed because of what it holds, or that a person has to approve, has nothing to do with it.

A request takes part in one of three ways, which the header `x-freehold-cache` says: `hit` (with its age in seconds),
`miss` (it was asked, and the answer is kept if it is fit), `bypass` (with the reason). Without a header no rule lets
this request take part.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from freehold.admit.keys import Principal
from freehold.call.operation import Operation
from freehold.classify import Facts
from freehold.config.schema_cache import Cache, CacheRules
from freehold.decide import Deployment, Plan
from freehold.errors import ConfigError, FreeholdError
from freehold.home import home
from freehold.own.engine import EngineSpec
from freehold.serve.cache.life import CacheLife
from freehold.serve.cache.semantic import Semantic
from freehold.serve.cache.ticket import Ruling, Ticket
from freehold.serve.catalog import owned_specs
from freehold.serve.endpoints import Endpoint
from freehold.serve.exchange import Exchange
from freehold.serve.safety.checks import Checked

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway

FOLDER: Final = "cache"
"""Below FREEHOLD_HOME."""
MOST_RULINGS: Final = 1_000


class ResponseCache:
    """The cache under one configuration."""

    def __init__(self, gateway: "Gateway", life: CacheLife) -> None:
        self.settings: Cache = gateway.config.cache
        self.life = life
        self._tenants = {key: f"group {name}" for name, keys in self.settings.groups.items() for key in keys}
        self._rulings: dict[tuple[str, str], Ruling | None] = {}
        self._rules: dict[tuple[str, str], bytes] = {}
        names = [name for name, rules in self.settings.routes.items() if rules.semantic]
        self.semantic = Semantic(gateway, life, names) if names else None
        """None: similar questions have nothing to do with each other."""
        stamps = {spec.name: blake2b(repr(spec).encode(), digest_size=8).hexdigest() for spec in _owned(gateway)}
        self._stamps = {name: stamps.get(one.engine, "") for name, one in gateway.served.items()}

    def tenant(self, principal: Principal) -> str:
        """Returns with whom a key shares its answers."""
        return self._tenants.get(principal.name) or f"key {principal.name}"

    def ruling(self, key: str, asked: str) -> Ruling | None:
        """Returns what holds for requests of a key for a name; None: they have nothing to do with the cache."""
        found = self._rulings.get((key, asked), ...)
        if found is ...:
            if len(self._rulings) >= MOST_RULINGS:
                self._rulings.clear()
            found = self._rulings[key, asked] = self._ruled(key, asked)
        return found

    def _ruled(self, key: str, asked: str) -> Ruling | None:
        settings = self.settings
        route, own = settings.routes.get(asked, CacheRules()), settings.keys.get(key, CacheRules())
        enabled, ttl = settings.enabled, settings.ttl
        for rules in (route, own):
            enabled = enabled if rules.enabled is None else rules.enabled
            ttl = rules.ttl or ttl
        return Ruling(ttl, bool(route.semantic) and own.semantic is not False) if enabled else None

    def rules(self, gateway: "Gateway", key: str, asked: str) -> bytes:
        """Returns what freehold.yaml says of who answers for a name, and of what is looked for in answers to a key."""
        found = self._rules.get((key, asked))
        if found is None:
            if len(self._rules) >= MOST_RULINGS:
                self._rules.clear()
            config = gateway.config
            own = key if key in config.checks.keys else ""
            found = msgspec.json.encode((config.models.get(asked), config.checks, config.labels.answers, own))
            found = self._rules[key, asked] = blake2b(found).digest()
        return found

    def stamp(self, deployment: Deployment) -> str:
        """Returns what tells the present weights of an owned model from others."""
        return self._stamps.get(deployment.model, "") if deployment.owned else ""

    async def look(
        self,
        gateway: "Gateway",
        endpoint: Endpoint,
        exchange: Exchange,
        principal: Principal,
        known: Facts,
        decision: Plan,
        operation: Operation,
        checked: Checked | None,
    ) -> "Ticket | None":
        """Answers from the cache where it can: then the ticket is `served`. None: the request has nothing to do with
        it. Raises RateLimited, and ClientGone."""
        ruling = self.ruling(principal.name, known.asked)
        endpoints = self.settings.endpoints
        client = "ollama" if endpoint.client == "ollama_generate" else endpoint.client
        if ruling is None or known.label is None or (endpoints is not None and client not in endpoints):
            return None
        ticket = Ticket(self, gateway, endpoint, exchange, principal, known, decision, operation, checked, ruling)
        await ticket.look()
        return ticket


def _owned(gateway: "Gateway") -> list[EngineSpec]:
    return owned_specs(gateway.loaded)


def make_cache(gateway: "Gateway") -> ResponseCache | None:
    """Returns the cache of a configuration, None where nothing is to be kept. Raises ConfigError."""
    if not gateway.config.cache.wanted:
        return None
    shared = gateway.shared
    if shared.cache is None:
        try:
            shared.cache = CacheLife(home() / FOLDER)
        except FreeholdError as error:
            raise ConfigError(error.message, key="cache", hint=error.hint) from error
    return ResponseCache(gateway, shared.cache)

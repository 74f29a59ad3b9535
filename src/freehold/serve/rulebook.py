"""The rules of one configuration, ready to be asked: labels, who may be sent where, what routes want, what is foreseen.

The gateway has one, and so has the view that `freehold explain` builds; both decide by it.
"""

from collections.abc import Mapping

from freehold.admit.keys import Principal
from freehold.call.providers import Endpoint, elsewhere
from freehold.config.load import Loaded
from freehold.config.schema_routing import Auto
from freehold.decide import Catalog, Choice, Policy
from freehold.decide.eligible_caller import Caller
from freehold.decide.policy import HEADERS, USUAL, overridden, policy_of, role_header
from freehold.errors import BadRequest, ConfigError
from freehold.labels import Rules
from freehold.serve.foresight import Foresight

_BUILT_IN = Auto(among=["auto"])
"""What may be overridden where no route is configured."""


class Rulebook:
    """Built with a configuration, replaced with it."""

    def __init__(
        self,
        loaded: Loaded,
        catalog: Catalog,
        endpoints: Mapping[str, Endpoint],
        alarms: Mapping[str, str] | None = None,
    ) -> None:
        """`alarms` as in Foresight. Raises ConfigError for a predictor that cannot be read."""
        self.config = loaded.config
        self.rules = Rules(loaded.config, elsewhere=elsewhere(loaded.config, endpoints))
        self.foresight = Foresight(loaded, catalog, alarms)
        self._callers: dict[Principal, Caller] = {}
        self._policies: dict[tuple[str, Principal, str | None], Policy] = {}
        self.foresight.check()

    def caller(self, principal: Principal) -> Caller:
        """What a key's requests may be sent to."""
        caller = self._callers.get(principal)
        if caller is None:
            name = principal.environment or self.config.environment
            environment = (name, self.config.environments[name]) if name is not None else None
            floor = self.rules.floor(principal.label)
            caller = self._callers[principal] = Caller(self.rules, floor, principal.providers, environment)
        return caller

    def policy(self, choice: Choice, principal: Principal, headers: Mapping[bytes, bytes]) -> Policy:
        """The rules in force for a request. Raises BadRequest or Forbidden for headers that cannot be met."""
        ranked = choice.kind not in ("direct", "alias")
        if HEADERS.keys().isdisjoint(headers):
            return self._usual(choice, principal, None) if ranked else USUAL
        if not ranked:
            raise _no_route(choice, sorted(name.decode() for name in headers.keys() & HEADERS.keys()))
        allowed = frozenset((choice.rules or _BUILT_IN).overrides)
        role = role_header(allowed, headers, self.config.roles)
        policy = overridden(self._usual(choice, principal, role), allowed, headers)
        if policy.pin is not None and all(one.name != policy.pin for one in choice.members):
            raise BadRequest(
                f"{policy.pin[:80]!r} is none of the deployments that {choice.name!r} chooses among",
                hint="GET /v1/models lists names; freehold explain shows a route's candidates",
                code="pin_unknown",
            )
        if policy.floor is not None:
            try:
                self.foresight.gate(policy.floor, policy.confidence, choice.name)
            except ConfigError as error:
                raise BadRequest(error.message, hint=error.hint, code="floor_not_calibrated") from error
        return policy

    def _usual(self, choice: Choice, principal: Principal, role: str | None) -> Policy:
        key = (choice.name, principal, role)
        policy = self._policies.get(key)
        if policy is None:
            policy = self._policies[key] = policy_of(
                choice.rules, self.config.roles, role=role or principal.role, objective=principal.objective
            )
        return policy


def _no_route(choice: Choice, given: list[str]) -> BadRequest:
    asked = choice.name or (choice.members[0].name if choice.members else "this")
    return BadRequest(
        f"{asked!r} is no route, so there is nothing that {', '.join(given)} could change",
        hint="ask for a route, such as auto, or leave the header out",
        code="not_a_route",
        param="model",
    )

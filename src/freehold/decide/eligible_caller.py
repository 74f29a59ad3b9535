"""What makes a deployment one that this caller's request may not go to, although it could answer.

providers     the key is limited to others
environment   its environment, or the gateway's, is limited to others
label         the request is more sensitive than what the deployment is cleared for
retires       its last day has come
budget        the key cannot pay for it

All but the last two depend on nothing but key, label and deployment, so each such verdict is worked out once and kept
for as long as the configuration is in force: asking again costs a look-up. A key is never let through by an error: what
cannot be kept to is refused before anything is built from it (`config.checks_labels.key_trouble`).
"""

from collections.abc import Callable
from datetime import UTC, datetime

from freehold.classify.facts import Facts
from freehold.config.regions import within
from freehold.config.schema_routing import Environment
from freehold.decide.catalog import Deployment
from freehold.decide.money import Denial, unaffordable
from freehold.labels.lattice import Label, may_flow
from freehold.labels.rules import Rules

MAX_LABELS = 64
"""Labels whose verdicts are kept for one key: clients choose what they claim."""
MAX_VERDICTS = 4000
"""Deployments for one label, for the same reason."""


class Caller:
    """One key under one configuration. `environment` is its name and its rules."""

    __slots__ = ("_admitted", "_environment", "_providers", "_rules", "_verdicts", "careful", "floor")

    def __init__(
        self,
        rules: Rules,
        floor: Label,
        providers: frozenset[str] | None = None,
        environment: tuple[str, Environment] | None = None,
    ) -> None:
        self.floor = floor
        self.careful = rules.looks_inside(floor)
        """Whether it must be looked at what a request holds, besides what the checks find, even at its least label."""
        self._rules = rules
        self._providers = providers
        self._environment = environment
        self._verdicts: dict[Label, dict[str, Denial | None]] = {}
        self._admitted: set[str] = set()

    def admits(self, deployment: Deployment) -> bool:
        """Whether nothing stands against `deployment` for requests that no header has raised above the key's own label,
        today and every day. The key's money is another question."""
        if deployment.name in self._admitted:
            return True
        if deployment.retires is not None or self._verdict(deployment, self.floor) is not None:
            return False
        if len(self._admitted) >= MAX_VERDICTS:
            self._admitted.clear()
        self._admitted.add(deployment.name)
        return True

    def denied(self, facts: Facts, now: float, left: float | None = None) -> Callable[[Deployment], Denial | None]:
        """Returns the function that says why one request may not go to a deployment (`decide.world.Denied`).

        `now` is Unix time in seconds; `left` what the key may still spend in US dollars, None without a budget.
        """
        label = self.floor if facts.label is None else facts.label
        known = self._verdicts.get(label)
        if known is None:
            if len(self._verdicts) >= MAX_LABELS:
                self._verdicts.clear()
            known = self._verdicts[label] = {}

        def ask(deployment: Deployment) -> Denial | None:
            try:
                verdict = known[deployment.name]
            except KeyError:
                if len(known) >= MAX_VERDICTS:
                    known.clear()
                verdict = known[deployment.name] = self._verdict(deployment, label)
            if verdict is not None:
                return verdict
            if deployment.retires is not None and (gone := retired(deployment.retires, now)) is not None:
                return gone
            return None if left is None else unaffordable(deployment, facts, left)

        return ask

    def _verdict(self, deployment: Deployment, label: Label) -> Denial | None:
        if self._providers is not None and deployment.provider not in self._providers:
            return f"the key may not use {deployment.provider}", True, "provider"
        if self._environment is not None:
            outside = allows(*self._environment, deployment)
            if outside is not None:
                return outside, True, "environment"
        clearance = self._rules.clearance(deployment.provider, deployment.owned, deployment.region)
        barred = may_flow(label, clearance)
        return None if barred is None else (barred, True, "label")


def allows(name: str, environment: Environment, deployment: Deployment) -> str | None:
    """Returns why the environment called `name` does not let `deployment` answer, None when it does."""
    if environment.only is not None and deployment.owned != (environment.only == "owned"):
        return f"{name} is for {environment.only} models only"
    if deployment.owned:
        return None
    if environment.providers is not None and deployment.provider not in environment.providers:
        return f"{deployment.provider} is not among the providers of {name}"
    if environment.regions is not None:
        wanted = {region.lower() for region in environment.regions}
        if not wanted & within(deployment.region):
            where = f"in {deployment.region}" if deployment.region else "not known where it is"
            return f"{name} is served in {', '.join(sorted(wanted))}, and it is {where}"
    return None


def retired(day: str, now: float) -> Denial | None:
    """Says so from the ISO 8601 date `day` on, UTC."""
    if datetime.fromtimestamp(now, UTC).date().isoformat() < day:
        return None
    return f"it is not used since {day}", True, "retired"

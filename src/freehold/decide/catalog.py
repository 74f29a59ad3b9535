"""What can be asked for: deployments, aliases for several, and automatic choices among them.

A name is looked up in this order: an alias or automatic choice of freehold.yaml; `provider/model`, which addresses
one deployment directly, known beforehand or not; a bare model name, which every deployment of that model may answer,
its maker first.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from freehold.config.regions import served_in
from freehold.config.schema_routing import Auto
from freehold.decide.times import Window

if TYPE_CHECKING:
    from freehold.decide.decision import Plan


class Deployment(Struct, frozen=True):
    """One concrete place that serves a model. Prices are US dollars per million tokens, None where unknown.

    `can` None means that nobody declared what it can do: then nothing is held against it.
    """

    name: str
    provider: str
    model: str
    dialect: str
    owned: bool = False
    context: int | None = None
    max_output: int | None = None
    can: frozenset[str] | None = None
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None
    """Of input tokens that are read from a prompt cache."""
    slots: int | None = None
    """Requests it works on at a time, where that is known beforehand."""
    region: str | None = None
    """Where it runs, such as `eu`."""
    retires: str | None = None
    """ISO 8601 date from which on it is not chosen."""
    strength: float = 0.5
    listed: bool = True
    """Whether lists of models show it: versions and other second names are found, not shown."""


REASONS = {"direct": "asked for by name", "alias": "first of its alias", "auto": "the only one eligible"}


class Choice(Struct):
    """What a name stands for.

    direct    one deployment
    alias     several, in this order
    auto      several, ranked per request by `rules`
    split     one of `arms`, by weight; `members` are those of all
    """

    kind: str
    members: tuple[Deployment, ...]
    name: str = ""
    rules: Auto | None = None
    """The route as configured; None for what no route stands behind."""
    arms: tuple[tuple[float, "Choice"], ...] = ()
    slots: tuple[tuple[Window, "Choice"], ...] = ()
    """What stands in for it at certain times."""
    alone: "Plan | None" = None
    """The plan of a choice of one when nothing stands against it: the same each time, so `plan` makes it once."""

    @property
    def simple(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self.members) == 1 and not self.slots and not self.arms

    def at(self, provider: str) -> "Choice":
        """What of the choice is at `provider`: nobody else has what the request goes on from."""
        arms = tuple((weight, at) for weight, arm in self.arms if (at := arm.at(provider)).members)
        slots = tuple((window, at) for window, other in self.slots if (at := other.at(provider)).members)
        members = tuple(member for member in self.members if member.provider == provider)
        return Choice(self.kind, members, self.name, self.rules, arms, slots)

    def present(self, now: float) -> "Choice":
        """What is in force at `now`, Unix time in seconds."""
        for window, other in self.slots:
            if window.open(now):
                return other.present(now) if other.slots else other
        return self


_NAME = re.compile(r"[A-Za-z0-9@][A-Za-z0-9._:/@+~-]{0,199}")
"""What a model can be called: the name travels in URLs and headers."""
MAX_DIRECT = 1000
"""Deployments remembered that were addressed as provider/model without being known: names come from strangers."""


class Catalog:
    """An immutable view of one configuration; built once, asked per request."""

    def __init__(
        self,
        deployments: Mapping[str, Deployment],
        providers: Mapping[str, Deployment],
        models: Mapping[str, list[str] | Auto] | None = None,
        spare: frozenset[str] = frozenset(),
        dialect_of: Callable[[str, str, str], str] = lambda _provider, _model, usual: usual,
    ) -> None:
        """`providers` holds one template per provider for models nobody listed, whose dialect `dialect_of` tells from
        provider, model and the provider's usual one. Those in `spare` are part of the built-in `auto` only when there
        is nothing else."""
        self._dialect_of = dialect_of
        self.deployments = dict(deployments)
        self._providers = dict(providers)
        self._models = dict(models or {})
        self._choices: dict[str, Choice] = {}
        self._direct: dict[str, Choice] = {}
        self._bare: dict[str, list[Deployment]] = {}
        for deployment in self.deployments.values():
            self._bare.setdefault(deployment.model, []).append(deployment)
        for name in self._models:
            self._choices[name] = self._build(name, ())
        if "auto" not in self._choices and self.deployments:
            usable = tuple(d for d in self.deployments.values() if d.listed and d.name not in spare)
            self._choices["auto"] = Choice("auto", usable or tuple(self.deployments.values()), "auto")
        for deployment in self.deployments.values():
            self._choices.setdefault(deployment.name, Choice("direct", (deployment,)))
        for bare, members in self._bare.items():
            self._choices.setdefault(bare, Choice("alias" if len(members) > 1 else "direct", tuple(members)))

    def find(self, name: str) -> Choice | None:
        """Returns what `name` stands for, None when nothing here is called so."""
        choice = self._choices.get(name) or self._direct.get(name)
        if choice is not None:
            return choice
        provider, slash, model = name.partition("/")
        template = self._providers.get(provider) if slash and _NAME.fullmatch(model) else None
        if template is None:
            return None
        deployment = Deployment(
            name,
            provider,
            model,
            self._dialect_of(provider, model, template.dialect),
            template.owned,
            can=template.can,
            region=served_in(template.region, model),
            strength=template.strength,
        )
        choice = Choice("direct", (deployment,))
        if len(self._direct) >= MAX_DIRECT:
            self._direct.pop(next(iter(self._direct)))
        self._direct[name] = choice
        return choice

    def names(self) -> list[str]:
        """Every name a client may ask for without knowing more: aliases first, then deployments."""
        listed = [name for name in self._models if name in self._choices]
        if "auto" in self._choices and "auto" not in listed:
            listed.append("auto")
        return listed + [name for name, one in self.deployments.items() if one.listed and name not in listed]

    def _build(self, name: str, path: tuple[str, ...]) -> Choice:
        rule = self._models[name]
        path = (*path, name)
        if not isinstance(rule, Auto):
            return Choice("alias", self._members(rule, path), name)
        slots = tuple((Window.of(slot), self._standing_in(slot.use, path)) for slot in rule.schedule)
        if rule.split:
            arms = tuple((weight, self._standing_in(one, path)) for one, weight in rule.split.items())
            members = {member.name: member for _, arm in arms for member in arm.members}
            return Choice("split", tuple(members.values()), name, rule, arms, slots)
        return Choice("auto", self._members(rule.among, path), name, rule, slots=slots)

    def _standing_in(self, name: str, path: tuple[str, ...]) -> Choice:
        """What another name stands for inside a route; nobody where it goes round in a circle."""
        if name in self._models:
            return self._build(name, path) if name not in path else Choice("alias", (), name)
        members = self._members([name], path)
        return Choice("direct" if len(members) == 1 else "alias", members, name)

    def _members(self, names: list[str], path: tuple[str, ...]) -> tuple[Deployment, ...]:
        found: dict[str, Deployment] = {}
        for name in names:
            if name in self._models:
                members = self._build(name, path).members if name not in path else ()
            else:
                direct = self.deployments.get(name)
                choice = Choice("direct", (direct,)) if direct else self.find(name)
                members = choice.members if choice else ()
            for member in members:
                found.setdefault(member.name, member)
        return tuple(found.values())

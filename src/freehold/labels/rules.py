"""What a configuration says of labels, compiled: which label a request has, and what each deployment may see.

A request's label is the join of its key's own (or the configuration's default), what its client claims, and what was
found in it. Every part can only raise it; nothing in a request can lower it.

What a deployment may see follows from five rules, and the strictest one holds:
- an owned place is cleared for everything, a rented one for `internal`, unless `cleared` says otherwise;
- a rented place whose terms are not known, not verified, or were read too long ago, sees `internal` at most
  (policies.py). Never less by that alone: whoever wants less says so with `cleared`;
- a level's `only: owned` and `providers` hold for the level and all above it;
- a compartment needs to be named in `cleared`;
- a region needs the place to lie in it. An owned place of which no region is written is where the data is already.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, date, datetime

from freehold.config.label_names import LEVELS, known_compartments, split_label
from freehold.config.regions import within
from freehold.config.schema import Config, Provider
from freehold.config.schema_routing import Level
from freehold.errors import BadRequest
from freehold.labels.lattice import EVERYTHING, HIGHEST, RENTED, Clearance, Label, may_flow
from freehold.labels.policies import CONTRACT, INTERNAL, choices, policy_clearance
from freehold.labels.sinks import CONFIGURED, Kind, Sinks
from freehold.labels.sources import Sources

MAX_CLAIM = 1000
"""Bytes of a claimed label."""
HEADER = b"x-freehold-label"


def today() -> date:
    """Returns the day, UTC."""
    return datetime.now(UTC).date()


def terms(name: str, provider: Provider | None, elsewhere: bool | None = None) -> str | None:
    """Returns the row of the terms that hold for a rented provider; None: nobody has read any.

    `elsewhere`: its address, from the configuration or the environment, is not the provider's own
    (`call.providers.elsewhere`); None: as far as the configuration says. Then it is not known whose it is, unless
    `policy` says so.
    """
    known = choices(name)
    row = provider.policy if provider is not None else None
    if row is not None:
        return row if row == CONTRACT or row in known or not known else None
    if elsewhere is None:
        elsewhere = provider is not None and provider.base_url is not None
    return name if known and not elsewhere else None


def written(clearance: Clearance) -> str:
    """Returns a clearance as a label is written: the most sensitive thing that may flow there, regions left out."""
    if clearance.level < 0:
        return "nothing"
    if clearance.compartments is None:
        return "everything" if clearance.level == HIGHEST else f"{LEVELS[clearance.level]}, all compartments"
    return str(Label(clearance.level, clearance.compartments))


class Rules:
    """The labels of one configuration. `config` must have been checked; raises ValueError where it was not."""

    def __init__(
        self, config: Config, today: Callable[[], date] = today, elsewhere: Collection[str] | None = None
    ) -> None:
        """`today` says by which day providers' terms are judged; `elsewhere` names the providers whose address is not
        their own, as for `terms`."""
        self._today = today
        self._elsewhere = elsewhere
        self._providers = config.providers
        self.compartments = known_compartments(config)
        self.default = self.parse(config.labels.default)
        self._levels: list[Level | None] = [getattr(config.labels, name) for name in LEVELS]
        self._cleared = {
            name: self.parse(provider.cleared)
            for name, provider in config.providers.items()
            if provider.cleared is not None
        }
        written = {kind: getattr(config.labels.sinks, kind.value) for kind in CONFIGURED}
        written[Kind.CACHE] = config.cache.clearance
        self._sinks = Sinks({kind: self.parse(text) for kind, text in written.items() if text is not None})
        tools = config.labels.sources.tools
        self.sources = Sources({name: self.parse(text) for name, text in tools.items()}) if tools else None
        """What results of tools are labelled; None: nothing is said of any."""

    def sink(self, kind: Kind, place: Clearance | None = None) -> Clearance:
        """Returns what may go to a sink of a kind. For kinds that are models asked (`sinks.SINKS`), `place` is what the
        deployment is cleared for; without it, nothing may."""
        return self._sinks.clearance(kind, place)

    def barred(self, label: Label, kind: Kind, place: Clearance | None = None) -> str | None:
        """Returns why what carries `label` may not go to a sink of a kind, None when it may."""
        return may_flow(label, self._sinks.clearance(kind, place))

    def looks_inside(self, label: Label) -> bool:
        """Whether a request with this label must be read, for what its tools have answered or where it tells a provider
        to send or keep something."""
        return (
            self.sources is not None
            or self.barred(label, Kind.MCP) is not None
            or self.barred(label, Kind.RETENTION, EVERYTHING) is not None
        )

    def parse(self, text: str) -> Label:
        """Returns the label written as `confidential+phi`. Raises ValueError, naming the known ones."""
        return Label(*split_label(text, self.compartments))

    def floor(self, own: str | None) -> Label:
        """Returns the least label of a key's requests: its `own` one, which the owner wrote, or else the default."""
        return self.default if own is None else self.parse(own)

    def label(self, floor: Label, claimed: bytes | None, found: Iterable[Label] = ()) -> Label:
        """Returns a request's label. `claimed` is the header `x-freehold-label`, several labels parted by commas;
        `found` is what sources and detectors say of it. A claim below the floor changes nothing.

        Raises BadRequest for a claim that names no known label: it may have been meant to raise.
        """
        label = floor
        for other in found:
            label |= other
        if claimed is not None:
            label |= self._claim(claimed)
        return label

    def _claim(self, claimed: bytes) -> Label:
        label = Label()
        try:
            if len(claimed) > MAX_CLAIM:
                raise ValueError(f"a label is not longer than {MAX_CLAIM} bytes")
            for part in claimed.decode("latin-1").split(","):
                label |= self.parse(part)
        except ValueError as error:
            raise BadRequest(
                f"{HEADER.decode()}: {error}", hint="write it like confidential+phi", code="unknown_label"
            ) from error
        return label

    def clearance(self, provider: str, owned: bool, region: str | None = None) -> Clearance:
        """Returns what deployments of `provider` that run in `region` may see."""
        cleared = self._cleared.get(provider)
        if cleared is not None:
            level, compartments = cleared.level, cleared.compartments
            why = f"{provider} is cleared for {LEVELS[level]} at most"
        elif owned:
            level, compartments, why = HIGHEST, None, ""
        else:
            level, compartments = RENTED.level, frozenset()
            why = f"{provider} is rented and cleared for {LEVELS[level]} at most, for want of cleared:"
        if not owned:
            cap, because = self._terms(provider)
            if cap < level:
                level, why = cap, because
            level, why = self._capped(provider, level, why)
        regions = within(region) if region is not None or not owned else None
        return Clearance(level, compartments, regions, why)

    def _terms(self, provider: str) -> tuple[int, str]:
        """The highest level that a rented provider's terms leave it, and why it is no higher."""
        elsewhere = None if self._elsewhere is None else provider in self._elsewhere
        row = terms(provider, self._providers.get(provider), elsewhere)
        if row is None:
            unknown = f"nothing is known of the terms of {provider}"
            return INTERNAL, f"{unknown}: it is cleared for internal at most, for want of policy:"
        return (HIGHEST, "") if row == CONTRACT else policy_clearance(row, self._today(), accepted=True)

    def _capped(self, provider: str, level: int, why: str) -> tuple[int, str]:
        """Lowers `level` to below the first level whose rules shut a rented provider out."""
        for place, rule in enumerate(self._levels[: level + 1]):
            if rule is None:
                continue
            if rule.only == "owned":
                return place - 1, f"{LEVELS[place]} requests go to owned models only"
            if rule.providers is not None and provider not in rule.providers:
                return place - 1, f"{provider} is not among the providers for {LEVELS[place]} requests"
        return level, why

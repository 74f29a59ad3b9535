"""The part of `freehold.yaml` that says who should answer: routes, objectives, roles, labels, environments.

Kept beside schema.py, which joins it to the rest, because routing is what most files are about and one page should
hold it. Money is US dollars, durations are seconds, shares are 0 to 1.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", max_length=200)]
Share = Annotated[float, Meta(ge=0, le=1)]
Chance = Annotated[float, Meta(gt=0, lt=1)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86400)]
Dollars = Annotated[float, Meta(ge=0)]

Objective = Literal["cheapest", "best", "fastest", "balanced"]
Override = Literal["objective", "pin", "floor", "quality", "price", "role"]
Sticky = Literal["no", "cache", "session", "key"]
CascadeCheck = Literal["schema", "json", "complete", "logprobs", "extract", "agree"]


class Weights(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What objective `balanced` weighs; only the ratios count. Each part is 0 to 1 among the eligible candidates."""

    quality: Dollars = 0.5
    """The probability that the answer is right."""
    cost: Dollars = 0.3
    """The expected price."""
    latency: Dollars = 0.2
    """The expected seconds until the answer is complete."""


class Cascade(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A cheap model answers first, its answer is checked, and the next model is asked where the check has doubts.

    A streamed answer is held back until it has been checked.
    """

    checks: Annotated[list[CascadeCheck], Meta(min_length=1)] = field(default_factory=lambda: ["schema", "complete"])
    """`schema`: fits the JSON schema or the tools of the request. `json`: is JSON. `complete`: ended by itself and is
    not empty or a refusal. `logprobs`: its least likely tokens are likely enough. `extract`: every value of the JSON
    answer stands in the request. `agree`: several samples say the same. A check that does not apply passes, one that
    fails to run is doubt."""
    first: Name | None = None
    """Who answers first; the cheapest eligible owned model where it is not given."""
    logprob: Annotated[float, Meta(le=0)] = -2.5
    """`logprobs`: the least that the 5 % quantile of the tokens' log-probabilities may be."""
    samples: Annotated[int, Meta(ge=2, le=9)] = 3
    """`agree`: how many answers are compared."""
    agreement: Chance = 0.6
    """`agree`: the share of samples that must say the same."""
    floor: Share = 0.0
    """The cheap model is asked first only where it is predicted to be right at least this often."""


class Hedge(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A second model is asked when the first has not begun to answer after a while; the first answer counts."""

    after: Seconds | Literal["learned"] = "learned"
    """When the second is asked; `learned`: when `quantile` of this deployment's answers had begun."""
    quantile: Chance = 0.95
    """Of the times until a deployment began to answer."""
    share: Share = 0.05
    """Most of the requests that may be hedged."""
    price: Dollars | None = None
    """Most that one hedge may cost, in US dollars; no limit where it is not given."""


class Explore(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A share of the requests goes to another eligible candidate, so that its answers can be compared. Each one is
    written down with the probability it was chosen with."""

    share: Annotated[float, Meta(gt=0, le=0.2)] = 0.02
    """Of the requests."""
    price: Dollars | None = None
    """Most that an explored choice may cost more than the usual one, in US dollars; no limit where it is not given."""
    quality: Share = 0.1
    """Most that the predicted quality may be below that of the usual choice."""


class Slot(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """When another name stands in for a route."""

    use: Name
    """The alias, route or deployment in force then."""
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = field(default_factory=list)
    """Every day where none is given."""
    since: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:00"
    """Time of day at which it begins; a slot may go over midnight."""
    until: Annotated[str, Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")] = "24:00"
    """Time of day at which it ends."""
    zone: str = "UTC"
    """Time zone of the two, such as `Europe/Berlin`."""


class Auto(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A route: a model name that decides per request among deployments and aliases.

    Give `among` to rank them, `split` to share the requests out, or `schedule` to change with the time of day.
    """

    among: Annotated[list[Name], Meta(min_length=1)] = field(default_factory=list)
    """Deployments (`provider/model`, `own/NAME`) and aliases to choose from."""
    objective: Objective = "cheapest"
    """The cheapest that is good enough, the best, the fastest, or `weights` between them."""
    floor: Annotated[float, Meta(gt=0, lt=1)] | None = None
    """A guarantee: of the requests that go to a cheaper model, at most `1 - floor` fail where the best would not. Needs
    a calibration by `freehold route train`."""
    confidence: Chance = 0.95
    """How sure the guarantee is."""
    quality: Share | None = None
    """The least predicted probability of a right answer, as far as anybody reaches it; no guarantee."""
    price: Dollars | None = None
    """Most that a request may be expected to cost."""
    weights: Weights | None = None
    """Objective `balanced`: what counts how much."""
    split: Annotated[dict[Name, Annotated[float, Meta(gt=0)]], Meta(min_length=1)] = field(default_factory=dict)
    """Names and their shares of the requests, such as `{openai/gpt-5-mini: 90, own/qwen3-8b: 10}`."""
    schedule: Annotated[list[Slot], Meta(min_length=1)] = field(default_factory=list)
    """The first slot that fits the time is in force; outside of all, `among` or `split`."""
    pin: Name | None = None
    """This deployment while it is eligible, whatever the ranking says."""
    sticky: Sticky = "cache"
    """`cache`: a conversation stays where its prompt is cached unless leaving pays for what is lost. `session`: it
    stays as long as its model is eligible (`x-freehold-session`, or its first messages). `key`: all of a key's requests
    draw the same lot in a split. `no`: each request for itself."""
    role: Name | None = None
    """The role of its requests, where the key has none."""
    cascade: Cascade | None = None
    """A cheap model first, checked."""
    hedge: Hedge | None = None
    """A second model when the first is slow."""
    explore: Explore | None = None
    """A share of the requests tries other candidates."""
    overrides: list[Override] = field(default_factory=lambda: ["objective", "pin", "role"])
    """What a request's headers may change. `x-freehold-floor`, `-quality` and `-price` may always be stricter; named
    here, they may be laxer too."""


class Role(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A kind of work, named by a key, a route or the header `x-freehold-role`; what is given wins over the route."""

    objective: Objective | None = None
    """Instead of the route's."""
    prefer: Literal["owned", "rented"] | None = None
    """Ranked first as long as one of them is good enough."""
    patience: Seconds | None = None
    """Seconds of waiting for an owned model that are worth nothing: bulk work waits, and is not sent elsewhere."""
    quality: Share | None = None
    """Instead of the route's."""
    price: Dollars | None = None
    """Instead of the route's."""
    hedge: bool | None = None
    """False: its requests are never hedged."""


class Environment(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Who may answer in an environment."""

    only: Literal["owned", "rented"] | None = None
    """Nobody else."""
    providers: list[Name] | None = None
    """Only these, and owned models."""
    regions: list[str] | None = None
    """Only deployments known to be in one of these, such as `eu`, and owned models."""


LevelName = Literal["public", "internal", "confidential", "restricted"]


class Level(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Who may see requests of a label and above."""

    only: Literal["owned"] | None = None
    """`owned`: no rented model, whatever it is cleared for."""
    providers: list[Name] | None = None
    """Only these, as far as they are cleared, and owned models."""


class Sinks(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The most sensitive label that may go to each kind of sink besides the models that answer, such as
    `confidential+phi`. docs/labels.md has all kinds, those included that nothing can be said of."""

    fetch: str | None = None
    """Hosts that images and files are fetched from, for a model that takes no URLs: the URL itself says something;
    `internal` where it is not given."""
    mcp: str | None = None
    """Servers of tools (MCP) that a request tells the provider to ask; `internal` where it is not given."""
    shadows: str | None = None
    """Shadow copies; as far as the model is cleared that gets them."""
    guards: str | None = None
    """Guard models; as far as each is cleared."""
    embeddings: str | None = None
    """Texts embedded on the side, not those that a client wants embedded; as far as the model is cleared."""
    retention: str | None = None
    """What a provider is asked to keep: `store` where the client does not refuse it, `previous_response_id`; as far as
    the provider is cleared."""
    responses: str | None = None
    """Answers that this machine keeps for `previous_response_id`; everything, each key apart."""
    training: str | None = None
    """The readings of prompts that routes learn from (`learn`); `internal` where it is not given."""


class Sources(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a request holds that came from elsewhere, and how sensitive that makes it."""

    tools: dict[str, str] = field(default_factory=dict)
    """By a tool's name, `*` standing for anything: the label of its results, such as `{"crm_*": confidential}`. It
    holds for a request with such a result in it, in every dialect; of several that fit, all count. A result of which
    it is not clear whose it is has all labels named here."""


class Labels(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How sensitive requests are, and who may see them: public < internal < confidential < restricted."""

    default: str = "internal"
    """The label of a request that nothing else raises, such as `internal` or `internal+phi`."""
    compartments: list[str] = field(default_factory=list)
    """Names of compartments besides `phi`, `pci` and `region:NAME`; a label with one goes only where it is cleared."""
    public: Level | None = None
    """Rules for this label and those above."""
    internal: Level | None = None
    """Rules for this label and those above."""
    confidential: Level | None = None
    """Rules for this label and those above."""
    restricted: Level | None = None
    """Rules for this label."""
    sinks: Sinks = field(default_factory=Sinks)
    """How sensitive what reaches other places may be."""
    sources: Sources = field(default_factory=Sources)
    """What raises a request's label because of where it comes from."""
    answers: bool = False
    """Whether what `checks.answer` finds in an answer raises the label of its conversation, from the next turn on."""

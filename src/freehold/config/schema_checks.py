"""The part of `freehold.yaml` that says what is looked for in requests and answers, and what is done about it.

Kept beside schema.py, which joins it to the rest. What is looked for is named by type (`email`) or by group
(`personal`); a type's own word wins over its group's.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from freehold.config.schema_guards import Ask, GuardModel, Moderation, NamesModel
from freehold.config.schema_routing import Name
from freehold.config.schema_tools import Pseudonyms, Tools

RequestAction = Literal["allow", "label", "pseudonymise", "redact", "own", "ask", "block"]
AnswerAction = Literal["allow", "redact", "block"]
CheckMode = Literal["enforce", "monitor", "off"]
StreamMode = Literal["hold", "strict", "monitor"]

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "secrets": ("secret",),
    "personal": (
        "credit_card", "bank_account", "iban", "us_ssn", "national_id", "passport", "driver_license", "health_id",
        "date_of_birth", "email", "phone", "ip_address", "mac_address", "hostname", "crypto_address",
    ),
    "injection": ("prompt_injection",),
    "hidden": ("hidden_unicode",),
    "exfiltration": ("exfiltration",),
}  # fmt: skip
"""Types of findings by group. `detector_error` and `unchecked` stand for themselves."""
ERROR: Final = "detector_error"
UNCHECKED: Final = "unchecked"
"""Pictures, sound and other media: nothing is found in them, because nobody looked."""
TYPES: Final = frozenset((*(kind for kinds in GROUPS.values() for kind in kinds), ERROR))
OWNED: Final[Mapping[str, str]] = {
    "harm": "restricted", "guard_error": "restricted", "person": "confidential", "address": "confidential",
}  # fmt: skip
"""Types that owned models find (`guard`, `names`), with their labels. No rule does, so they stand in requests only."""
REPLACED: Final = frozenset((*GROUPS["secrets"], *GROUPS["personal"], "person", "address"))
"""Types that a placeholder can stand for. The others are no values, or nobody has seen them."""
EVERYDAY: Final = ("email", "phone", "date_of_birth")
"""Types that a request may carry unless the file says otherwise: half of all letters have them in their signature, and
who rents all his models could not send one of them. They are counted and named all the same."""


class CheckRules(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What one key, or the requests for one name, have otherwise."""

    mode: CheckMode | None = None
    """Instead of the general one."""
    request: dict[Name, RequestAction] = field(default_factory=dict)
    """Over the general rules, finding by finding."""
    answer: dict[Name, AnswerAction] = field(default_factory=dict)
    """Over the general rules, finding by finding."""
    streams: StreamMode | None = None
    """Instead of the general one."""


class Checks(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is looked for in requests and answers, and what is done about it. Nothing found is ever written down but its
    type.

    Findings are named by type: secret, credit_card, bank_account, iban, us_ssn, national_id, passport, driver_license,
    health_id, date_of_birth, email, phone, ip_address, mac_address, hostname, crypto_address, prompt_injection,
    hidden_unicode, exfiltration; or by group: secrets, personal, injection, hidden, exfiltration. `detector_error`
    stands for a detector that failed or took too long, `unchecked` for media that nobody can look into.
    """

    mode: CheckMode = "enforce"
    """`monitor`: everything is looked for, counted and named in `x-freehold-checks`, and nothing is done. `off`:
    nothing is looked for."""
    request: dict[Name, RequestAction] = field(default_factory=dict)
    """What is done about a finding in a request. `label`: the request gets the finding's label, and goes only where
    that may go. `pseudonymise`: whoever may not see it gets a placeholder, and the answer has the thing itself again;
    where that cannot be done, it is `label`. `redact`: a mark stands in its place. `own`: owned models only. `ask`: a
    person decides (see `ask`). `block`: it is refused. `allow`: nothing. Where it is not given: `label`, but `allow`
    for email, phone, date_of_birth and unchecked, and `block` for what a guard model says (`harm`, `guard_error`)."""
    answer: dict[Name, AnswerAction] = field(default_factory=dict)
    """What is done about a finding in an answer: `redact`, `block` (the answer ends there, with the dialect's word for
    filtered content) or `allow`. Answers are looked at only where something is given here."""
    streams: StreamMode = "hold"
    """`hold`: of a streamed answer as much is held back as may still become a finding, mostly a word. `strict`: all of
    it, until it has been looked at whole. `monitor`: nothing is held back or changed, only counted."""
    labels: dict[Name, str] = field(default_factory=dict)
    """The label of a type, such as `{email: internal, iban: confidential+pci}`; docs/checks.md has the usual ones."""
    skip: list[Name] = field(default_factory=list)
    """Types and rules that are not looked for."""
    minimum: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Findings that a rule is less sure of are dropped."""
    trusted_hosts: list[str] = field(default_factory=list)
    """Hosts to which images and links may lead. With any given, an image from another host is an exfiltration."""
    seconds: Annotated[float, Meta(gt=0, le=60)] = 5.0
    """Looking at one request may take so long; past it, it counts as a detector that failed."""
    keys: dict[Name, CheckRules] = field(default_factory=dict)
    """What a key has otherwise, by the key's name; it wins over `routes`."""
    routes: dict[Name, CheckRules] = field(default_factory=dict)
    """What requests for a name have otherwise: an alias or route of `models`, or `provider/model`."""
    guard: GuardModel | None = None
    """An owned guard model that judges requests."""
    names: NamesModel | None = None
    """An owned model that finds the names and addresses of people."""
    ask: Ask = field(default_factory=Ask)
    """What `ask` means."""
    tools: Tools = field(default_factory=Tools)
    """Which tools a model may call, and with what."""
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)
    """How `pseudonymise` is done."""
    moderation: Moderation = field(default_factory=Moderation)
    """`/v1/moderations`."""


def spelled_out(rules: Mapping[str, str]) -> dict[str, str]:
    """Returns what rules say of each type: a type's own word wins over its group's."""
    found = {kind: action for group, action in rules.items() for kind in GROUPS.get(group, ())}
    return found | {kind: action for kind, action in rules.items() if kind not in GROUPS or kind in GROUPS[kind]}

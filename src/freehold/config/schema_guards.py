"""The part of `checks:` that asks somebody: owned models that judge a text, and a person who decides.

Kept beside schema_checks.py, which joins it to the rest. What owned models find are findings like those of the rules:
what is done about them is said by type (`harm`, `guard_error`, `person`, `address`) under `request`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from freehold.config.schema_routing import Name

Threshold = Annotated[float, Meta(gt=0, le=1)]


class GuardModel(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An owned guard model that is shown each request before it is decided who may answer. What it calls harmful is a
    finding `harm`; where it gives no verdict, that is a `guard_error`. Both block where nothing else is said."""

    model: Name
    """An owned deployment of a known family: Llama Guard 2 to 4, Qwen3Guard-Gen, ShieldGemma, gpt-oss-safeguard."""
    family: str | None = None
    """Which family it is, such as `qwen3guard`, where its name does not say so."""
    seconds: Annotated[float, Meta(gt=0, le=60)] = 2.0
    """It has so long for one request; past it there is no verdict."""
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    """The score from which on a category is harm, such as `{hate: 0.4}`; 0.5 where it is not given."""
    ignore: list[str] = field(default_factory=list)
    """What the model names in its own words, and is no harm here: `S6: Specialized Advice`, `Copyright Violation`."""
    answers: bool = False
    """True: whole answers are shown to it as well, and held back until it has judged them; streams are held whole."""


class NamesModel(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An owned model that is asked for the names and postal addresses of people in a text, which no rule can see.
    They are findings `person` and `address`; where it gives no usable answer, that is a `detector_error`."""

    model: Name
    """An owned deployment that chats and can answer in JSON."""
    seconds: Annotated[float, Meta(gt=0, le=60)] = 5.0
    """It has so long for one request."""


class Ask(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What `ask` means: the request goes on only when a person has said so. See docs/approvals.md."""

    seconds: Annotated[float, Meta(ge=1, le=86400)] = 300.0
    """A person has so long to decide."""
    wait: bool = True
    """True: the request waits for the verdict. False: it is refused at once with `approval_required`, and may be sent
    again with `x-freehold-approval: ID` once it was approved."""
    valid: Annotated[float, Meta(ge=1, le=86400)] = 600.0
    """An approval can be used so many seconds after it was given, once."""
    waiting: Annotated[int, Meta(ge=1, le=10000)] = 100
    """Requests of one key that may be undecided at a time; more are answered 429."""
    excerpt: Annotated[int, Meta(ge=0, le=2000)] = 400
    """Characters of the request that the person is shown, with everything found in it masked; 0: none."""
    approvers: list[Name] = field(default_factory=list)
    """Keys that may decide over HTTP, never about their own requests. Whoever can read FREEHOLD_HOME may with
    `freehold approvals`."""


class Moderation(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """`/v1/moderations` as this gateway answers it."""

    by: Literal["local", "guard", "rented"] = "local"
    """Who judges: rules and a small model in this process, an owned guard model, or a rented moderation model."""
    model: Name | None = None
    """The deployment, where it is not `local`: `own/llama-guard`, `openai/omni-moderation-latest`."""
    family: str | None = None
    """Which family of guard models it is, such as `qwen3guard`, where its name does not say so."""
    seconds: Annotated[float, Meta(gt=0, le=60)] = 10.0
    """A guard model has so long for one text."""
    answer: Literal["unserved", "always", "never"] = "unserved"
    """For which names of OpenAI's moderation models it answers itself: those that no provider here serves, all, or
    none. `freehold-moderation` it always answers."""
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    """The score from which on a category is flagged, such as `{hate: 0.4}`; the model's own where it is not given."""

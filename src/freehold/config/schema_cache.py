"""The part of `freehold.yaml` that says which answers are kept and given again (docs/caching.md).

Kept beside schema.py, which joins it to the rest. Not to be confused with the providers' own prompt caches, which need
no setting here.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from freehold.config.schema_routing import Name

CacheEndpoint = Literal[
    "chat", "completions", "responses", "messages", "gemini", "cohere", "mistral", "ollama", "embeddings"
]
Ttl = Annotated[float, Meta(ge=1, le=31_536_000)]
Share = Annotated[float, Meta(gt=0, lt=1)]


class CacheRules(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What one key, or the requests for one name, have otherwise."""

    enabled: bool | None = None
    """Instead of the general one."""
    ttl: Ttl | None = None
    """Instead of the general one."""
    semantic: bool | None = None
    """Whether similar questions may get the same answer. Under `routes` it is what switches that on; under `keys` it
    can only switch it off."""


class ExactCache(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which answers are kept for requests that are the same."""

    sampled: bool = False
    """True: answers that were drawn by chance too, which are those to all requests that do not say `temperature: 0`.
    Whoever asks again gets the first answer then, not another one."""
    tools: bool = False
    """True: answers that call tools too."""


class SemanticCache(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """When the answer to one question is given to a similar one. Needs `freehold cache calibrate`."""

    false_hits: Annotated[float, Meta(gt=0, le=0.5)] = 0.01
    """The share of such answers that may be wrong, as an upper bound that calibration must have shown."""
    confidence: Share = 0.95
    """How sure that bound must be."""
    explore: Annotated[float, Meta(ge=0, le=1)] = 0.02
    """The share of such answers that is asked for anew instead and compared."""
    differ: Share = 0.2
    """The share of compared answers that may differ; more than that for long closes the semantic cache of the name."""
    entries: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    """Questions of one group (same key, label, name and everything else but the question) that are looked through."""


class Cache(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Answers that are kept and given again to the same request of the same key with the same label."""

    enabled: bool = False
    """Whether answers are kept at all; `routes` and `keys` may say otherwise."""
    ttl: Ttl = 3600.0
    """Seconds for which an answer is given again."""
    clearance: str = "internal"
    """The most sensitive label of which answers are kept, such as `confidential+pci`. Files hold them unencrypted."""
    endpoints: list[CacheEndpoint] | None = None
    """The endpoints whose answers are kept, by the dialect that the client speaks; none means
    all."""
    megabytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 256
    """Size of all kept answers together; those that were not asked for the longest give way."""
    answer_kb: Annotated[int, Meta(ge=1, le=65_536)] = 256
    """A longer answer is not kept."""
    exact: ExactCache = field(default_factory=ExactCache)
    """Which answers are kept."""
    semantic: SemanticCache = field(default_factory=SemanticCache)
    """Similar questions; off unless a name under `routes` says `semantic: true`."""
    groups: dict[Name, list[Name]] = field(default_factory=dict)
    """Keys that share their answers, such as `{support: [bot-eu, bot-us]}`. A key in no group shares with nobody."""
    keys: dict[Name, CacheRules] = field(default_factory=dict)
    """What a key has otherwise, by the key's name; it wins over `routes`."""
    routes: dict[Name, CacheRules] = field(default_factory=dict)
    """What requests for a name have otherwise: an alias or route of `models`, or `provider/model`."""

    @property
    def wanted(self) -> bool:
        """Whether any answer may be kept."""
        return self.enabled or any(rules.enabled for rules in (*self.keys.values(), *self.routes.values()))

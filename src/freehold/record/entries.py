"""What a worker writes down: an intent before every call upstream, a settlement after it, outcomes, which say how good
an answer was once somebody or something has judged it, and requests that were refused before anybody was called.

Intents and settlements are the only truth about spending. An intent without a settlement (the worker was killed) is
recovered by the ledger as outcome `unknown`. Where a route chose among several, the first intent of the request also
holds the decision: what it was made from, in figures and names, never in words of the prompt, so that it can be learned
from and made again under other rules. All are msgpack arrays, so fields may only be appended, each with a default.
"""

from typing import Literal

from msgspec import Struct

from freehold.record.receipts.sent import Outward, Sent

Ending = Literal["ok", "failed", "cancelled", "unknown", "blocked"]
"""failed: no usable answer (it may still have cost). cancelled: the client left. unknown: we were killed first.
blocked: the provider answered, and a rule of ours kept the answer from the client or ended it."""
Source = Literal["feedback", "schema", "retry", "judge", "evaluation", "cascade"]
"""feedback: a client said so. schema: the answer was held to JSON and is, or is not. retry: its reader asked the same
again. judge: a model compared it. evaluation: its right answer is known. cascade: the check of a cascade."""


class Weighed(Struct, array_like=True, gc=False):
    """A candidate of a decision, in whole numbers because they are short. None: nothing was known."""

    name: str
    quality: int | None = None
    """Predicted probability that its answer is right, in ten-thousandths."""
    price: int | None = None
    """Expected price of the call in nano-dollars."""
    latency: int | None = None
    """Expected milliseconds until the answer is complete."""
    chance: int = 0
    """The probability that it would be chosen, in millionths."""


class Decided(Struct, array_like=True, gc=False):
    """How a route decided. `candidates` are those eligible, in the order they were to be tried."""

    route: str
    propensity: float = 1.0
    """The probability with which the first candidate was chosen."""
    explored: bool = False
    """Chance chose, not the ranking."""
    kind: str = "chat"
    needs: str = ""
    """Names of capabilities, sorted, separated by commas."""
    input: int = 0
    """Estimated tokens of the prompt."""
    output: int = 0
    """Tokens that the answer may have at most."""
    limit: int | None = None
    """Tokens that the client limits each answer to."""
    ran: str = ""
    """The deployment at which the conversation ran last, whose cache holds `cached` tokens of the prompt."""
    cached: int = 0
    basis: bytes = b""
    """Four bytes that name the basis of `reading`."""
    reading: bytes = b""
    """What the predictor read in the prompt: a small vector (record/readings.py), empty where it is not kept."""
    candidates: list[Weighed] = []
    dropped: list[tuple[str, str]] = []
    """Who may not answer, and why."""


class Intent(Struct, array_like=True, tag="i", gc=False):
    """Written before the first byte goes upstream. `call` is unique over all time: it is also sent upstream as
    `x-client-request-id`, so that a provider's own count can be compared with the ledger."""

    call: str
    request: str
    """The request id the client sees; several attempts share it."""
    at: int
    """Unix time in nanoseconds."""
    attempt: int
    key: str
    """Name of the virtual key."""
    asked: str
    """Model name as the client wrote it."""
    deployment: str
    """provider/model as Freehold addresses it."""
    provider: str
    model: str
    dialect: str
    """Dialect of the client: chat, completions, embeddings, messages."""
    owned: bool
    stream: bool
    held: int
    """Tokens held against the key's limit: the worst case."""
    config: str
    """Version of the configuration in force."""
    reason: str = ""
    """Why this deployment was chosen, in a few words."""
    label: str = ""
    """How sensitive the request is, such as `internal`; empty where nobody said."""
    decided: Decided | None = None
    """On the first attempt of a request that a route decided."""
    sent: Sent | None = None
    """What went out, and where, for the receipt."""
    found: str = ""
    """What was found in the request, by type, and what was done: `email=allow,secret=label`, sorted. Never more."""


class Settlement(Struct, array_like=True, tag="s", gc=False):
    """Written when the call has ended, however it ended. Times are microseconds since the intent."""

    call: str
    outcome: str
    status: int
    """HTTP status of the upstream, 0 if none came."""
    uncached: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    estimated: bool = False
    first_us: int = 0
    total_us: int = 0
    upstream_id: str = ""
    served: str = ""
    """The model the provider says it used."""
    error: str = ""
    """The code of errors.py, empty on success."""
    lost: str = ""
    """Fields of the client's request, or of the answer, that could not be carried across; separated by commas."""
    received: int = 0
    """Bytes of the answer's body."""
    cached: bool = False
    """Nobody was asked: the answer was kept from an earlier call, and cost nothing. Tokens are those of that call."""
    found: str = ""
    """What was found in the answer, as `Intent.found`."""


class Outcome(Struct, array_like=True, tag="o", gc=False):
    """A verdict on one answer. Of several from the same source, the last counts."""

    about: str
    """A call id, or a request id: then the call that answered it is meant."""
    source: str
    """One of `Source`."""
    value: float
    """0 wrong to 1 right."""
    weight: float
    """How much it says, 1 for a person's plain word."""
    at: int
    """Unix time in nanoseconds."""
    by: str = ""
    """Name of the virtual key that said so; empty: the gateway itself."""
    note: str = ""
    """A code such as `incomplete`, at most 200 characters."""


class Cached(Struct, array_like=True, tag="c", gc=False):
    """A request that was answered from the cache, or by the gateway itself (`/v1/moderations`). One entry, because
    nothing went out: it has no receipt."""

    intent: Intent
    """`deployment` is who made the answer; `reason` is `cached`."""
    end: Settlement


class Refused(Struct, array_like=True, tag="r", gc=False):
    """A request that a check or a label refused. Nobody was called for it, but for guard models."""

    request: str
    at: int
    """Unix time in nanoseconds."""
    key: str
    asked: str
    dialect: str
    status: int
    """What the client was told, and `code`, of errors.py."""
    code: str
    found: str = ""
    """As `Intent.found`: `email=allow,secret=block`."""
    label: str = ""
    """Empty where it was refused before that was known."""
    config: str = ""
    """Version of the configuration in force."""


Entry = Intent | Settlement | Outcome | Outward | Cached | Refused

"""The two things a worker writes about every call upstream: an intent before it, a settlement after it.

They are the only truth about spending. An intent without a settlement (the worker was killed) is recovered by the
ledger as outcome `unknown`. Both are msgpack arrays, so fields may only be appended, each with a default.
"""

from typing import Literal

from msgspec import Struct

Outcome = Literal["ok", "failed", "cancelled", "unknown"]
"""failed: no usable answer (it may still have cost). cancelled: the client left. unknown: we were killed first."""


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


Entry = Intent | Settlement

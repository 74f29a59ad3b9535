"""The lines of the log, its leaves: one JSON object each, UTF-8, without its line's end.

    {"kind":"log", ...}      the first line: which log this is
    {"kind":"call", ...}     a receipt: one call outward and how it ended. Never a word of what was said
    {"kind":"end", ...}      an incarnation of a worker has ended, and all its calls are above
    {"kind":"damage", ...}   a place in a worker's journal that could not be read, or a file of it that was taken away
    {"kind":"key", ...}      from the next head on, another key signs

What is hashed is the line itself, so a reader in any language needs no notion of canonical JSON. `n` is the line's
place in the log, from 0. Fields that are empty are left out.
"""

from typing import Final

import msgspec
from msgspec import Struct

from freehold.record.entries import Intent, Settlement
from freehold.record.receipts.sent import Outward, Sent, Sink


class Began(Struct, tag_field="kind", tag="log", omit_defaults=True):
    n: int
    log: str
    """The log's name, on every head too."""
    at: int
    """Unix time in nanoseconds, as in all kinds."""
    after: str = ""
    """Why this log does not begin with the first call: what became of the one before it."""


class Call(Struct, tag_field="kind", tag="call", omit_defaults=True, gc=False):
    n: int
    at: int
    call: str
    worker: str
    """The incarnation of a worker: name, dash, start in nanoseconds."""
    seq: int = 0
    """The worker's own count of its calls, from 1; 0 where its entry was damaged."""
    request: str = ""
    """Empty where it is the call's id without `-attempt`."""
    key: str = ""
    label: str = ""
    via: str = ""
    """What the call was, where it asked no model: fetch, webhook, mcp, ..."""
    owned: bool = False
    deployment: str = ""
    provider: str = ""
    model: str = ""
    host: str = ""
    region: str = ""
    clearance: str = ""
    """What the place was cleared for when the call was allowed."""
    policy: str = ""
    """Version of the configuration in force."""
    out: int = 0
    """Bytes of the bodies sent."""
    back: int = 0
    """Bytes of the answer's body."""
    body: str = ""
    """Keyed digest of the bodies sent, in hexadecimal (sent.BodyHash)."""
    declassifier: str = ""
    outcome: str = ""
    """ok, failed, cancelled, unknown; `sent` where the answer does not matter."""
    status: int = 0


class Ended(Struct, tag_field="kind", tag="end", omit_defaults=True):
    n: int
    at: int
    worker: str


class Damaged(Struct, tag_field="kind", tag="damage", omit_defaults=True):
    n: int
    at: int
    journal: str
    """The segment's file name."""
    places: int = 0
    """How many places hold no entry; 0: the file was gone before it was read to its end."""


class KeyChanged(Struct, tag_field="kind", tag="key", omit_defaults=True):
    n: int
    at: int
    key: str
    """The new verifier key (keys.py)."""


Leaf = Began | Call | Ended | Damaged | KeyChanged

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODER: Final[msgspec.json.Decoder[Leaf]] = msgspec.json.Decoder(Leaf)


def encode(leaf: Leaf) -> bytes:
    """Returns the line, without its end."""
    return _ENCODE(leaf)


def decode(line: bytes) -> Leaf:
    """Raises ValueError for what is no line of a log."""
    return _DECODER.decode(line)


def call_leaf(worker: str, intent: Intent, end: Settlement, sent: Sent | None, back: int = 0) -> Call:
    """Returns the receipt of a call that has ended. `sent` is None where its intent was damaged, or of a version before
    receipts. `back` is the size of the answer."""
    i, s = intent, sent or _NOTHING
    request = "" if i.call == f"{i.request}-{i.attempt}" else i.request
    return Call(
        0, i.at, i.call, worker, s.seq, request, i.key, i.label, "", i.owned, i.deployment, i.provider, i.model,
        s.sink.host, s.sink.region, s.sink.clearance, i.config, s.size, back, s.digest.hex(), s.declassifier,
        end.outcome, end.status,
    )  # fmt: skip


def outward_leaf(worker: str, entry: Outward) -> Call:
    """Returns the receipt of a call that asked no model."""
    e, s = entry, entry.sent
    return Call(
        0, e.at, e.call, worker, s.seq, e.request, e.key, e.label, e.kind, False, "", "", "",
        s.sink.host, s.sink.region, s.sink.clearance, e.config, s.size, 0, s.digest.hex(), s.declassifier, "sent",
    )  # fmt: skip


_NOTHING: Final = Sent(0, Sink(""))

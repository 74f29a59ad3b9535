"""What a worker notes of a call's way out, for the receipt: beside the intent, before the first byte leaves.

`seq` counts the calls of one incarnation of a worker, so that a receipt that is missing leaves a hole. The digest is
keyed, and covers the call's id: whoever has a body and the key can say whether it was this call's, nobody can find out
a short text by trying them all, and equal bodies do not show. Arrays in msgpack, like the rest of the journal, so
fields may only be appended, each with a default. Imports nothing of the record: entries.py refers to it.
"""

from hashlib import blake2b
from typing import Final

from msgspec import Struct

DIGEST_BYTES: Final = 16
KEY_BYTES: Final = 32


class Sink(Struct, array_like=True, frozen=True, gc=False):
    """Where calls of one target go. The same object for all of them."""

    host: str
    """Name or address, with the port where it is not the usual one."""
    region: str = ""
    clearance: str = ""
    """What the place was cleared for when the call was allowed, as a label is written: `confidential+phi`."""


class Sent(Struct, array_like=True, gc=False):
    """What went out with one call."""

    seq: int
    """From 1, without a hole: how many calls this incarnation of the worker has made with this one."""
    sink: Sink
    size: int = 0
    """Bytes of the bodies."""
    digest: bytes = b""
    """`BodyHash.digest` of the bodies."""
    declassifier: str = ""
    """What lowered the label, such as `pseudonyms`; empty where nothing did."""


class Outward(Struct, array_like=True, tag="e", gc=False):
    """A call outward that asks no model: an image fetched, a webhook, a tool's server, an exporter of traces. It is one
    entry, written before the first byte."""

    kind: str
    """fetch, webhook, mcp, trace, guard, or a name like them."""
    call: str
    request: str
    """Empty where no request caused it."""
    at: int
    """Unix time in nanoseconds."""
    key: str
    label: str
    config: str
    """Version of the configuration in force."""
    sent: Sent


class BodyHash:
    """Digests of bodies under one key."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key of body digests has {KEY_BYTES} bytes, not {len(key)}")
        self._keyed = blake2b(key=key, digest_size=DIGEST_BYTES)

    def digest(self, call: str, *bodies: bytes) -> bytes:
        """Returns 16 bytes: BLAKE2b under the key, of the call's id, a zero byte, and each body with its length before
        it, 8 bytes little-endian."""
        hashed = self._keyed.copy()
        start = call.encode() + b"\0"
        for body in bodies:
            hashed.update(start + len(body).to_bytes(8, "little"))
            hashed.update(body)
            start = b""
        if start:
            hashed.update(start)
        return hashed.digest()

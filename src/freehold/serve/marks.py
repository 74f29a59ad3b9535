"""The high-water mark of a conversation: once it was labelled restricted it stays so, whatever of it is sent again.

A request is labelled by what it holds. But a client shortens a long conversation, or says how sensitive it is only the
first time. So what a conversation was labelled is kept here, by us, under names it cannot choose:

    how it begins     instructions, the user's first words, and the first answer once there is one: what the next
                      request has the same. Two conversations that begin with "hi" part ways at the first answer
    what it is called by the client (`x-freehold-session`), besides, never instead

One small table for all workers, and for the time after a restart. Most keys never have a conversation above their own
label, and pay one look at a bit. A full bucket gives up its oldest mark: 65,536 conversations are remembered.

    file     64 bytes header (magic, the secret of the keys), 1,024 bytes of bits (which keys have marks), slots
    slot     key 8, when 4 (Unix time in minutes), length 1, label 47, checksum 4, in buckets of eight

There are no locks: a slot is written by one copy of 64 bytes, and one that is torn counts as the highest label.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from freehold.dialects.conversation import Conversation, Part, Text
from freehold.labels import Label, Rules
from freehold.labels.lattice import HIGHEST
from freehold.tables import shared_table

SLOTS = 1 << 16
WAYS = 8
_MAGIC = b"fhmark01"
_SECRET = 32
_BITS = 64
_BYTES = 1024
_TABLE = _BITS + _BYTES
_SLOT = struct.Struct("<QIB47sI")
_BODY = struct.Struct("<QIB47s")
_SIZE = _TABLE + SLOTS * _SLOT.size
_LONGEST = 47


class Marks:
    """The table at `path`, made where it is not there. One per process."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._map = shared_table(descriptor, _SIZE, _MAGIC, os.urandom(_SECRET))
        finally:
            os.close(descriptor)
        self._secret = bytes(self._map[len(_MAGIC) : len(_MAGIC) + _SECRET])
        self._places: dict[str, tuple[int, int]] = {}

    def close(self) -> None:
        self._map.close()

    def any(self, principal: str) -> bool:
        """Whether a conversation of this key may have a mark."""
        place, bit = self._bit(principal)
        return bool(self._map[place] & bit)

    def look(self, principal: str, names: Iterable[bytes], rules: Rules) -> Label | None:
        """Returns the join of the marks under these names, None without one. What cannot be read is the highest."""
        found: Label | None = None
        for name in names:
            label = self._read(self._key(principal, name), rules)
            if label is not None:
                found = label if found is None else found | label
        return found

    def note(self, principal: str, names: Iterable[bytes], label: Label, now: float) -> None:
        """Writes the mark under each of the names. `now` is Unix time in seconds."""
        text = str(label).encode()
        if len(text) > _LONGEST:
            text = b"!"  # no label is written so: it is read as the highest
        place, bit = self._bit(principal)
        self._map[place] |= bit
        for name in names:
            key = self._key(principal, name)
            body = _BODY.pack(key, int(now / 60) & 0xFFFFFFFF, len(text), text)
            offset = self._place(key)
            self._map[offset : offset + _SLOT.size] = body + zlib.crc32(body).to_bytes(4, "little")

    def _read(self, key: int, rules: Rules) -> Label | None:
        start = _bucket(key)
        for offset in range(start, start + WAYS * _SLOT.size, _SLOT.size):
            content = self._map[offset : offset + _SLOT.size]
            found, _, length, text, checksum = _SLOT.unpack(content)
            if found == key:
                try:
                    if checksum == zlib.crc32(content[: _BODY.size]):
                        return rules.parse(text[:length].decode())
                except ValueError:
                    pass
                return Label(HIGHEST, rules.compartments)
        return None

    def _place(self, key: int) -> int:
        """The slot of `key` in its bucket, else an empty one, else the oldest."""
        start = _bucket(key)
        oldest, place = 1 << 33, start
        for offset in range(start, start + WAYS * _SLOT.size, _SLOT.size):
            found, when, _, _, _ = _SLOT.unpack_from(self._map, offset)
            if found == key:
                return offset
            when = when if found else -1
            if when < oldest:
                oldest, place = when, offset
        return place

    def _bit(self, principal: str) -> tuple[int, int]:
        found = self._places.get(principal)
        if found is None:
            if len(self._places) > 10_000:
                self._places.clear()
            number = int.from_bytes(hashlib.blake2b(principal.encode(), digest_size=4).digest(), "little")
            number %= _BYTES * 8
            found = self._places[principal] = _BITS + number // 8, 1 << number % 8
        return found

    def _key(self, principal: str, name: bytes) -> int:
        digest = hashlib.blake2b(principal.encode(), digest_size=8, key=self._secret)
        digest.update(b"\0" + name)
        return int.from_bytes(digest.digest(), "little") or 1


class Names(Struct, frozen=True):
    """What a conversation is known by: where its mark is looked for, and where one is written."""

    look: tuple[bytes, ...]
    note: tuple[bytes, ...]


def names_of(header: bytes | None, conversation: Conversation | None) -> Names:
    """`header` is what the client calls it. Of a first request, which any other may begin like, no mark is looked for
    by its words alone; the next one, with the answer, looks for it."""
    called = (b"called\0" + header,) if header else ()
    if conversation is None:
        return Names(called, called)
    digest = hashlib.blake2b(digest_size=16)
    for part in conversation.system:
        digest.update(_said(part))
    asked: bytes | None = None
    for turn in conversation.turns:
        digest.update(b"\0" + turn.role.encode())
        for part in turn.parts:
            digest.update(_said(part))
        if turn.role == "user" and asked is None:
            asked = b"asked\0" + digest.digest()
        elif turn.role == "assistant" and asked is not None:
            answered = b"answered\0" + digest.digest()
            return Names((*called, asked, answered), (*called, answered))
    return Names(called, called if asked is None else (*called, asked))


def _said(part: Part) -> bytes:
    """What of a part stays the same from turn to turn."""
    if isinstance(part, Text):
        return b"\0t" + part.text.encode("utf-8", "surrogatepass")
    return b"\0" + type(part).__name__.encode()


def _bucket(key: int) -> int:
    return _TABLE + key % (SLOTS // WAYS) * WAYS * _SLOT.size

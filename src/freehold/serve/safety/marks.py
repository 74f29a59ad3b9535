"""The high-water mark of a conversation: once it was labelled restricted it stays so, whatever of it is sent again.

A request is labelled by what it holds. But a client shortens a long conversation, or says how sensitive it is only the
first time. So what a conversation was labelled is kept here, by us, under names it cannot choose:

    how it begins     instructions, the user's first words, and the first answer once there is one: what the next
                      request has the same. Two conversations that begin with "hi" part ways at the first answer
    what it is called by the client (`x-freehold-session`), besides, never instead
    the response that it goes on from (`previous_response_id`), whose instructions are not said again

Each key has a table of its own, made with its first mark, so that nobody can crowd out the marks of others. Most keys
never have a conversation above their own label, and pay one look at a bit.

Nothing is forgotten in silence. A bucket that is full gives up its oldest mark, and what that mark said is from then on
said of every conversation of the key that falls into the bucket, until `LIFE` has passed since the mark was last used.
Whoever floods his key with marks raises his own conversations, and nobody else's. A mark that was not used for `LIFE`
makes room without that. A key's table holds 57,344 marks, two or three for each conversation, in at most 4 MiB of disk,
and no memory besides a descriptor.

    marks              64 bytes header (magic, the secret of the keys), 1,024 bytes of bits (which keys have marks)
    marks.d/HEX        16 bytes header, then buckets of eight slots: what was given up, and seven marks
    slot               key 8, when 4 (Unix time in minutes), length 1, label 47, checksum 4

A slot that is torn counts as the highest label. Writers take a lock, readers none; a table that cannot be written makes
the request fail, since it could not be remembered.
"""

import fcntl
import hashlib
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from freehold.dialects.conversation import Conversation, Part, Text
from freehold.errors import InternalError
from freehold.labels import Label, Rules
from freehold.labels.lattice import HIGHEST
from freehold.tables import shared_table

BUCKETS: Final = 8192
WAYS: Final = 7
"""Marks in a bucket, behind what it has given up."""
LIFE: Final = 30 * 86_400.0
"""Seconds that a mark counts at least since it was last used."""
MOST_OPEN: Final = 256
"""Tables that a process has open at a time."""
_MAGIC: Final = b"fhmark02"
_SECRET: Final = 32
_BITS: Final = 64
_BYTES: Final = 1024
_HEAD: Final = b"freehold marks 1"
_SLOT: Final = struct.Struct("<QIB47sI")
_BODY: Final = struct.Struct("<QIB47s")
_BUCKET: Final = (WAYS + 1) * _SLOT.size
_LONGEST: Final = 47
_NO_LABEL: Final = b"="
"""Begins what is kept in a slot and is no label."""
_UNREADABLE: Final = b"!"
"""No label is written so: it is read as the highest."""


class Slot(Struct, frozen=True):
    """What a slot says. `minute` is Unix time in minutes; `text` a label, or what `keep` was given."""

    key: int
    minute: int
    text: bytes

    @property
    def marks(self) -> bool:
        return not self.text.startswith(_NO_LABEL)

    def expired(self, now: float) -> bool:
        return now - self.minute * 60 > LIFE


class Marks:
    """The marks of all keys, beside `path`, made where they are not there. One per process."""

    def __init__(self, path: Path, buckets: int = BUCKETS) -> None:
        """Raises OSError."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._map = shared_table(descriptor, _BITS + _BYTES, _MAGIC, os.urandom(_SECRET))
        finally:
            os.close(descriptor)
        self._folder = path.with_name(path.name + ".d")
        self._buckets = buckets
        self._secret = bytes(self._map[len(_MAGIC) : len(_MAGIC) + _SECRET])
        self._places: dict[str, tuple[int, int]] = {}
        self._tables: dict[str, int] = {}

    def close(self) -> None:
        self._map.close()
        for descriptor in self._tables.values():
            os.close(descriptor)
        self._tables.clear()

    def any(self, principal: str) -> bool:
        """Whether a conversation of this key may have a mark."""
        place, bit = self._bit(principal)
        return bool(self._map[place] & bit)

    def look(self, principal: str, names: Iterable[bytes], rules: Rules, now: float | None = None) -> Label | None:
        """Returns the join of the marks under these names, None without one. What cannot be read is the highest.

        `now` is Unix time in seconds. Raises InternalError where the table cannot be read.
        """
        now = time.time() if now is None else now
        found: Label | None = None
        for name in names:
            key = self._key(principal, name)
            for text in self._said(self._read(principal, key), key, now):
                label = _parsed(text, rules)
                found = label if found is None else found | label
        return found

    def note(self, principal: str, names: Iterable[bytes], label: Label, rules: Rules, now: float) -> None:
        """Raises the mark under each of the names to `label`, if it is not as high already. `now` is Unix time in
        seconds. Raises InternalError where it cannot be written."""
        place, bit = self._bit(principal)
        self._map[place] |= bit
        for name in names:
            self._write(principal, self._key(principal, name), partial(_raised, label, rules), rules, now)

    def keep(self, principal: str, name: bytes, text: bytes, now: float) -> None:
        """Keeps up to 46 bytes under a name, beside the marks; they may be forgotten. Raises InternalError."""
        if len(text) >= _LONGEST:
            raise ValueError(f"at most {_LONGEST - 1} bytes are kept, not {len(text)}")
        self._write(principal, self._key(principal, _NO_LABEL + name), lambda _: _NO_LABEL + text, None, now)

    def kept(self, principal: str, name: bytes) -> bytes | None:
        """Returns what `keep` was given under a name, None where nothing was, or it was forgotten."""
        key = self._key(principal, _NO_LABEL + name)
        slot = next((slot for slot in self._read(principal, key)[1:] if slot is not None and slot.key == key), None)
        return slot.text[1:] if slot is not None and not slot.marks else None

    @staticmethod
    def _said(bucket: "list[Slot | None]", key: int, now: float) -> list[bytes]:
        """The labels that a bucket has for a key: its mark's, and that of what was given up."""
        residue = bucket[0]
        found = [slot.text for slot in bucket[1:] if slot is not None and slot.key == key and slot.marks]
        if residue is not None and residue.key and not residue.expired(now):
            found.append(residue.text)
        return found

    def _read(self, principal: str, key: int) -> "list[Slot | None]":
        table = self._table(principal)
        if table is None:
            return [None] * (WAYS + 1)
        try:
            return _slots(os.pread(table, _BUCKET, self._offset(key)))
        except OSError as error:
            raise _broken("read", error) from error

    def _write(
        self, principal: str, key: int, given: "Callable[[Slot | None], bytes]", rules: Rules | None, now: float
    ) -> None:
        """Writes what `given` makes of the slot that is there. Without `rules` no mark is given up for it."""
        table = self._table(principal, make=True)
        assert table is not None
        offset, minute = self._offset(key), int(now / 60) & 0xFFFFFFFF
        try:
            fcntl.flock(table, fcntl.LOCK_EX)
            try:
                bucket = _slots(os.pread(table, _BUCKET, offset))
                place = _place(bucket, key, now)
                out = bucket[place]
                if out is not None and out.key != key and out.marks and not out.expired(now):
                    if rules is None:
                        return
                    os.pwrite(table, _packed(_given_up(bucket[0], out, rules, now)), offset)
                text = given(out if out is not None and out.key == key else None)
                os.pwrite(table, _packed(Slot(key, minute, text)), offset + place * _SLOT.size)
            finally:
                fcntl.flock(table, fcntl.LOCK_UN)
        except OSError as error:
            raise _broken("written", error) from error

    def _table(self, principal: str, make: bool = False) -> int | None:
        """The descriptor of a key's table; None where there is none and none is to be made."""
        found = self._tables.get(principal)
        if found is not None:
            return found
        name = hashlib.blake2b(principal.encode(), digest_size=16, key=self._secret, person=b"table").hexdigest()
        try:
            if make:
                self._folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o600)
            if make:
                _begin(descriptor, len(_HEAD) + self._buckets * _BUCKET)
            elif os.pread(descriptor, len(_HEAD), 0) != _HEAD:
                os.close(descriptor)  # whoever makes it is not done
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _broken("opened", error) from error
        if len(self._tables) >= MOST_OPEN:
            os.close(self._tables.pop(next(iter(self._tables))))
        self._tables[principal] = descriptor
        return descriptor

    def _offset(self, key: int) -> int:
        return len(_HEAD) + key % self._buckets * _BUCKET

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


def _begin(descriptor: int, size: int) -> None:
    """Gives a table its size; the room is taken from the disk only as it is written."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        if os.fstat(descriptor).st_size != size or os.pread(descriptor, len(_HEAD), 0) != _HEAD:
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, size)
            os.pwrite(descriptor, _HEAD, 0)
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _slots(content: bytes) -> "list[Slot | None]":
    """The slots of a bucket, None for an empty one. One that is torn says what is read as the highest label."""
    found: list[Slot | None] = []
    for offset in range(0, _BUCKET, _SLOT.size):
        piece = content[offset : offset + _SLOT.size].ljust(_SLOT.size, b"\0")
        key, minute, length, text, checksum = _SLOT.unpack(piece)
        if not key:
            found.append(None)
        elif checksum == zlib.crc32(piece[: _BODY.size]):
            found.append(Slot(key, minute, text[:length]))
        else:
            found.append(Slot(key, minute, _UNREADABLE))
    return found


def _packed(slot: Slot) -> bytes:
    body = _BODY.pack(slot.key, slot.minute, len(slot.text), slot.text)
    return body + zlib.crc32(body).to_bytes(4, "little")


def _place(bucket: "list[Slot | None]", key: int, now: float) -> int:
    """Where a key's slot is in its bucket, or is to be: an empty one, else one that is no loss, else the oldest."""
    oldest, place = (3, 0), 1
    for number, slot in enumerate(bucket[1:], 1):
        if slot is not None and slot.key == key:
            return number
        age = (0, 0) if slot is None else (1 if not slot.marks or slot.expired(now) else 2, slot.minute)
        if age < oldest:
            oldest, place = age, number
    return place


def _raised(label: Label, rules: Rules, slot: Slot | None) -> bytes:
    """What a slot says after `label` was added to it."""
    return _written(label if slot is None else label | _parsed(slot.text, rules))


def _given_up(residue: Slot | None, out: Slot, rules: Rules, now: float) -> Slot:
    """What a bucket has given up, now that `out` is to go."""
    if residue is None or residue.expired(now):
        return Slot(1, out.minute, out.text)
    label = _parsed(residue.text, rules) | _parsed(out.text, rules)
    return Slot(1, max(residue.minute, out.minute), _written(label))


def _parsed(text: bytes, rules: Rules) -> Label:
    try:
        return rules.parse(text.decode())
    except ValueError:
        return Label(HIGHEST, rules.compartments)


def _written(label: Label) -> bytes:
    text = str(label).encode()
    return text if len(text) <= _LONGEST else _UNREADABLE


def _broken(what: str, error: OSError) -> InternalError:
    return InternalError(
        f"the labels of conversations cannot be {what}: {error.strerror or error}",
        status=503,
        code="marks_unavailable",
        hint="free disk space or make FREEHOLD_HOME/marks.d writable; what cannot be remembered is not sent on",
    )


class Names(Struct, frozen=True):
    """What a conversation is known by: where its mark is looked for, and where one is written."""

    look: tuple[bytes, ...]
    note: tuple[bytes, ...]


def names_of(header: bytes | None, conversation: Conversation | None, response: str | None = None) -> Names:
    """`header` is what the client calls it, `response` the id of the response that it goes on from. Of a first request,
    which any other may begin like, no mark is looked for by its words alone; the next one, with the answer, looks for
    it."""
    called = (b"called\0" + header,) if header else ()
    if response is not None:
        called = (*called, b"response\0" + response.encode("utf-8", "surrogatepass"))
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
        if turn.role == "system":
            continue
        if asked is None:
            asked = b"asked\0" + digest.digest()
            continue
        answered = b"answered\0" + digest.digest()
        # Whoever calls the model's turns otherwise, as some dialects allow, has said them all the same.
        first = () if turn.role == "assistant" else (asked,)
        return Names((*called, asked, answered), (*called, *first, answered))
    return Names(called, (*called, asked or b"asked\0" + digest.digest()))


def _said(part: Part) -> bytes:
    """What of a part stays the same from turn to turn."""
    if isinstance(part, Text):
        return b"\0t" + part.text.encode("utf-8", "surrogatepass")
    return b"\0" + type(part).__name__.encode()

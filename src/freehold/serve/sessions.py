"""Where a conversation ran last, and how much of its prompt is cached there: one small table for all workers.

A conversation that goes on at the same place has its old turns read from the provider's prompt cache, or from the
engine's, at a tenth of the price and none of the time. So the decision wants to know where that is. Nothing here is
precious: the table has a fixed size, the oldest of a bucket gives way, and an entry that is gone, too old or torn means
only that a prompt is priced as if nobody had read it before.

    file     64 bytes header (magic, the secret of the keys), then 65,536 slots of 32 bytes in buckets of four
    slot     key 8, deployment 8, when 4 (Unix time in tenths of a second), tokens 4, life 4, checksum 4

There are no locks. A slot is written by one copy of 32 bytes; two writers, or a reader at the same time, may still see
half of one and half of another. The checksum over the other 28 bytes tells, and such a slot counts as empty. Names of
deployments are kept as hashes and looked up among those that this worker knows.

How long a cache lives (their documentation, November 2026): Anthropic 5 minutes since its last use, OpenAI 5 to 10
minutes of inactivity, Gemini's implicit one a few minutes, DeepSeek hours to days on disk. An owned engine has its
cache in memory, so it ends with the engine's life, which the slot names.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from freehold.decide.decision import Ran
from freehold.dialects.conversation import Conversation, Document, Image, Part, Text, Usage
from freehold.tables import shared_table

SLOTS = 1 << 16
WAYS = 4
LIVES = {"own": 3600.0, "deepseek": 3600.0, "xai": 300.0, "gemini": 180.0, "vertex": 180.0}
"""Seconds since its last use that a prompt stays cached at a provider."""
LIFE = 300.0
LEAST = 1024
"""Tokens: providers cache no shorter prompts."""
MARKED = ("anthropic", "bedrock")
"""They cache what the client has marked and nothing else, so what was read and written there is all there is."""

SKEW = 60
"""Ticks that the time of an entry may be ahead of the reader's."""

SESSION = (b"x-freehold-session", b"session_id")
"""Headers by which clients name their conversation; the second is Codex's."""
_MAGIC = b"fhsess01"
_HEADER = 64
_SECRET = 32
"""Bytes."""
_SLOT = struct.Struct("<QQIIII")
_BODY = struct.Struct("<QQIII")
_SIZE = _HEADER + SLOTS * _SLOT.size
_MOST = 0xFFFFFFFF


def named(headers: Mapping[bytes, bytes]) -> bytes | None:
    """What the client calls its conversation."""
    return next((headers[name] for name in SESSION if name in headers), None)


class Sessions:
    """The table at `path`, made where it is not there. One per process."""

    def __init__(self, path: Path, *, life: Callable[[str], int] = lambda _: 0) -> None:
        """`life` tells the present life of an owned deployment's engine from all others, 0 for what has none. Raises
        OSError."""
        self._life = life
        self._names: dict[int, str] = {}
        self._hashes: dict[str, int] = {}
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._map = shared_table(descriptor, _SIZE, _MAGIC, os.urandom(_SECRET))
        finally:
            os.close(descriptor)
        self._secret = bytes(self._map[len(_MAGIC) : len(_MAGIC) + _SECRET])

    def close(self) -> None:
        self._map.close()

    def know(self, deployments: Iterable[str]) -> None:
        """From now on what ran at these is found, also where another worker wrote it down."""
        for name in deployments:
            self._hash(name)

    def look(self, session: int, now: float) -> Ran | None:
        """Returns where the conversation ran last and how many tokens of it are cached there; None: nobody knows.

        `session` is from `session_key`, `now` is Unix time in seconds.
        """
        if not session:
            return None
        key = self._key(session)
        start = _bucket(key)
        table = self._map
        for offset in range(start, start + WAYS * _SLOT.size, _SLOT.size):
            content = table[offset : offset + _SLOT.size]
            found, deployment, when, tokens, life, checksum = _SLOT.unpack(content)
            if found != key:
                continue
            name = self._names.get(deployment)
            if name is None or checksum != zlib.crc32(content[:28]):
                return None
            if not -SKEW <= _age(_tick(now), when) <= 10 * cached_for(name) or life != self._life(name) & _MOST:
                return None
            return Ran(name, tokens)
        return None

    def note(self, session: int, deployment: str, tokens: int, now: float) -> None:
        """Writes down that the conversation ran at `deployment`, which has `tokens` of it cached now."""
        if not session:
            return
        key, when = self._key(session), _tick(now)
        life = self._life(deployment) & _MOST
        body = _BODY.pack(key, self._hash(deployment), when, min(max(tokens, 0), _MOST), life)
        offset = self._place(key, when)
        self._map[offset : offset + _SLOT.size] = body + zlib.crc32(body).to_bytes(4, "little")

    def _key(self, session: int) -> int:
        """A client can work out its `session`, but without the file's secret not whose slots it could take."""
        digest = hashlib.blake2b(session.to_bytes(8, "little"), digest_size=8, key=self._secret)
        return int.from_bytes(digest.digest(), "little") or 1

    def _place(self, key: int, now: int) -> int:
        """The slot of `key` in its bucket, else an empty one, else the oldest."""
        start = _bucket(key)
        oldest, place = -1, start
        for offset in range(start, start + WAYS * _SLOT.size, _SLOT.size):
            found, _, when, _, _, _ = _SLOT.unpack_from(self._map, offset)
            if found == key:
                return offset
            age = _age(now, when) if found else _MOST + 1
            if age < -SKEW:
                age = _MOST  # the clock was set back since
            if age > oldest:
                oldest, place = age, offset
        return place

    def _hash(self, deployment: str) -> int:
        known = self._hashes.get(deployment)
        if known is None:
            if len(self._hashes) >= 10_000:
                self._hashes.clear()
                self._names.clear()
            digest = hashlib.blake2b(deployment.encode(), digest_size=8).digest()
            known = self._hashes[deployment] = int.from_bytes(digest, "little")
            self._names[known] = deployment
        return known


def cached_for(deployment: str) -> float:
    """Returns for how many seconds a prompt stays cached at a deployment after its last use."""
    return LIVES.get(deployment.partition("/")[0], LIFE)


def cached_next(provider: str, usage: Usage) -> int:
    """Returns how many tokens of the conversation's next prompt will be found in the cache.

    Who caches by itself has read the prompt and written the answer, both of which the next prompt begins with. Where
    clients mark what is to be cached, it is what was read from the cache and written to it.
    """
    marked = usage.cache_read + usage.cache_write_5m + usage.cache_write_1h
    if provider in MARKED:
        return marked
    whole = usage.uncached + marked + usage.output - usage.reasoning
    if provider == "own":
        return max(0, whole)
    return whole - whole % 128 if whole >= LEAST else 0


def session_key(principal: str, header: bytes | None, conversation: Conversation | None) -> int:
    """Returns what tells a conversation from others: what the client calls it, else what it begins with.

    The beginning is the instructions and the turns up to the user's first, of which the next request has the same. With
    an empty `header` and no conversation it is the principal alone; with neither, 0: there is nothing to tell by. Two
    principals never share a key.
    """
    if header is None and conversation is None:
        return 0
    digest = hashlib.blake2b(principal.encode(), digest_size=8)
    if header:
        digest.update(b"\0named\0" + header)
    elif conversation is not None:
        for part in conversation.system:
            digest.update(_said(part))
        for turn in conversation.turns:
            digest.update(b"\0" + turn.role.encode())
            for part in turn.parts:
                digest.update(_said(part))
            if turn.role == "user":
                break
    return int.from_bytes(digest.digest(), "little") or 1


def lot(session: int, name: str) -> float:
    """Returns a number from 0 to 1, the same each time for a session and a name, and as good as drawn by chance."""
    digest = hashlib.blake2b(b"%d\0%b" % (session, name.encode()), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2.0**64


def _said(part: Part) -> bytes:
    """What of a part stays the same from turn to turn: marks of what is to be cached move on."""
    if isinstance(part, Text):
        return b"\0t" + part.text.encode("utf-8", "surrogatepass")
    if isinstance(part, Image | Document):
        source = part.data or part.url or part.file_id or getattr(part, "text", None) or ""
        return b"\0f" + source.encode("utf-8", "surrogatepass")
    return b"\0" + type(part).__name__.encode()


def _bucket(key: int) -> int:
    return _HEADER + key % (SLOTS // WAYS) * WAYS * _SLOT.size


def _tick(unix: float) -> int:
    """Tenths of a second, which come round after 13 years."""
    return int(unix * 10) & _MOST


def _age(now: int, when: int) -> int:
    """Ticks from `when` to `now`; negative where the clock was set back, or another's is ahead."""
    age = (now - when) & _MOST
    return age if age <= _MOST >> 1 else age - _MOST - 1

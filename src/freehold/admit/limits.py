"""Request and token limits per key, exact across all workers of a host, without a database.

Each limit is a generic cell rate algorithm (GCRA; ITU-T I.371): one number per key and kind, the theoretical arrival
time `tat`. A unit takes `60 / limit` seconds; a request of `n` units is let in when `tat` would not run more than 60
seconds ahead of now. So a fresh key may spend a whole minute's allowance at once and refills steadily; a minute's
allowance can never be spent twice at once by hitting two workers, because the numbers lie in one memory-mapped file
and each update holds a lock on its slot. The kernel drops the lock of a killed process.

Tokens are held before the call (the worst case) and settled after it: the difference moves `tat` back or, when the
answer was longer than expected, forward, so that the next request pays. See design/0003-limits.md for why this is not
a lease from the store.

File: 16 bytes header (magic, boot id hash), then slots of 32 bytes: 16 bytes name digest, two little-endian doubles.
Times are CLOCK_MONOTONIC, shared by all processes; after a reboot the file starts afresh.
"""

import fcntl
import hashlib
import os
import struct
import time
from pathlib import Path

from freehold.admit.keys import Principal
from freehold.errors import RateLimited
from freehold.tables import shared_table, this_boot

WINDOW = 60.0
SLOTS = 4096
_SLOT = struct.Struct("<16sdd")
_TIMES = struct.Struct("<dd")
_TIME = struct.Struct("<d")
_HEADER = 16
_SIZE = _HEADER + SLOTS * _SLOT.size
_MAGIC = b"fhlimit1"
_AHEAD = WINDOW + 1e-9
"""How far a clock may run ahead, with what floating-point sums may be off by."""


class Hold:
    """What one request has taken from its key's token allowance; `settle` must follow, once."""

    __slots__ = ("_limits", "_offset", "_unit", "tokens")

    def __init__(self, limits: "Limits", offset: int, unit: float, tokens: int) -> None:
        self._limits = limits
        self._offset = offset
        self._unit = unit
        self.tokens = tokens

    def settle(self, used: int) -> None:
        """Replaces the held tokens by those really used. Calling it again changes nothing."""
        difference = used - self.tokens
        self.tokens = used
        if difference:
            self._limits.move(self._offset, difference * self._unit)


class Limits:
    """The shared table. One per process; the file is common to all workers of a host."""

    def __init__(self, path: Path, *, alone: bool = False) -> None:
        """`alone`: no other process uses the file, as in a gateway of one worker; its four system calls are saved."""
        self._alone = alone
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._offsets: dict[str, int] = {}
        self._map = shared_table(self._descriptor, _SIZE, _MAGIC + this_boot())

    def close(self) -> None:
        self._map.close()
        os.close(self._descriptor)

    def take(self, principal: Principal, tokens: int) -> Hold | None:
        """Lets one request of `tokens` (worst case) in, both limits or neither; None when the key has no limit.

        Raises RateLimited with the seconds after which the same request would be let in.
        """
        requests, allowance = principal.requests_per_minute, principal.tokens_per_minute
        if requests is None and allowance is None:
            return None
        if allowance is not None and tokens > allowance:
            raise RateLimited(
                f"this request may take {tokens} tokens, the key {principal.name!r} has {allowance} a minute",
                hint="lower max_tokens or shorten the prompt; waiting cannot help",
                code="tokens_over_limit",
                retry="no",
            )
        offset = self._offsets.get(principal.name)
        if offset is None:
            offset = self._offsets[principal.name] = self._slot(principal.name)
        if not self._alone:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 16, offset)
        try:
            now = time.monotonic()
            request_time, token_time = _TIMES.unpack_from(self._map, offset)
            if requests is not None:
                request_time = (request_time if request_time > now else now) + WINDOW / requests
                if request_time - now > _AHEAD:
                    raise _refused(principal, "requests", requests, request_time - now - WINDOW)
            if allowance is not None:
                token_time = (token_time if token_time > now else now) + tokens * WINDOW / allowance
                if token_time - now > _AHEAD:
                    raise _refused(principal, "tokens", allowance, token_time - now - WINDOW)
            _TIMES.pack_into(self._map, offset, request_time, token_time)
        finally:
            if not self._alone:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 16, offset)
        return Hold(self, offset, WINDOW / allowance, tokens) if allowance is not None else None

    def move(self, offset: int, seconds: float) -> None:
        """Moves the token clock of a slot: the second half of a hold."""
        if not self._alone:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 16, offset)
        try:
            clock = _TIME.unpack_from(self._map, offset + 8)[0]
            _TIME.pack_into(self._map, offset + 8, clock + seconds)
        finally:
            if not self._alone:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 16, offset)

    def _slot(self, name: str) -> int:
        """Returns the offset of the two clocks of `name`, taking a free slot for a new name."""
        identity = hashlib.sha256(name.encode()).digest()[:16]
        start = int.from_bytes(identity[:4], "little") % SLOTS
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, _HEADER, 0)
        try:
            for step in range(SLOTS):
                offset = _HEADER + (start + step) % SLOTS * _SLOT.size
                found = self._map[offset : offset + 16]
                if found == identity:
                    return offset + 16
                if found == bytes(16):
                    self._map[offset : offset + 16] = identity
                    return offset + 16
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, _HEADER, 0)
        raise RateLimited(
            f"the limit table holds {SLOTS} keys and is full", hint="remove run/limits and restart", retry="no"
        )


def _refused(principal: Principal, kind: str, limit: int, over: float) -> RateLimited:
    return RateLimited(
        f"the key {principal.name!r} is over its limit of {limit} {kind} a minute",
        hint=f"try again in {over:.1f} s",
        code=f"{kind}_per_minute",
        retry_after=over,
    )

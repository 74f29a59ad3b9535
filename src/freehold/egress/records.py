"""What the egress process writes down of itself: one line of JSON for each thing that it does, in the files of its run
(pieces.py).

    {"kind":"run", ...}      the process has begun: its user, the connections' limits
    {"kind":"open", ...}     a connection is opened, or tried: host, address, port; written before the first packet
    {"kind":"sent", ...}     a request goes out: written before its first byte does
    {"kind":"back", ...}     its answer has ended, in whatever way
    {"kind":"refused", ...}  a request that was not sent, and why
    {"kind":"own", ...}      the process asked something for itself: a token
    {"kind":"fetched", ...}  what a URL points at was fetched

A line holds names and sizes, never a word of what was said. `ticket` is the SHA-256 of the signed ticket, whose nonce
nobody can guess, so it says nothing of the body that the ticket holds a digest of. `freehold audit reconcile` compares
the lines with the receipts, which the workers wrote, and with the kernel's counters, which nobody here wrote
(reconcile.py).
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from freehold.call.transport import Origin

FOLDER: Final = "egress"
SUFFIX: Final = ".jsonl"
MAX_LINE: Final = 64 * 1024


class Began(Struct, tag_field="kind", tag="run", omit_defaults=True):
    at: int
    """Unix time in nanoseconds, as in all kinds."""
    pid: int
    user: int
    policy: str
    """Version of the configuration."""


class Opened(Struct, tag_field="kind", tag="open", omit_defaults=True):
    at: int
    host: str
    address: str
    port: int
    tls: bool = False


class Sent(Struct, tag_field="kind", tag="sent", omit_defaults=True):
    at: int
    number: int
    """Of this process, from 1."""
    call: str
    provider: str
    host: str
    out: int
    """Bytes of the body."""
    head: int
    """Bytes of request line and header lines."""
    ticket: str
    label: str = ""
    policy: str = ""
    deployment: str = ""


class Back(Struct, tag_field="kind", tag="back", omit_defaults=True):
    at: int
    number: int
    back: int
    """Bytes that came, head and framing included."""
    status: int = 0
    whole: bool = False
    """The answer came to its end."""


class RefusedLine(Struct, tag_field="kind", tag="refused", omit_defaults=True):
    at: int
    code: str
    why: str
    call: str = ""
    provider: str = ""
    host: str = ""
    ticket: str = ""


class Own(Struct, tag_field="kind", tag="own", omit_defaults=True):
    at: int
    what: str
    host: str
    out: int


class Fetched(Struct, tag_field="kind", tag="fetched", omit_defaults=True):
    at: int
    call: str
    host: str
    out: int
    """Bytes of the URL."""
    ticket: str
    label: str = ""


Line = Began | Opened | Sent | Back | RefusedLine | Own | Fetched

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODER: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)


class Records:
    """The writing end. `descriptor` was opened for appending by whoever may write there, which this process need not.
    A line that cannot be written is an OSError: then nothing may go out."""

    def __init__(self, descriptor: int, clock: Callable[[], int] = time.time_ns) -> None:
        self._descriptor = descriptor
        self.now = clock
        self.number = 0
        self._kept: list[bytes] = []

    def write(self, line: Line) -> None:
        """Writes a line, and those kept before it. Raises OSError: then it is not there, and will not be."""
        self._kept.append(_ENCODE(line))
        try:
            self.flush()
        except OSError:
            self._kept.pop()
            raise

    def keep(self, line: Line) -> None:
        """A line that may wait: what has happened already, and cost nothing to be forgotten."""
        self._kept.append(_ENCODE(line))
        if len(self._kept) > 200:
            self.flush()

    def opened(self, origin: Origin, address: str, port: int) -> None:
        """Writes down a connection, before it is tried: the kernel counts one that comes to nothing, too."""
        self.write(Opened(self.now(), origin.authority, address, port, origin.tls))

    def flush(self) -> None:
        if not self._kept:
            return
        data = b"\n".join((*self._kept, b""))
        written = os.write(self._descriptor, data)
        if written != len(data):
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError(errno.ENOSPC, f"{written} of {len(data)} bytes were written")
        self._kept.clear()

    def go_on(self, descriptor: int) -> None:
        """Writes what was kept, and from now on to another file. Raises OSError, and then stays with the one it has."""
        self.flush()
        os.close(self._descriptor)
        self._descriptor = descriptor


def lines(path: Path) -> Iterator[Line | None]:
    """Returns the lines of a file, None for one that holds none. A last line without its end is left out.
    Raises OSError."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            if not line.endswith(b"\n") and len(line) < MAX_LINE:
                return
            try:
                yield _DECODER.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                yield None

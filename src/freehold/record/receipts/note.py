"""A tree head, signed: how many lines the log had, their root, when, and after which head.

The form is the one that transparency logs share, a signed note (https://c2sp.org/signed-note) whose text is a
checkpoint (https://c2sp.org/tlog-checkpoint), so that other tools and witnesses can read and countersign it:

    freehold-3f9c...                          name of the log
    20852163                                  lines
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2...=      root, base64
    at 2026-11-21T19:24:00Z                   our extension lines: time of signing,
    previous bUk3...=                         SHA-256 of the whole note before this one, empty in the first,
    key freehold-3f9c...+1a2b3c4d+AbCd...=    and the key that signs, so that a head kept elsewhere brings it along

    — freehold-3f9c... Az3grlgtzPICa5OS...=

Each head covers the one before it, so the newest signature covers them all.
"""

import base64
import binascii
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from msgspec import Struct

from freehold.errors import BadRequest
from freehold.record.receipts.keys import Signer, Verifier
from freehold.record.receipts.merkle import HASH_BYTES

MAX_NOTE: Final = 16 * 1024
_DASH: Final = "\N{EM DASH} "


class Head(Struct, frozen=True):
    """`at`: Unix seconds. `previous`: digest of the head before, empty for the first."""

    log: str
    size: int
    root: bytes
    at: int
    previous: bytes
    key: Verifier

    def text(self) -> str:
        when = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f"{self.log}\n{self.size}\n{_b64(self.root)}\nat {when}\nprevious {_b64(self.previous)}\nkey {self.key}\n"
        )


def signed(head: Head, signer: Signer) -> str:
    """Returns the note."""
    text = head.text()
    line = _b64(signer.verifier.id + signer.sign(text.encode()))
    return f"{text}\n{_DASH}{signer.verifier.name} {line}\n"


def digest(note: str) -> bytes:
    """What the next head says of this note."""
    return sha256(note.encode()).digest()


def parse(note: str) -> Head:
    """Returns what a note says, without looking at its signatures. Raises BadRequest for what is no head of ours."""
    text, _, _ = note.partition("\n\n")
    lines = text.split("\n")
    try:
        if len(note) > MAX_NOTE or len(lines) != 6:
            raise ValueError
        log, size, root = lines[:3]
        at, previous, key = (
            _after(line, word) for line, word in zip(lines[3:], ("at", "previous", "key"), strict=True)
        )
        moment = datetime.strptime(at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        head = Head(log, int(size), _unb64(root), int(moment.timestamp()), _unb64(previous), Verifier.parse(key))
        if head.text() != text + "\n" or head.size < 0:
            raise ValueError
        if len(head.root) != HASH_BYTES or len(head.previous) not in (0, HASH_BYTES):
            raise ValueError
    except (ValueError, BadRequest):
        raise BadRequest(
            "this is no signed head of a log of receipts", code="audit_head", hint="freehold audit anchor prints one"
        ) from None
    return head


def is_signed(note: str, verifier: Verifier) -> bool:
    """Whether a signature of `verifier` is on the note. Signatures of others do not matter."""
    text, parted, signatures = note.partition("\n\n")
    if not parted or not signatures.endswith("\n"):
        return False
    for line in signatures.removesuffix("\n").split("\n"):
        name, _, value = line.removeprefix(_DASH).rpartition(" ")
        if not line.startswith(_DASH) or name != verifier.name:
            continue
        try:
            decoded = _unb64(value)
        except ValueError:
            continue
        if decoded[:4] == verifier.id and verifier.verifies(text.encode() + b"\n", decoded[4:]):
            return True
    return False


def _after(line: str, word: str) -> str:
    found, parted, rest = line.partition(" ")
    if found != word or not parted:
        raise ValueError
    return rest


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    """Raises ValueError for all but one spelling of the bytes: unused bits at the end could be changed unseen."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError from error
    if _b64(data) != text:
        raise ValueError("not the only spelling of these bytes")
    return data

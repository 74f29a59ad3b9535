"""One receipt, proved on its own: the line, the way from it up to a signed root, and the head with that root.

Whoever holds such a proof and trusts the head's key (or finds the same head among those kept elsewhere) needs nothing
else: not the log, not this machine. It says nothing of other calls.
"""

import base64
import binascii
from typing import Final

import msgspec
from msgspec import Struct

from freehold.errors import BadRequest, NotFound
from freehold.record.receipts import note
from freehold.record.receipts.keys import Verifier
from freehold.record.receipts.leaf import Call, decode
from freehold.record.receipts.merkle import Gatherer, inclusion_spans, leaf_hash, verify_inclusion
from freehold.record.receipts.source import Source, lines, notes

MAX_PROOF: Final = 1 << 20


class Proof(Struct, forbid_unknown_fields=True):
    """What `freehold audit prove` writes, as JSON. `path`: hashes from the leaf up, base64."""

    line: str
    index: int
    path: list[str]
    head: str


class Proven(Struct):
    """What a proof shows. `trusted`: a key was given, and it is the one that signed."""

    receipt: Call
    index: int
    log: str
    size: int
    at: int
    key: str
    trusted: bool


def newest_head(source: Source) -> tuple[note.Head, str]:
    """Returns the newest head of a log, as it is meant and as it is written. Raises NotFound."""
    found = None
    for text in notes(source.heads):
        found = text
    try:
        return note.parse(found or ""), found or ""
    except BadRequest:
        raise NotFound(
            f"{source.name} has no signed head", code="no_receipts", hint="freehold audit verify says what is wrong"
        ) from None


def prove(source: Source, call: str) -> Proof:
    """Returns the proof of a call's receipt. Reads the log twice. Raises NotFound, BadRequest."""
    head, text = newest_head(source)
    index, line = _find(source, call)
    if index >= head.size:
        raise NotFound(
            f"the receipt of {call} is not under a signed head yet", code="unsigned", hint="try again in a minute"
        )
    gathering = Gatherer(inclusion_spans(index, head.size))
    for number, hashed in enumerate(leaf_hash(one.removesuffix(b"\n")) for part in source.parts for one in lines(part)):
        if number == head.size:
            break
        gathering.add(hashed)
    try:
        path = gathering.proof()
    except ValueError as error:
        raise BadRequest(
            f"{source.name} cannot prove anything: {error}", code="broken_log", hint="freehold audit verify"
        ) from error
    proof = Proof(line.decode(), index, [base64.b64encode(one).decode() for one in path], text)
    if not verify_inclusion(leaf_hash(line), index, head.size, path, head.root):
        raise BadRequest(
            f"{source.name} cannot prove anything: its lines are not those that were signed",
            code="broken_log",
            hint="freehold audit verify",
        )
    return proof


def check(text: bytes, key: Verifier | None = None) -> Proven:
    """Returns what a proof shows. Raises BadRequest where it shows nothing, or `key` did not sign its head."""
    try:
        proof = msgspec.json.decode(text, type=Proof)
        path = [base64.b64decode(one, validate=True) for one in proof.path]
        leaf = decode(proof.line.encode())
    except (ValueError, binascii.Error):
        raise _no_proof("it cannot be read") from None
    if not isinstance(leaf, Call):
        raise _no_proof("its line is no receipt")
    head = note.parse(proof.head)
    if not note.is_signed(proof.head, key or head.key):
        raise _no_proof(f"its head is not signed by {key or head.key}")
    if leaf.n != proof.index or not verify_inclusion(
        leaf_hash(proof.line.encode()), proof.index, head.size, path, head.root
    ):
        raise _no_proof("its line is not in the tree of its head")
    return Proven(leaf, proof.index, head.log, head.size, head.at, str(head.key), key is not None)


def _find(source: Source, call: str) -> tuple[int, bytes]:
    """Returns the number and the line of a call's receipt."""
    sought = msgspec.json.encode(call)
    number = 0
    for part in source.parts:
        for line in lines(part):
            if sought in line:
                whole = line.removesuffix(b"\n")
                try:
                    leaf = decode(whole)
                except ValueError:
                    leaf = None
                if isinstance(leaf, Call) and leaf.call == call:
                    return number, whole
            number += 1
    raise NotFound(
        f"there is no receipt of a call {call!r}",
        code="no_receipt",
        hint="a call's id is the request's id (header x-request-id) with -1, -2, ... for its attempts; a call "
        "that still runs has none yet",
    )


def _no_proof(why: str) -> BadRequest:
    return BadRequest(f"this proves nothing: {why}", code="audit_proof", hint="freehold audit prove CALL_ID makes one")

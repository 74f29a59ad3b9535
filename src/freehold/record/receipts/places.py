"""Where the log of receipts lies, and what its files are called.

receipts/log-000000000000.jsonl   the lines; a file's name is the number of its first line, and no line is in two
receipts/heads.jsonl              the signed heads, oldest first, each a JSON string (note.py)
receipts/frontier.json            the tree at the newest head: a cache, believed only where its root is the head's
receipts/signing.key              the secret key, unless FREEHOLD_AUDIT_KEY_FILE names another place
receipts/body.key                 the key of body digests: workers read it, nothing exports it
receipts/lock                     held by the one writer
heads.jsonl                       the second place of the heads, unless FREEHOLD_AUDIT_HEADS names another
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from freehold.record.receipts.keys import secret
from freehold.record.receipts.sent import KEY_BYTES, BodyHash

SECOND: Final = "FREEHOLD_AUDIT_HEADS"
HEADS: Final = "heads.jsonl"
_NAME: Final = re.compile(r"log-(\d{12,})\.jsonl")


def folder_in(home: Path) -> Path:
    return home / "receipts"


def second_heads(home: Path, env: Mapping[str, str]) -> Path:
    """Returns the second place of the heads, which had better be on another disk, or another machine's."""
    named = env.get(SECOND)
    return Path(named).expanduser() if named else home / HEADS


def body_hash(folder: Path) -> BodyHash:
    """Returns what makes digests of bodies, with a key made at first use. Raises InternalError, OSError."""
    return BodyHash(secret(folder / "body.key", KEY_BYTES))


def file_name(first: int) -> str:
    return f"log-{first:012d}.jsonl"


def first_line(name: str) -> int | None:
    """Returns the number of a file's first line; None where the name is not one of the log's."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def parts(folder: Path) -> list[tuple[int, Path]]:
    """Returns the log's files with the numbers of their first lines, in order. An absent folder has none."""
    try:
        found = [(first, path) for path in folder.iterdir() if (first := first_line(path.name)) is not None]
    except FileNotFoundError:
        return []
    return sorted(found)

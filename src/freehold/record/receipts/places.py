"""Where the log of receipts lies, and what its files are called.

receipts/log-000000000000.jsonl   the lines; a file's name is the number of its first line, and no line is in two
receipts/heads.jsonl              the signed heads, oldest first, each a JSON string (note.py)
receipts/frontier.json            the tree at the newest head: a cache, believed only where its root is the head's
receipts/signing.key              the secret key, unless FREEHOLD_AUDIT_KEY_FILE names another place
receipts/body.key                 the key of body digests: workers read it, nothing exports it
receipts/lock                     held by the one writer
receipts/places.json              what the two variables named, for commands that are run without them
heads.jsonl                       the second place of the heads, unless FREEHOLD_AUDIT_HEADS names another
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from freehold.errors import InternalError
from freehold.home import write_private
from freehold.record.receipts.keys import VARIABLE, secret
from freehold.record.receipts.sent import KEY_BYTES, BodyHash

SECOND: Final = "FREEHOLD_AUDIT_HEADS"
HEADS: Final = "heads.jsonl"
_NAME: Final = re.compile(r"log-(\d{12,})\.jsonl")


class _Named(Struct, omit_defaults=True):
    """places.json; empty: the usual place."""

    key: str = ""
    heads: str = ""


class Places:
    """Where the parts of one state folder's log lie. The environment decides, then what it said when the log was last
    written, then the usual places. Raises InternalError for a places.json that is none."""

    def __init__(self, home: Path, env: Mapping[str, str]) -> None:
        self.folder = home / "receipts"
        self._home = home
        self._known = self._read()
        self._named = _Named(
            _absolute(env.get(VARIABLE)) or self._known.key, _absolute(env.get(SECOND)) or self._known.heads
        )

    @property
    def second(self) -> Path:
        """The second place of the heads, which had better be on another disk, or another machine's."""
        return Path(self._named.heads) if self._named.heads else self._home / HEADS

    @property
    def key(self) -> Path:
        return Path(self._named.key) if self._named.key else self.folder / "signing.key"

    def secret(self) -> bytes:
        """Returns the secret key, made at first use. Raises InternalError where it lay elsewhere and is not there now:
        a new one would be taken for it. Raises OSError."""
        if self._known.key and not self.key.exists():
            raise InternalError(
                f"the key that signs the receipts is not in {self.key}",
                code="audit_key",
                hint=f"bring it back, or name its place with {VARIABLE}",
            )
        return secret(self.key)

    def remember(self) -> None:
        """For commands that are run without the variables. Raises OSError."""
        if self._named != self._known:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self.folder / "places.json", msgspec.json.encode(self._named))
            self._known = self._named

    def _read(self) -> _Named:
        path = self.folder / "places.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Named)
        except FileNotFoundError:
            return _Named()
        except msgspec.MsgspecError as error:
            hint = f"remove it, and set {VARIABLE} and {SECOND}"
            raise InternalError(f"{path} cannot be read: {error}", code="audit_places", hint=hint) from error


def _absolute(path: str | None) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""


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

"""What a value says of itself: whether it only stands for one, is a word, or holds a user and a password."""

import base64
import binascii
import re

from freehold.check.detect.keys import placeholder

_STANDS_FOR = re.compile(
    r"[\[<{$%*(]|\.\.\.|x{3}|\*{2}|os\.|env\b|process\.|self\.|this\.|config\.|settings\.|arn:|AWS::", re.I
)
_WORDS = re.compile(r"[A-Za-z]+(?:[_.\-/ :][A-Za-z]+)*\d{0,1}")
_TURNS = re.compile(r"[a-z][A-Z]|[A-Z][a-z]")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NAME = re.compile(r"[A-Za-z_][\w.]*")


def stands_for(value: str) -> bool:
    """Whether a value is a variable, a template, a name of something or a place for one."""
    return _STANDS_FOR.match(value) is not None or placeholder(value) or len(set(value)) < 3


def wordlike(value: str) -> bool:
    """Whether a value is made of words, at most one digit after them, and not of letters in an odd mixture of cases."""
    return _WORDS.fullmatch(value) is not None and not mixed(value)


def mixed(value: str) -> bool:
    """Whether the case of letters changes more often than in words written together (`myDatabasePassword`)."""
    return len(value) >= 8 and len(_TURNS.findall(value)) >= 0.25 * len(value)


def identifier(value: str) -> bool:
    """Whether a value is a name as programs have them: `OAuth2TokenEndpointAuthMethod`, `mlkem.MLKEM768PrivateKey`."""
    parts = [len(part) for part in _PARTS.findall(value) if len(part) > 1]
    digits = len(re.findall(r"\d+", value))
    return _NAME.fullmatch(value) is not None and digits <= 3 and sum(parts) >= max(0.4 * len(value), 3.6 * len(parts))


def basic(text: str) -> float | None:
    """The check of what stands in base64 for `user:password` (RFC 7617)."""
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return 0.9 if b":" in decoded[1:-1] and decoded.isascii() and decoded.decode().isprintable() else None

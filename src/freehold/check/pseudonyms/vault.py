"""Which value has which placeholder, for the time of one request. It is never logged, and wiped when the answer is out.

The same value has the same placeholder throughout a conversation, so that a provider's prompt cache still recognises
what it has seen, with nothing kept between requests: the secret is made of the gateway's own, the tenant and the first
thing the user said, and the placeholder of that secret and the value. Another tenant's secret is another, so nobody
can link two tenants' data by their placeholders, nor try out values without the gateway's secret (RFC 2104: HMAC).
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable

from freehold.check.pseudonyms.placeholders import (
    ALPHABET,
    LENGTH,
    SAME,
    Codes,
    codes_like,
    normal,
    without_like,
    written,
)
from freehold.dialects.conversation import Conversation, Document, Text, ToolResult

_PERSON = b"freehold.pseud"


def conversation_secret(master: bytes, tenant: str, conversation: Conversation) -> bytes:
    """Returns 32 bytes that are the same for all turns of a conversation and differ between tenants.

    `master` is the gateway's secret, 16 to 64 bytes. What counts of the conversation is its first user turn, which
    every later request of it repeats.
    """
    digest = hashlib.blake2b(key=master, digest_size=32, person=_PERSON)
    digest.update(len(tenant.encode()).to_bytes(8, "big") + tenant.encode())
    for turn in conversation.turns:
        if turn.role == "user":
            for part in turn.parts:
                if isinstance(part, Text | Document):
                    digest.update((part.text or "").encode("utf-8", "surrogatepass") + b"\0")
                elif isinstance(part, ToolResult):
                    digest.update(part.id.encode("utf-8", "surrogatepass") + b"\0")
            break
    return digest.digest()


class Vault:
    """`hide` gives a value its placeholder, `value` gives it back. Its representation shows neither."""

    __slots__ = ("_avoid", "_by_code", "_by_value", "_came", "_codes", "_secret")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._by_value: dict[str, str] = {}
        self._by_code: dict[str, str] = {}
        self._codes: Codes | None = None
        self._avoid = ""
        self._came: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self._by_value)

    def __repr__(self) -> str:
        return f"<Vault of {len(self)}>"

    def avoid(self, text: str) -> None:
        """Makes sure that no placeholder given from now on stands in `text` already. To be called before any is.

        One that stands there with its tag is of an earlier turn: it was not restored, as in the arguments of most
        tools, and came back with the history. Nobody else can make one, and it must stay the same.
        """
        self._avoid = without_like(text).upper()
        self._came = frozenset(codes_like(text))

    def hide(self, kind: str, value: str) -> str:
        """Returns the placeholder of a value; `kind` is the type of finding it was first found as."""
        known = self._by_value.get(value)
        if known is None:
            code = self._code(value)
            known = self._by_value[value] = written(kind, code)
            self._by_code[code] = value
            self._codes = None
        return known

    def value(self, code: str) -> str | None:
        return self._by_code.get(code)

    def came(self, code: str) -> bool:
        """Whether a placeholder of this code stood in what was asked: an answer that repeats it has not made it up."""
        return code in self._came

    def fingerprint(self, values: Iterable[str]) -> str:
        """Returns eight characters that these values, in this order, have in this conversation and nowhere else."""
        digest = hmac.new(self._secret, b"order\0", "sha256")
        for value in values:
            raw = value.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(4, "big") + raw)
        return base64.urlsafe_b64encode(digest.digest()[:6]).decode()

    @property
    def values(self) -> list[str]:
        return list(self._by_value)

    @property
    def codes(self) -> Codes:
        """Finds the placeholders of this vault."""
        if self._codes is None:
            self._codes = Codes(self._by_code)
        return self._codes

    def wipe(self) -> None:
        """Forgets everything. Placeholders of an answer that still comes stay placeholders."""
        self._by_value.clear()
        self._by_code.clear()
        self._codes = None
        self._avoid = ""
        self._came = frozenset()
        self._secret = b""

    def _code(self, value: str) -> str:
        for attempt in range(1000):
            salt = b"" if not attempt else str(attempt).encode()
            code = self._digits(b"value" + salt, normal(value), SAME) + self._digits(
                b"form" + salt, value, LENGTH - SAME
            )
            if code not in self._by_code and code not in self._avoid:
                return code
        raise RuntimeError("no placeholder is free")

    def _digits(self, purpose: bytes, text: str, count: int) -> str:
        message = purpose + b"\0" + text.encode("utf-8", "surrogatepass")
        number = int.from_bytes(hmac.digest(self._secret, message, "sha256")[:16], "big")
        digits = []
        for _ in range(count):
            number, digit = divmod(number, len(ALPHABET))
            digits.append(ALPHABET[digit])
        return "".join(digits)

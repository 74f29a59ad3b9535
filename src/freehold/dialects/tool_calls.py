"""Tool calls across dialects: ids made where a provider has none, renamed where a target forbids them; arguments.

Everything here is deterministic and needs no memory, so that a client's replay of the conversation meets the same ids
and prompt caches still hit:

- Gemini signs its function calls (`thoughtSignature`) and wants the signature back, but the chat and messages dialects
  have no field for it. `with_signature` puts it into the id the client must return anyway: `call_X__sig_sBASE64URL`.
  A signature over `SIGNATURE_LIMIT` characters is left out; the Gemini writer then sends Google's documented dummy.
- Anthropic allows `[a-zA-Z0-9_-]` only. `anthropic_id` leaves a good id alone and encodes any other reversibly.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BinasciiError
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Raw

from freehold.dialects.conversation import Losses
from freehold.dialects.wire import MALFORMED, one_line

SIGNATURE_LIMIT = 4096
"""Characters of a signature an id may carry: of 161 recorded ones 90 % are shorter, a few run to 60,000."""

_MARK = "__sig_"
_ENCODED = "fh64_"
_ANTHROPIC = re.compile(r"[a-zA-Z0-9_-]+")
_TO_URL = str.maketrans("+/", "-_")
_FROM_URL = str.maketrans("-_", "+/")
_ARGUMENTS = msgspec.json.Decoder(dict[str, Raw])
_STANDARD = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def generated_id(response: str, number: int, content: str = "") -> str:
    """An id for the call `number` of the answer `response`; `content` tells answers without an id apart."""
    digest = blake2b(f"{response}\0{content}".encode("utf-8", "surrogatepass"), digest_size=9).digest()
    return f"call_{_encode(digest)}_{number}"


def with_signature(base: str, signature: str | None) -> str:
    """`base` carrying `signature`, or `base` alone where there is none or it is too long."""
    if not signature or len(signature) > SIGNATURE_LIMIT:
        return base
    if _STANDARD.fullmatch(signature):
        return f"{base}{_MARK}s{signature.rstrip('=').translate(_TO_URL)}"
    return f"{base}{_MARK}u{_encode(signature.encode('utf-8', 'surrogatepass'))}"


def split_signature(tool_id: str) -> tuple[str, str | None]:
    """The inverse of `with_signature`: base and signature; an id we did not make comes back whole."""
    base, mark, tail = tool_id.rpartition(_MARK)
    if not mark or not tail:
        return tool_id, None
    if tail[0] == "s":
        text = tail[1:].translate(_FROM_URL)
        text += "=" * (-len(text) % 4)
        return (base, text) if text and _STANDARD.fullmatch(text) else (tool_id, None)
    if tail[0] == "u" and (decoded := _decode(tail[1:])):
        return base, decoded
    return tool_id, None


def anthropic_id(tool_id: str) -> str:
    """`tool_id` in Anthropic's alphabet; `original_id` undoes it."""
    if _ANTHROPIC.fullmatch(tool_id) and not tool_id.startswith(_ENCODED):
        return tool_id
    return _ENCODED + _encode(tool_id.encode("utf-8", "surrogatepass"))


def original_id(tool_id: str) -> str:
    """The id that `anthropic_id` was given."""
    if tool_id.startswith(_ENCODED) and (decoded := _decode(tool_id[len(_ENCODED) :])) is not None:
        return decoded
    return tool_id


def json_object(arguments: str, where: str, losses: Losses) -> Any:
    """Arguments as the JSON object Anthropic and Gemini demand; text that is none is wrapped in one and reported.

    It stands on one line: models indent their arguments, and what they become a part of may be a line of a stream.
    """
    if arguments == "{}":
        return {}
    try:
        _ARGUMENTS.decode(arguments)
    except MALFORMED:
        if not arguments.strip():
            return {}
        losses.append(f"{where}.arguments")
        return {"arguments": arguments}
    return Raw(one_line(arguments.encode()))


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(text: str) -> str | None:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "surrogatepass")
    except (BinasciiError, ValueError):
        return None

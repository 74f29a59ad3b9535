"""Ids of responses and their items, always the same for the same answer.

An answer's own id is kept where it is of this dialect (`resp_...`); that of another provider gets the prefix, and one
that could not stand in a URL is replaced by its hash. Items without an id get one from the response's id and their
place. Nothing is remembered: a client's replay meets the same ids, so prompt caches still hit.
"""

import re
from hashlib import blake2b

from freehold.dialects.tool_calls import split_signature

CALL_ID_MAX = 64
"""OpenAI's limit on ids in the input, in characters."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,59}")


def response_id(identity: str) -> str:
    """`resp_...` for the id of an answer; an empty one stays empty."""
    if not identity or identity.startswith("resp_"):
        return identity
    return f"resp_{identity}" if _PLAIN.fullmatch(identity) else f"resp_{_digest(identity)}"


def item_id(prefix: str, response: str, index: int) -> str:
    """The id of item `index` of `response`: `msg_`, `rs_`, `fc_`, `ctc_`, `ig_` and 48 hexadecimal digits."""
    return f"{prefix}_{_digest(f'{response}/{index}')}"


def provider_call_id(identity: str) -> str:
    """A call id as OpenAI accepts it, the same for the same id, so that call and output still fit."""
    identity = split_signature(identity)[0]
    return identity if len(identity) <= CALL_ID_MAX else f"call_{_digest(identity)}"


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=24).hexdigest()

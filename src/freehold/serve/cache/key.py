"""When two requests are the same, and which requests have nothing to do with the cache.

The key of a request is a keyed digest of everything that could make its answer another one:

    whose        the tenant (a key, or the group of keys that share) and the label: the partition
    how          the client's dialect, for embeddings the path too, and headers that are passed on to a provider
    what for     the name asked for, the rules of that name in freehold.yaml, what the key and the headers say of who
                 may answer, and whether a loss is an error
    what         the body as decoded JSON with sorted keys, as the client sent it: before anything was redacted

Left out of the body is what changes nothing in an answer, or only its form: `stream` and `stream_options` (a kept
answer is rendered either way), `user`, `metadata`, `safety_identifier` (who is blamed for abuse), `prompt_cache_key`
and `prompt_cache_retention` (the provider's prompt cache), `store` (what is stored has nothing to do with us: see
`excluded`), `keep_alive` (Ollama: how long weights stay loaded). `service_tier` stays: it is repeated in the answer.

JSON with a key twice means one thing to us and perhaps another to the provider, so no answer to it is kept.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from freehold.admit.keys import Principal
from freehold.call.operation import Operation
from freehold.call.operations_text import Embed
from freehold.call.talk import Talk
from freehold.decide.policy import HEADERS
from freehold.dialects.conversation import Audio, Conversation, Document, Image, Part, ToolResult
from freehold.errors import FreeholdError
from freehold.serve.endpoints import Endpoint
from freehold.serve.exchange import Exchange

ASKED: Final = b"x-freehold-cache"
"""The header of a request; that of an answer has the same name."""
KEY_BYTES: Final = 32
_IDLE: Final = (
    "stream", "stream_options", "user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "store", "keep_alive",
)  # fmt: skip
_FORWARDED: Final = (b"anthropic-beta", b"anthropic-version")
_STATED: Final = (*sorted(HEADERS), *_FORWARDED)
_LASTING: Final = frozenset({"background", "conversation", "prompt", "previous_response_id"})
_SORTED: Final = msgspec.json.Encoder(order="sorted")
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


class Key(msgspec.Struct, frozen=True):
    """`digest` names the request; `head` all of it but the body, and `body` is what was digested of that."""

    digest: bytes
    head: bytes
    body: Mapping[str, Any]


def key_of(
    secret: bytes,
    tenant: str,
    label: str,
    endpoint: Endpoint,
    exchange: Exchange,
    principal: Principal,
    asked: str,
    rules: bytes,
    *,
    strict: bool,
) -> Key | None:
    """Returns the key of a request, None where its body cannot be read. `rules`: what freehold.yaml says of `asked`."""
    try:
        body = _OBJECT.decode(exchange.given)
        for name in _IDLE:
            body.pop(name, None)
        canonical = _SORTED.encode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, msgspec.EncodeError, UnicodeEncodeError):
        return None
    headers = exchange.headers
    role = (principal.role, principal.environment, principal.objective)
    path = exchange.path if endpoint.kind == "embeddings" else ""
    stated = [headers.get(name, b"").decode("latin-1") for name in _STATED]
    head = _SORTED.encode((1, tenant, label, endpoint.client, endpoint.kind, path, asked, strict, role, stated))
    keyed = blake2b(key=secret, digest_size=KEY_BYTES)
    for piece in (head, rules, canonical):
        keyed.update(len(piece).to_bytes(8, "little"))
        keyed.update(piece)
    return Key(keyed.digest(), head + b"\0" + rules, body)


def inner_key(secret: bytes, key: Key, text: str) -> bytes | None:
    """Returns what names a request but for `text`, the one place in its body where that stands; None where there is not
    exactly one."""
    places: list[int] = []
    try:
        canonical = _SORTED.encode(_without(key.body, text, places))
    except RecursionError:
        return None
    if len(places) != 1:
        return None
    keyed = blake2b(key=secret, digest_size=KEY_BYTES, person=b"question")
    for piece in (key.head, canonical):
        keyed.update(len(piece).to_bytes(8, "little"))
        keyed.update(piece)
    return keyed.digest()


def _without(value: Any, text: str, places: list[int]) -> Any:
    if isinstance(value, str):
        if value != text:
            return value
        places.append(1)
        return "\0"
    if isinstance(value, list):
        return [_without(inner, text, places) for inner in value]
    if isinstance(value, Mapping):
        return {name: _without(inner, text, places) for name, inner in value.items()}
    return value


def excluded(operation: Operation, *, sampled: bool) -> str | None:
    """Returns in a word why the cache has nothing to do with a request, None where it has.

    `sampled`: answers drawn by chance are kept too. Nothing is kept that rests on what may change unseen (a URL, a file
    or a conversation that somebody else keeps, tools that run at the provider) or that is stored somewhere.
    """
    if isinstance(operation, Embed):
        return None
    if not isinstance(operation, Talk):
        return "endpoint"
    try:
        conversation = operation.conversation
    except FreeholdError:
        return "unread"
    if conversation.previous is not None or conversation.unknown.keys() & _LASTING:
        return "previous"
    if conversation.store or (conversation.store is None and conversation.dialect == "responses"):
        return "stored"
    if any(tool.opaque is not None for tool in conversation.tools):
        return "tools"
    if {*(conversation.modalities or ())} - {"text"}:
        return "modalities"
    if not sampled and conversation.temperature != 0:
        return "sampled"
    return _media(conversation)


def _media(conversation: Conversation) -> str | None:
    for part in conversation.system:
        if (why := _elsewhere(part)) is not None:
            return why
    for turn in conversation.turns:
        for part in turn.parts:
            if (why := _elsewhere(part)) is not None:
                return why
    return None


def _elsewhere(part: Part) -> str | None:
    """Whether what a part means stands somewhere else."""
    if isinstance(part, Image | Document):
        if part.url is not None and not part.url.startswith("data:"):
            return "url"
        return "file" if part.file_id is not None else None
    if isinstance(part, Audio):
        return "file" if part.id is not None else None
    if isinstance(part, ToolResult):
        return next((why for inner in part.parts if (why := _elsewhere(inner)) is not None), None)
    return None


def twofold(body: bytes) -> bool:
    """Whether an object of the JSON has a key twice, or it is no JSON at all."""
    try:
        json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return True
    return False


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key twice")


def cache_control(headers: Mapping[bytes, bytes]) -> tuple[bool, bool, float | None]:
    """Returns what a client says of the cache: whether nothing may be looked up, whether nothing may be kept, and how
    old an answer may be in seconds. By `Cache-Control` (RFC 9111, section 5.2.1; words that mean nothing here are
    passed over), or by `x-freehold-cache`: `off` for neither, `refresh` for a new answer."""
    own = headers.get(ASKED)
    standard = headers.get(b"cache-control")
    refuse = discard = False
    age: float | None = None
    if own is not None:
        asked = own.strip().lower()
        refuse, discard = asked in (b"off", b"refresh"), asked == b"off"
    for word in standard.decode("latin-1").lower().split(",") if standard is not None else ():
        name, _, value = word.strip().partition("=")
        value = value.strip('"')
        if name == "no-store":
            refuse = discard = True
        elif name == "no-cache":
            refuse = True
        elif name == "max-age" and value.isdigit():
            age = float(value[:9])
    return refuse, discard, age

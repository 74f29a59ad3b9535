"""Changes in a messages request only what must change, for a provider that speaks the same dialect.

Top-level fields are held as raw JSON, so unknown fields and the bytes of every untouched value survive; a request that
fits as it is comes back as the same object. What the model refuses is taken out and reported:

- sampling parameters, and a tool choice that forces a call, where the traits say so;
- what this gateway showed the client of other providers' answers and the API would not take back (the conversation has
  moved to another model): thoughts that are not signed by Anthropic, and citations without an `encrypted_index`.
  Unsigned thoughts stay where the model is none of Anthropic's: other hosts of this dialect want theirs back.
"""

import re
from typing import Any

import msgspec
from msgspec import Raw

from freehold.dialects.conversation import Losses
from freehold.dialects.messages.blocks import signed_here
from freehold.dialects.messages.citations import is_made_up
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.wire import MALFORMED, check_str, decode_field, decode_request

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_MESSAGES = msgspec.json.Decoder(list[dict[str, Raw]])
_BLOCKS = msgspec.json.Decoder(list[Raw])
_ASSISTANT = Raw(b'"assistant"')
_encode = msgspec.json.Encoder().encode
_FOREIGN = re.compile(rb'"signature":\s*"(?:"|[a-z0-9-]{1,38}:)|"encrypted_index":\s*""')
"""In a JSON string the quotes would be escaped."""


def patch_request(
    body: bytes,
    *,
    model: str,
    traits: Traits = PLAIN,
    stream_usage: bool = False,
    losses: Losses | None = None,
    seen: object = None,
) -> bytes:
    """The client's body for a provider of the same dialect: `model` renamed, everything else as the client wrote it.

    `stream_usage` changes nothing: this dialect always sends usage. Returns `body` itself when nothing changes. Raises
    BadRequest.
    """
    fields = decode_request(_FIELDS, body)
    lost: Losses = [] if losses is None else losses
    changed = False
    raw = fields.get("model")
    if raw is None or check_str(msgspec.json.decode(raw), "model") != model:
        fields["model"] = Raw(_encode(model))
        changed = True
    if not traits.sampling:
        for name in ("temperature", "top_p", "top_k"):
            if (value := fields.get(name)) is not None and not _is_default(name, bytes(value)):
                del fields[name]
                changed = True
                lost.append(name)
    if not traits.force_tool:
        changed |= _free_choice(fields, lost)
    if (body.find(b'"signature"') >= 0 or body.find(b'"encrypted_index"') >= 0) and _FOREIGN.search(body) is not None:
        changed |= _drop_foreign(fields, traits, lost)
    return _encode(fields) if changed else body


def _is_default(name: str, value: bytes) -> bool:
    """A model without sampling still accepts the default value, which for `top_k` is absence."""
    return value == b"null" or (name != "top_k" and value in (b"1", b"1.0"))


def _free_choice(fields: dict[str, Raw], lost: Losses) -> bool:
    raw = fields.get("tool_choice")
    choice = decode_field(raw, "tool_choice") if raw is not None else None
    if not isinstance(choice, dict) or choice.get("type") not in ("any", "tool"):
        return False
    rest = {name: value for name, value in choice.items() if name not in ("type", "name")}
    fields["tool_choice"] = Raw(_encode({"type": "auto", **rest}))
    lost.append("tool_choice")
    return True


def _drop_foreign(fields: dict[str, Raw], traits: Traits, lost: Losses) -> bool:
    """A message that has nothing left is dropped: the API joins its neighbours."""
    unsigned = traits.thinking in ("budget", "adaptive")
    try:
        messages = _MESSAGES.decode(fields["messages"])
        kept = []
        loop = changed = False
        for index, message in enumerate(messages):
            if message.get("role") == _ASSISTANT and bytes(message.get("content", b""))[:1] == b"[":
                before = _BLOCKS.decode(message["content"])
                after = [block for raw in before if (block := _own(raw, unsigned, index, lost)) is not None]
                loop = len(after) < len(before) and any(b'"tool_use"' in bytes(block) for block in after)
                if after != before:
                    changed = True
                    message["content"] = Raw(_encode(after))
                    if not after:
                        continue
            kept.append(message)
    except (KeyError, *MALFORMED):
        return False  # no array of messages: the provider's answer will say so
    if not changed:
        return False
    fields["messages"] = Raw(_encode(kept))
    if loop and _enabled(fields):
        # "Expected `thinking` or `redacted_thinking`, but found `tool_use`": a budget wants the running loop's thoughts
        del fields["thinking"]
        lost.append("thinking")
    return True


def _own(raw: Raw, unsigned: bool, index: int, lost: Losses) -> Raw | None:
    """The block without what is somebody else's; None for a thought that is."""
    if _FOREIGN.search(raw) is None:
        return raw
    block: Any = decode_field(raw, f"messages.{index}")
    if not isinstance(block, dict):
        return raw
    if block.get("type") == "thinking":
        signature = block.get("signature")
        if not isinstance(signature, str) or signed_here(signature) or (not signature and not unsigned):
            return raw
        lost.append(f"messages.{index}.thinking")
        return None
    citations = block.get("citations")
    if block.get("type") != "text" or not isinstance(citations, list):
        return raw
    rest = [one for one in citations if not (isinstance(one, dict) and is_made_up(one))]
    if len(rest) == len(citations):
        return raw
    lost.append(f"messages.{index}.citations")
    block["citations"] = rest
    if not rest:
        del block["citations"]
    return Raw(_encode(block))


def _enabled(fields: dict[str, Raw]) -> bool:
    raw = fields.get("thinking")
    thinking = decode_field(raw, "thinking") if raw is not None else None
    return isinstance(thinking, dict) and thinking.get("type") == "enabled"

"""Changes in a Responses request only what must change, for a provider that speaks the same dialect.

Top-level fields are held as raw JSON, so unknown fields and the bytes of every untouched value survive; a request that
fits as it is comes back as the same object. Besides the model, and sampling where the model refuses it, two things are
taken out of the input, because no provider of this dialect made them: reasoning whose signature is another provider's
(reported), and a Gemini signature that rides in a call id (which loses nothing here).
"""

import msgspec
from msgspec import Raw

from freehold.dialects.conversation import Losses
from freehold.dialects.responses.ids import provider_call_id
from freehold.dialects.responses.reasoning import FOREIGN_TAGS
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.wire import MALFORMED, check_str, decode_field, decode_request

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, Raw]])
_ENCODER = msgspec.json.Encoder()
_NULL = Raw(b"null")
_REASONING = Raw(b'"reasoning"')
_SIGNED_ID = b"__sig_"

SAMPLING_DEFAULTS = {"temperature": 1, "top_p": 1, "top_logprobs": 0}
"""What `traits.sampling` False forbids, and the value that may vanish unreported."""


def patch_request(
    body: bytes,
    *,
    model: str,
    traits: Traits = PLAIN,
    stream_usage: bool = False,
    losses: Losses | None = None,
    seen: object = None,
) -> bytes:
    """Returns `body` itself where nothing needs to change. Raises BadRequest when it is no JSON object.

    `stream_usage` changes nothing: this dialect always sends usage.
    """
    fields = decode_request(_FIELDS, body)
    lost: Losses = [] if losses is None else losses
    changed = False
    raw = fields.get("model")
    if raw is None or check_str(decode_field(raw, "model"), "model") != model:
        fields["model"] = Raw(_ENCODER.encode(model))
        changed = True
    changed |= _patch_sampling(fields, traits, lost)
    if _SIGNED_ID in body or any(b'"' + tag.encode() in body for tag in FOREIGN_TAGS):
        changed |= _patch_input(fields, lost)
    return _ENCODER.encode(fields) if changed else body


def _patch_sampling(fields: dict[str, Raw], traits: Traits, losses: Losses) -> bool:
    changed = False
    if not traits.sampling and not (traits.effort_none and _thinks_not(fields)):
        for name, default in SAMPLING_DEFAULTS.items():
            if (raw := fields.get(name)) is None or raw == _NULL or (value := decode_field(raw, name)) == default:
                continue
            del fields[name]
            changed = True
            if value is not None:
                losses.append(name)
    elif (raw := fields.get("temperature")) is not None:
        value = decode_field(raw, "temperature")
        if isinstance(value, int | float) and value > traits.temperature_max:
            fields["temperature"] = Raw(_ENCODER.encode(traits.temperature_max))
            losses.append("temperature")
            changed = True
    return changed


def _thinks_not(fields: dict[str, Raw]) -> bool:
    """Whether reasoning is switched off: then a model that can do that takes sampling parameters."""
    reasoning = fields.get("reasoning")
    value = decode_field(reasoning, "reasoning") if reasoning is not None else None
    return isinstance(value, dict) and value.get("effort") == "none"


def _patch_input(fields: dict[str, Raw], losses: Losses) -> bool:
    try:
        items = _OBJECTS.decode(fields["input"])
    except (KeyError, *MALFORMED):
        return False  # a string, or no array of objects: the provider's answer will say so
    kept = []
    changed = False
    for index, item in enumerate(items):
        if item.get("type") == _REASONING and _is_foreign(item.get("encrypted_content")):
            losses.append(f"input.{index}.reasoning")
            changed = True
            continue
        if (raw := item.get("call_id")) is not None and isinstance(old := decode_field(raw, "input.call_id"), str):
            new = provider_call_id(old)
            if new != old:
                item["call_id"] = Raw(_ENCODER.encode(new))
                changed = True
        kept.append(item)
    if changed:
        fields["input"] = Raw(_ENCODER.encode(kept))
    return changed


def _is_foreign(raw: Raw | None) -> bool:
    value = decode_field(raw, "input.encrypted_content") if raw is not None else None
    return isinstance(value, str) and value.startswith(FOREIGN_TAGS)

"""Changes in a chat request only what must change, for a provider that speaks the same dialect.

Top-level fields are held as raw JSON, so unknown fields and the bytes of every untouched value survive; a request that
fits as it is comes back as the same object. What the traits of a model forbid is left out and reported; a field that
merely has another name (`max_tokens`, the `developer` role) is renamed, which loses nothing and is not reported.
"""

from typing import Any

import msgspec
from msgspec import Raw

from freehold.dialects.chat.compose import SAMPLING_DEFAULTS, add_instruction, schema_in_words
from freehold.dialects.chat.compose_messages import report, write_tool_id
from freehold.dialects.chat.settings import read_settings
from freehold.dialects.conversation import Conversation, Losses
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.wire import MALFORMED, decode_request

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, Raw]])
_VALUES = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()
_USAGE = Raw(b'{"include_usage":true}')
_TRUE = Raw(b"true")
_NULL = Raw(b"null")
_JSON_MODE = Raw(b'{"type":"json_object"}')
_ROLES = {role: Raw(b'"%s"' % role.encode()) for role in ("system", "developer")}


def patch_request(
    body: bytes,
    *,
    model: str,
    traits: Traits = PLAIN,
    stream_usage: bool = False,
    losses: Losses | None = None,
) -> bytes:
    """Returns `body` itself where nothing needs to change. Raises BadRequest when it is no JSON object.

    `stream_usage`: ask a streamed answer for its usage, if the host understands that.
    """
    fields = decode_request(_FIELDS, body)
    lost: Losses = [] if losses is None else losses
    changed = patch_model(fields, model)
    if fields.get("stream") == _TRUE:
        changed |= patch_stream_options(fields, traits, stream_usage, lost)
    changed |= _patch_limit(fields, traits)
    changed |= patch_sampling(fields, traits, lost)
    changed |= _patch_format(fields, traits, lost)
    changed |= _patch_messages(fields, body, traits)
    return _ENCODER.encode(fields) if changed else body


def patch_model(fields: dict[str, Raw], model: str) -> bool:
    raw = Raw(_ENCODER.encode(model))
    if fields.get("model") == raw:
        return False
    fields["model"] = raw
    return True


def patch_stream_options(fields: dict[str, Raw], traits: Traits, wanted: bool, losses: Losses) -> bool:
    raw = fields.get("stream_options")
    if not traits.stream_usage:
        if raw is None:
            return False
        report(losses, "stream_options")
        del fields["stream_options"]
        return True
    if not wanted:
        return False
    if raw is None or raw == _NULL:
        fields["stream_options"] = _USAGE
        return True
    try:
        options = _FIELDS.decode(raw)
    except MALFORMED:
        return False  # not an object: the provider's answer will say so
    if options.get("include_usage") == _TRUE:
        return False
    options["include_usage"] = _TRUE
    fields["stream_options"] = Raw(_ENCODER.encode(options))
    return True


def patch_sampling(fields: dict[str, Raw], traits: Traits, losses: Losses) -> bool:
    """Leaves out or limits temperature, penalties, logprobs and stop sequences, as the traits say."""
    changed = False
    if not traits.sampling:
        for name, default in SAMPLING_DEFAULTS.items():
            if (raw := fields.pop(name, None)) is not None:
                changed = True
                if raw != _NULL and _ANY.decode(raw) != default:
                    report(losses, name)
    elif (raw := fields.get("temperature")) is not None and _above(raw, traits.temperature_max):
        fields["temperature"] = Raw(_ENCODER.encode(traits.temperature_max))
        report(losses, "temperature")
        changed = True
    if (raw := fields.get("stop")) is not None and bytes(raw)[:1] == b"[":
        stops = _VALUES.decode(raw)
        if len(stops) > traits.stop_max:
            fields["stop"] = Raw(_ENCODER.encode(stops[: traits.stop_max]))
            report(losses, "stop")
            changed = True
    return changed


def _above(raw: Raw, limit: float) -> bool:
    value = _ANY.decode(raw)
    return isinstance(value, int | float) and value > limit


def _patch_limit(fields: dict[str, Raw], traits: Traits) -> bool:
    name = traits.max_tokens_field
    other = "max_tokens" if name == "max_completion_tokens" else "max_completion_tokens"
    if (raw := fields.get(other)) is None:
        return False
    del fields[other]
    if raw != _NULL and fields.get(name, _NULL) == _NULL:
        fields[name] = raw
    return True


def _patch_format(fields: dict[str, Raw], traits: Traits, losses: Losses) -> bool:
    raw = fields.get("response_format")
    if raw is None or traits.json_schema == "native":
        return False
    conversation = Conversation(model="")
    read_settings(conversation, {"response_format": _ANY.decode(raw)})
    output = conversation.output
    if output is None or output.kind == "text" or (output.kind == "json" and traits.json_schema != "prompt"):
        return False
    report(losses, "response_format")
    if traits.json_schema == "prompt":
        del fields["response_format"]
    else:
        fields["response_format"] = _JSON_MODE
    try:
        messages = _VALUES.decode(fields.get("messages", b"[]"))
        first: list[Any] = [_ANY.decode(messages[0])] if messages else []
    except MALFORMED:
        return True
    add_instruction(first, schema_in_words(output), traits)
    fields["messages"] = Raw(_ENCODER.encode([*first, *messages[1:]]))
    return True


def _patch_messages(fields: dict[str, Raw], body: bytes, traits: Traits) -> bool:
    """Renames system roles and tool call ids. The words are searched first: most requests hold none of them."""
    wrong, right = ("developer", "system") if traits.system_role == "system" else ("system", "developer")
    roles = (b'"developer"' if wrong == "developer" else b'"system"') in body
    ids = traits.tool_id != "any" and b'"tool_call' in body
    if not roles and not ids:
        return False
    try:
        messages = _OBJECTS.decode(fields["messages"])
        changed = False
        for message in messages:
            if roles and message.get("role") == _ROLES[wrong]:
                message["role"] = _ROLES[right]
                changed = True
            if ids:
                changed |= _patch_ids(message, traits)
    except (KeyError, *MALFORMED):
        return False  # no array of objects: the provider's answer will say so
    if changed:
        fields["messages"] = Raw(_ENCODER.encode(messages))
    return changed


def _patch_ids(message: dict[str, Raw], traits: Traits) -> bool:
    changed = _patch_id(message, "tool_call_id", traits)
    if (raw := message.get("tool_calls")) is not None and raw != _NULL:
        calls = _OBJECTS.decode(raw)
        if sum(_patch_id(call, "id", traits) for call in calls):
            message["tool_calls"] = Raw(_ENCODER.encode(calls))
            changed = True
    return changed


def _patch_id(holder: dict[str, Raw], name: str, traits: Traits) -> bool:
    if (raw := holder.get(name)) is None or not isinstance(old := _ANY.decode(raw), str):
        return False
    if (new := write_tool_id(old, traits)) == old:
        return False
    holder[name] = Raw(_ENCODER.encode(new))
    return True

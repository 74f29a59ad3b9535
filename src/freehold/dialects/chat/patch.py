"""Changes in a chat request only what must change, for a provider that speaks the same dialect.

Top-level fields are held as raw JSON, so unknown fields and the bytes of every untouched value survive; a request that
fits as it is comes back as the same object. Where only the name of the model must change, as in most requests, the body
is not even decoded again (`_rename`). What the traits of a model forbid is left out and reported; a field that
merely has another name (`max_tokens`, the `developer` role) is renamed where the model does not know the client's,
which loses nothing and is not reported.
"""

import functools
import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from freehold.dialects.chat.compose import PENALTIES, SAMPLING_DEFAULTS, add_instruction, schema_in_words
from freehold.dialects.chat.compose_messages import report, write_tool_id
from freehold.dialects.chat.peek import Seen
from freehold.dialects.chat.settings import read_settings
from freehold.dialects.conversation import Conversation, Losses
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.wire import MALFORMED, decode_field, decode_request

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, Raw]])
_VALUES = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()
_USAGE = Raw(b'{"include_usage":true}')
_TRUE = Raw(b"true")
_NULL = Raw(b"null")
_NO_EFFORT = Raw(b'"none"')
_ADDED = (b'"reasoning_content"', b'"reasoning_details"', b'"images"', b'"extra_content"')
"""Fields of messages that this gateway gives its clients and that no host of OpenAI's strictness takes back."""
_SIGNED = b"__sig_"
"""In ids of calls that carry a Gemini signature (tool_calls.py): for Gemini alone, and too long for OpenAI."""
_JSON_MODE = Raw(b'{"type":"json_object"}')
_DEVELOPER = Raw(b'"developer"')
_SYSTEM = Raw(b'"system"')


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

    `stream_usage`: ask a streamed answer for its usage, if the host understands that. `seen` is what `peek` left in
    `Peek.notes` for this body.
    """
    if type(seen) is Seen and _fits(seen, body, traits, stream_usage):
        renamed = _rename(seen, body, model, traits)
        if renamed is not None:
            return renamed
    fields = decode_request(_FIELDS, body)
    lost: Losses = [] if losses is None else losses
    changed = patch_model(fields, model)
    if fields.get("stream") == _TRUE:
        changed |= patch_stream_options(fields, traits, stream_usage, lost)
    changed |= _patch_limit(fields, traits)
    changed |= patch_sampling(fields, traits, lost)
    changed |= _patch_tools(fields, traits, lost)
    changed |= _patch_format(fields, traits, lost)
    changed |= _patch_messages(fields, body, traits, lost)
    return _ENCODER.encode(fields) if changed else body


def _fits(seen: Seen, body: bytes, traits: Traits, stream_usage: bool) -> bool:
    """Whether nothing but the names of the model and of the token limit can need a change."""
    if seen.stop is not None or not traits.sampling or (seen.response_format and traits.json_schema != "native"):
        return False
    heat = seen.temperature
    if heat is not None and not (type(heat) in (int, float) and heat <= traits.temperature_max):
        return False
    if seen.stream:
        options = seen.stream_options or None
        asked = options is not None and options.include_usage is True
        if (seen.stream_options is not UNSET) if not traits.stream_usage else (stream_usage and not asked):
            return False
    if traits.strict_messages and body.find(b'"assistant"') >= 0 and max(map(body.find, _ADDED)) >= 0:
        return False
    if not traits.penalties and (b'_penalty"' in body or b'"logit_bias"' in body):
        return False
    if not traits.force_tool and b'"tool_choice"' in body:
        return False
    if not traits.tools_and_reasoning and b'"tools"' in body:
        return False
    if _system_only(traits) and body.find(b'"developer"') >= 0:
        return False
    return body.find(b'"tool_call' if traits.tool_id != "any" else _SIGNED) < 0


def _rename(seen: Seen, body: bytes, model: str, traits: Traits) -> bytes | None:
    """`body` with the provider's names of model and limit; None where their places cannot be told from the bytes alone.

    The only `"model"` in the body is the top-level key, which `peek` has found: inside a JSON string its quotes would
    be escaped, and a key spelt with escapes needs a backslash-u-0-0. The same holds for the limit.
    """
    limit: int | UnsetType | None
    given: int | UnsetType | None
    if traits.both_limits:
        limit, wrong, right, given = UNSET, b"", b"", UNSET
    elif traits.max_tokens_field == "max_completion_tokens":
        limit, wrong, right = seen.max_tokens, b'"max_tokens"', b'"max_completion_tokens"'
        given = seen.max_completion_tokens
    else:
        limit, wrong, right = seen.max_completion_tokens, b'"max_completion_tokens"', b'"max_tokens"'
        given = seen.max_tokens
    if limit is UNSET and seen.model == model:
        return body
    if body.find(b"\\u00") >= 0:
        return None
    if limit is not UNSET:
        if limit is None or given is not UNSET or body.count(wrong) != 1:
            return None
        body = body.replace(wrong, right)
        if seen.model == model:
            return body
    at = body.find(_MODEL)
    if at < 0 or body.find(_MODEL, at + 7) >= 0:
        return None
    match = _NAME.match(body, at + 7)
    if match is None:
        return None
    return b'%b"%b"%b' % (body[: match.start(1)], model.encode(), body[match.end(1) :]) if _plain(model) else None


_MODEL = b'"model"'
_NAME = re.compile(rb'\s*:\s*("[^"\\]*")')


@functools.lru_cache(1000)
def _plain(model: str) -> bool:
    """Whether the name needs no escapes inside quotes."""
    return model.isprintable() and '"' not in model and "\\" not in model


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
                if raw != _NULL and decode_field(raw, name) != default:
                    report(losses, name)
    elif (raw := fields.get("temperature")) is not None and _above(raw, traits.temperature_max):
        fields["temperature"] = Raw(_ENCODER.encode(traits.temperature_max))
        report(losses, "temperature")
        changed = True
    if traits.sampling and not traits.penalties:
        for name in PENALTIES & fields.keys():
            changed = True
            raw = fields.pop(name)
            if raw != _NULL and decode_field(raw, name) != SAMPLING_DEFAULTS[name]:
                report(losses, name)
    if (raw := fields.get("stop")) is not None and raw != _NULL and not traits.stop_max:
        changed = True
        del fields["stop"]
        if raw != Raw(b"[]"):
            report(losses, "stop")
    elif raw is not None and bytes(raw)[:1] == b"[":
        stops = decode_field(raw, "stop")
        if len(stops) > traits.stop_max:
            fields["stop"] = Raw(_ENCODER.encode(stops[: traits.stop_max]))
            report(losses, "stop")
            changed = True
    return changed


def _above(raw: Raw, limit: float) -> bool:
    value = decode_field(raw, "temperature")
    return isinstance(value, int | float) and value > limit


def _patch_limit(fields: dict[str, Raw], traits: Traits) -> bool:
    if traits.both_limits:
        return False
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
    read_settings(conversation, {"response_format": decode_field(raw, "response_format")})
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


def _patch_tools(fields: dict[str, Raw], traits: Traits, losses: Losses) -> bool:
    """A choice that forces a call, and reasoning beside tools, where the model refuses them."""
    changed = False
    if not traits.force_tool and (raw := fields.get("tool_choice", _NULL)) != _NULL:
        choice = decode_field(raw, "tool_choice")
        mode = choice.get("allowed_tools") if isinstance(choice, dict) else choice
        mode = mode.get("mode") if isinstance(mode, dict) else mode
        if mode not in ("auto", "none"):
            fields["tool_choice"] = Raw(b'"auto"')
            report(losses, "tool_choice")
            changed = True
    if not traits.tools_and_reasoning and fields.get("tools", _NULL) not in (_NULL, Raw(b"[]")):
        effort = fields.get("reasoning_effort", _NULL)
        if effort != _NO_EFFORT and (effort != _NULL or not traits.sampling):
            fields["reasoning_effort"] = _NO_EFFORT  # said even where nobody asked, if the model reasons by default
            changed = True
            if effort != _NULL:
                report(losses, "reasoning_effort")
    return changed


def _patch_messages(fields: dict[str, Raw], body: bytes, traits: Traits, losses: Losses) -> bool:
    """Renames system roles and tool call ids, and takes out what only this gateway adds to messages, for hosts that
    refuse it. The words are searched first: most requests hold none of them."""
    # The other way round nothing is to be done: OpenAI reads `system` as `developer` where it wants that.
    roles = _system_only(traits) and b'"developer"' in body
    ids = (b'"tool_call' if traits.tool_id != "any" else _SIGNED) in body
    added = traits.strict_messages and max(map(body.find, _ADDED)) >= 0
    if not roles and not ids and not added:
        return False
    try:
        messages = _OBJECTS.decode(fields["messages"])
        changed = False
        for message in messages:
            if roles and message.get("role") == _DEVELOPER:
                message["role"] = _SYSTEM
                changed = True
            if ids:
                changed |= _patch_ids(message, traits)
            if added:
                changed |= _drop_added(message, traits, losses)
    except (KeyError, *MALFORMED):
        return False  # no array of objects: the provider's answer will say so
    if changed:
        fields["messages"] = Raw(_ENCODER.encode(messages))
    return changed


def _system_only(traits: Traits) -> bool:
    return traits.system_role == "system" and not traits.both_roles


def _drop_added(message: dict[str, Raw], traits: Traits, losses: Losses) -> bool:
    changed = False
    for name in ("reasoning_content", "reasoning_details", "images"):
        if name != traits.replay_reasoning and message.pop(name, None) is not None:
            report(losses, name)
            changed = True
    if b'"extra_content"' in bytes(message.get("tool_calls", b"")):
        calls = _OBJECTS.decode(message["tool_calls"])
        if sum(call.pop("extra_content", None) is not None for call in calls):
            message["tool_calls"] = Raw(_ENCODER.encode(calls))
            changed = True
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
    if (raw := holder.get(name)) is None or not isinstance(old := decode_field(raw, name), str):
        return False
    if (new := write_tool_id(old, traits)) == old:
        return False
    holder[name] = Raw(_ENCODER.encode(new))
    return True

"""The script of a fake provider: rules tried in order, each a match and a reply. The schema is the type.

    seed: 7                                   # of `probability`
    models: [gpt-4o-mini, claude-sonnet-4-5]  # what the model lists show
    default: {latency_ms: 20}                 # under every reply
    rules:
      - match: {dialect: chat, model: "gpt-*", contains: weather, nth: 1}
        reply: {tool_calls: [{name: get_weather, arguments: {city: Oslo}}]}
      - match: {probability: 0.1}
        times: 3
        reply: {status: 429, headers: {retry-after: "2"}}
      - reply: {text: "You said: {last_user}"}

The first rule whose match holds and whose `times` are not used up answers; without one the default text is sent.
Two short forms say the same without a file: the header `x-fake: status=429; latency=50` and model names such as
`fake-status-429` or `fake-events-65+event-5` (see `from_header` and `from_model`). Where several speak, a field of the
header wins over the model name, that over the rule, that over `default`. Unknown keys are refused everywhere.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from freehold.errors import ConfigError

DialectName = Literal[
    "chat", "completions", "embeddings", "responses", "messages", "gemini", "converse", "cohere", "mistral", "ollama"
]


class Match(Struct, forbid_unknown_fields=True, frozen=True):
    """All given conditions must hold. `path` and `model` are globs; matching of `contains` ignores case."""

    dialect: DialectName | None = None
    path: str | None = None
    model: str | None = None
    contains: str | None = None
    """Substring of the last user text."""
    header: str | None = None
    """`name` (present) or `name: value` (equal)."""
    stream: bool | None = None
    nth: int | None = None
    """Only the nth request (from 1) that meets the other conditions."""
    probability: float | None = None
    """Between 0 and 1, drawn from the script's seed."""


class Call(Struct, forbid_unknown_fields=True, frozen=True):
    """A tool call. No name: the first tool offered. No arguments: an instance of its schema. Text is sent verbatim."""

    name: str | None = None
    arguments: dict[str, Any] | str | None = None


class Tokens(Struct, forbid_unknown_fields=True, frozen=True):
    """Overrides the counted usage. `input` is the total and holds the cache classes; `output` holds `reasoning`."""

    input: int | None = None
    output: int | None = None
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int | None = None


class ErrorBody(Struct, forbid_unknown_fields=True, frozen=True):
    """What the error says; `type` and `code` default to what the dialect's provider sends for the status."""

    message: str | None = None
    type: str | None = None
    code: str | None = None


class Reply(Struct, forbid_unknown_fields=True, frozen=True):
    """What to answer. Everything unset falls through to the next layer. Times are milliseconds."""

    text: str | None = None
    """`{last_user}`, `{model}` and `{n}` (the request's number) are filled in."""
    tool_calls: list[Call] | None = None
    thinking: str | None = None
    refusal: str | None = None
    json: Any = UNSET
    """Sent as the text, encoded."""
    finish: str | None = None
    """stop, length, tool_calls, content_filter, pause, error: in the dialect's own word. Any other is sent verbatim."""
    usage: Tokens | None = None
    status: int | None = None
    error: ErrorBody | None = None
    headers: dict[str, str] | None = None
    latency_ms: float | None = None
    """Before the first byte of the response."""
    jitter_ms: float | None = None
    """Up to this much more latency, evenly drawn."""
    first_token_ms: float | None = None
    """Between the headers and the first event."""
    event_ms: float | None = None
    """Between two events."""
    stall_ms: float | None = None
    """How long a stall, a half-open connection or an endless stream lasts at most. Default 60,000."""
    chunk: int | None = None
    """Characters per text event (default: a word)."""
    events: int | None = None
    """Exactly so many text events; the text is repeated until there is enough of it."""
    chunks: bool | None = None
    """The content as a list of chunks, one of them a reference, where a dialect has that (mistral)."""
    burst: bool | None = None
    """All events in one write instead of one write each."""
    fault: str | None = None


class Rule(Struct, forbid_unknown_fields=True, frozen=True):
    match: Match = Match()
    reply: Reply = Reply()
    times: int | None = None
    """Answers at most so many requests, then later rules get their turn."""
    name: str | None = None


class Script(Struct, forbid_unknown_fields=True, frozen=True):
    rules: list[Rule] = field(default_factory=list)
    default: Reply = Reply()
    models: list[str] = field(default_factory=lambda: ["fake", "fake-tools", "fake-json", "fake-thinking"])
    seed: int = 0
    cap: int = 10_000
    """Most events of an endless stream."""


EMPTY = Script()
MOST_EVENTS = 100_000


def over(top: Reply, bottom: Reply) -> Reply:
    """Returns `top` with its unset fields taken from `bottom`."""
    if top == Reply():
        return bottom
    merged = {name: _pick(getattr(top, name), getattr(bottom, name)) for name in Reply.__struct_fields__}
    return Reply(**merged)


def _pick(first: Any, second: Any) -> Any:
    return second if first is None or isinstance(first, UnsetType) else first


def load(source: "Script | dict[str, Any] | str | Path | None") -> Script:
    """Reads a script from an object, a mapping, or a YAML or JSON file.

    Raises:
        ConfigError: no such file, no YAML, an unknown key, a wrong type or an unknown fault.
    """
    if source is None:
        return EMPTY
    if isinstance(source, Script):
        return check(source)
    if isinstance(source, dict):
        return _convert(source, "")
    path = Path(source)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the script: {error.strerror}", where=str(path), hint="name an existing YAML or JSON file"
        ) from None
    return decode(text, str(path))


def decode(text: bytes, where: str = "") -> Script:
    """Reads a script from YAML (JSON is YAML). Raises ConfigError, as `load` does."""
    import yaml  # only scripts need it, and it is the heaviest import of this room

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise ConfigError(
            f"not YAML: {getattr(error, 'problem', error)}", where=place, hint="see the fake's --help"
        ) from None
    return _convert(value or {}, where)


def _convert(value: Any, where: str) -> Script:
    try:
        script = msgspec.convert(value, Script)
    except msgspec.ValidationError as error:
        message, _, key = str(error).partition(" - at `$")
        raise ConfigError(
            message, where=where, key=key.strip(".`"), hint=f"keys of a reply: {', '.join(Reply.__struct_fields__)}"
        ) from None
    return check(script, where)


def check(script: Script, where: str = "") -> Script:
    """Returns the script. Raises ConfigError for an unknown fault and for numbers out of range."""
    for number, rule in enumerate(script.rules):
        chance = rule.match.probability
        if chance is not None and not 0 <= chance <= 1:
            raise ConfigError(
                f"{chance} is no probability", where=where, key=f"rules[{number}].match.probability", hint="0 to 1"
            )
        check_reply(rule.reply, where, f"rules[{number}].reply")
    check_reply(script.default, where, "default")
    return script


def check_reply(reply: Reply, where: str = "", key: str = "") -> Reply:
    """Returns the reply. Raises ConfigError for an unknown fault, a status no response has, or a negative number."""
    if reply.fault is not None:
        from freehold.fake.faults import find

        find(reply.fault, where=where, key=key)
    if reply.status is not None and not 200 <= reply.status <= 599:
        raise ConfigError(f"{reply.status} is no final HTTP status", where=where, key=key, hint="200 to 599")
    for name in ("latency_ms", "jitter_ms", "first_token_ms", "event_ms", "stall_ms", "chunk", "events"):
        number = getattr(reply, name)
        if number is not None and not 0 <= number <= 1e9:
            raise ConfigError(f"{name} cannot be {number}", where=where, key=key, hint="0 or more")
    if reply.events is not None and reply.events > MOST_EVENTS:
        raise ConfigError(f"{reply.events} events are too many", where=where, key=key, hint=f"at most {MOST_EVENTS:,}")
    return reply


SHORT = {
    "text": "text",
    "thinking": "thinking",
    "refusal": "refusal",
    "finish": "finish",
    "fault": "fault",
    "status": "status",
    "events": "events",
    "chunk": "chunk",
    "latency": "latency_ms",
    "jitter": "jitter_ms",
    "first": "first_token_ms",
    "event": "event_ms",
    "stall": "stall_ms",
    "burst": "burst",
    "chunks": "chunks",
}
"""Short names of the header and of model names, and the Reply field each sets."""


@lru_cache(maxsize=1024)
def from_header(value: str) -> Reply:
    """Reads `x-fake: fault=stall_mid_stream; latency=50; text=a%3Bb`: `;` between terms, values percent-decoded.

    Besides the names in `SHORT`: `tool=NAME` calls that tool (`tool=` the first), `retry-after=SECONDS`.

    Raises:
        ConfigError: unknown term or bad value.
    """
    fields: dict[str, Any] = {}
    for term in filter(None, (part.strip() for part in value.split(";"))):
        name, _, text = term.partition("=")
        _set(fields, name.strip().lower(), unquote(text.strip()), where="x-fake")
    return _reply(fields, "x-fake")


MODEL_WORDS = ("tools", "json", "thinking", "refusal", "echo", "length", "chunks")


@lru_cache(maxsize=1024)
def from_model(model: str) -> Reply:
    """Reads a model name's conventions: `fake-` and terms joined by `+`; a name that says nothing gives an empty reply.

    tools, json, thinking, refusal, echo, length, chunks, fault-NAME, and any of `SHORT` with its value: status-429,
    events-65, latency-50, event-5, first-20, chunk-3, text-hello. `fake`, `fake-small` and the like are just names.
    """
    fields: dict[str, Any] = {}
    for term in model.removeprefix("fake-").split("+"):
        word, _, value = term.partition("-")
        if term == "tools":
            fields["tool_calls"] = [Call()]
        elif term == "json":
            fields["json"] = {"ok": True, "source": "fake"}
        elif term == "thinking":
            fields["thinking"] = "Let me think about this for a moment."
        elif term == "refusal":
            fields["refusal"] = "I cannot help with that."
        elif term == "echo":
            fields["text"] = "{last_user}"
        elif term == "length":
            fields["finish"] = "length"
        elif term == "chunks":
            fields["chunks"] = True
        elif word in SHORT and value:
            _set(fields, word, value.replace("-", "_") if word == "fault" else value, where=f"model {model!r}")
    return _reply(fields, f"model {model!r}")


def _set(fields: dict[str, Any], name: str, text: str, where: str) -> None:
    if name == "tool":
        fields.setdefault("tool_calls", []).append(Call(name=text or None))
    elif name == "retry-after":
        fields["headers"] = {"retry-after": text}
    elif name in SHORT:
        fields[SHORT[name]] = text
    else:
        known = ", ".join((*SHORT, "tool", "retry-after"))
        raise ConfigError(f"unknown term {name!r}", where=where, hint=f"known: {known}")


def _reply(fields: dict[str, Any], where: str) -> Reply:
    try:
        return check_reply(msgspec.convert(fields, Reply, strict=False), where)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), where=where, hint="numbers are plain: latency=50") from None

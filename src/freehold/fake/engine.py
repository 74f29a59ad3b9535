"""What the fake answers: a request goes in, prepared steps and a row of the bill come out. No sockets here.

The common request (no rules, no tools, no schema) is answered from prepared responses, kept by everything they depend
on; only the request's number is put in when they are sent. All else is composed afresh: replay first, then the first
rule that matches, under the model name's conventions, under the `x-fake` header.
"""

import random
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from freehold.errors import BadRequest, ConfigError, FreeholdError, NotFound, Unauthorized
from freehold.fake import anthropic, cohere, gemini, media, mistral, ollama, openai
from freehold.fake import ask as asks
from freehold.fake.answer import ID, Answer, answer
from freehold.fake.anthropic import MESSAGES
from freehold.fake.ask import Ask, Request
from freehold.fake.bedrock import CONVERSE
from freehold.fake.faults import find, fits
from freehold.fake.gemini import GENERATE
from freehold.fake.openai import CHAT, COMPLETIONS
from freehold.fake.replay import Exchange, Replay
from freehold.fake.responses import RESPONSES
from freehold.fake.routes import FAMILY, Operation, Route, route
from freehold.fake.rules import Rules
from freehold.fake.script import EMPTY, ErrorBody, Reply, Rule, Script, from_header, from_model, over
from freehold.fake.speak import JSON_TYPE, SSE_TYPE, Speaker, encode
from freehold.fake.wire import Draft, Headers, Steps, steps

SPEAKERS: dict[str, Speaker] = {
    "chat": CHAT, "completions": COMPLETIONS, "responses": RESPONSES, "messages": MESSAGES, "generate": GENERATE,
    "converse": CONVERSE, "cohere_chat": cohere.CHAT, "mistral_chat": mistral.CHAT, "ollama_chat": ollama.SPEAKER,
    "ollama_generate": ollama.SPEAKER,
}  # fmt: skip
BY_FAMILY: dict[str, Speaker] = {
    "openai": CHAT, "responses": RESPONSES, "anthropic": MESSAGES, "gemini": GENERATE, "bedrock": CONVERSE,
    "cohere": cohere.CHAT, "mistral": mistral.CHAT, "ollama": ollama.SPEAKER,
}  # fmt: skip
GET_OPERATIONS = frozenset({"models", "model", "gemini_models", "gemini_model", "ollama_tags", "ollama_version"})
KEPT = 2048
MOST_CHOICES = 128
DEFAULT_STALL = 60.0
_SHAPELESS = (msgspec.MsgspecError, UnicodeError, RecursionError, AttributeError, TypeError)
_SIGNED = re.compile(rb"AWS4-HMAC-SHA256 Credential=([^/]+)/")
_MESSAGES = {
    401: "Incorrect API key provided",
    403: "Permission denied",
    404: "The model does not exist",
    429: "Rate limit reached",
    500: "The server had an error while processing your request",
    502: "Bad gateway",
    503: "The service is overloaded",
    529: "Overloaded",
}


class Prepared(Struct):
    """A response ready to be sent. Bytes steps number `first` to `last` carry the content, for the bill."""

    steps: Steps
    status: int = 200
    first: int = 0
    last: int = 1
    stall: float = DEFAULT_STALL
    route: Route = Route("chat")
    model: str = ""
    stream: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    fault: str | None = None
    rule: str | None = None
    latency: float = 0.0
    jitter: float = 0.0

    whole: bytes | None = None
    """The one write this response consists of, if it does and goes out at once."""

    def __post_init__(self) -> None:
        first = self.steps[0] if isinstance(self.steps, list) and len(self.steps) == 1 else None
        if isinstance(first, bytes) and not (self.latency or self.jitter):
            self.whole = first


class Engine:
    """Answers requests from a script and recorded exchanges.

    `latency_ms` and `jitter_ms` lie under the script's default. `key`: requests must carry it in their dialect's way.
    """

    def __init__(
        self,
        script: Script = EMPTY,
        *,
        replay: Replay | None = None,
        key: str | None = None,
        latency_ms: float = 0.0,
        jitter_ms: float = 0.0,
    ) -> None:
        self._replay = replay
        self._key = key
        self._base = Reply(latency_ms=latency_ms or None, jitter_ms=jitter_ms or None)
        self._created = int(time.time())
        self._routes: dict[bytes, Route] = {}
        self._number = 0
        self.use(script)

    def use(self, script: Script) -> None:
        """Swaps the script; rules start counting anew."""
        self.script = script
        self._default = over(script.default, self._base)
        self._random = random.Random(script.seed)  # noqa: S311 - chance in a script, no secret
        self._rules = Rules(script.rules, self._random)
        self._kept: dict[tuple[object, ...], Prepared] = {}
        plain = self._replay is None and not script.rules
        self._keeps = plain and "{" not in (script.default.text or "")

    def restart(self) -> None:
        """Forgets what rules and the request counter have seen."""
        self._number = 0
        self.use(self.script)

    def respond(self, request: Request) -> Prepared:
        """Returns the response to a request; mistakes of the client become error responses in its dialect."""
        self._number += 1
        try:
            if self._replay is not None:
                exchange = self._replay.find(request)
                if exchange is not None:
                    return self._replayed(exchange, request)
            found = self._routes.get(request.url) or self._route(request.url)
            if self._key is not None:
                self._authorize(found, request)
            if request.method != b"POST" and found.operation not in GET_OPERATIONS:
                raise BadRequest(f"{request.method.decode()} is not possible here", status=405, hint="use POST")
            if self._replay is not None and not self.script.rules and b"x-fake" not in request.headers:
                raise NotFound(
                    "no recorded exchange matches this request", hint="x-fake-replay: SOURCE:INDEX names one"
                )
            ask = media.read(found, request) if found.operation in media.OPERATIONS else asks.read(found, request)
            if not 1 <= ask.n <= MOST_CHOICES:
                raise BadRequest(f"n must be 1 to {MOST_CHOICES}", param="n")
            return self._answered(ask)
        except FreeholdError as error:
            return self._refused(request, error)
        except _SHAPELESS as error:
            # Most of a body is only looked at where a reply depends on it, whatever shape it has.
            return self._refused(request, BadRequest(f"the request cannot be read: {error}"))

    def wait(self, prepared: Prepared) -> float:
        """Returns the seconds before the first byte, jitter drawn."""
        return prepared.latency + (self._random.uniform(0.0, prepared.jitter) if prepared.jitter else 0.0)

    def _route(self, url: bytes) -> Route:
        found = route(url)
        if len(self._routes) < KEPT:
            self._routes[url] = found
        return found

    def _authorize(self, found: Route, request: Request) -> None:
        """The key where the dialect has it, or as a bearer token; for Bedrock also as the access key of a signature,
        whose truth only a test can judge that knows the secret."""
        headers = request.headers
        authorization = headers.get(b"authorization", b"")
        own: bytes | None = None
        match FAMILY.get(found.operation, "openai"):
            case "openai" | "responses":
                own = headers.get(b"api-key")
            case "anthropic":
                own = headers.get(b"x-api-key")
            case "gemini":
                own = headers.get(b"x-goog-api-key") or found.key.encode()
            case "bedrock" if signed := _SIGNED.match(authorization):
                own = signed[1]
        if found.operation in ("models", "model"):
            own = own or headers.get(b"x-api-key")
        if (self._key or "").encode() not in (authorization.removeprefix(b"Bearer "), own):
            raise Unauthorized("Incorrect API key provided", hint="send the key given to freehold fake --key")

    def _answered(self, ask: Ask) -> Prepared:
        if media.handles(ask):
            return self._media(ask)
        if ask.operation not in SPEAKERS:
            return self._simple(ask)
        if ask.operation == "mistral_chat":
            mistral.check(ask)
        header = ask.request.headers.get(b"x-fake")
        if not self._keeps or ask.tools is not None or ask.output is not None:
            return self._composed(ask, header)
        key = (
            ask.route.path, ask.model, ask.stream, ask.include_usage, ask.n, len(ask.request.body), header,
            ask.route.sse, ask.request.http10,
        )  # fmt: skip
        prepared = self._kept.get(key)
        if prepared is None:
            prepared = self._composed(ask, header)
            if prepared.fault is None and self._reusable(ask, header):
                if len(self._kept) >= KEPT:
                    self._kept.clear()
                self._kept[key] = prepared
        return prepared

    def _reusable(self, ask: Ask, header: bytes | None) -> bool:
        reply = self._reply(ask, header, None)
        return all("{" not in (text or "") for text in (reply.text, reply.thinking, reply.refusal))

    def _reply(self, ask: Ask, header: bytes | None, rule: Rule | None) -> Reply:
        reply = over(rule.reply, self._default) if rule else self._default
        if ask.model.startswith("fake-"):
            reply = over(_checked(from_model, ask.model), reply)
        if header is not None:
            reply = over(_checked(from_header, header.decode("latin-1")), reply)
        return reply

    def _composed(self, ask: Ask, header: bytes | None) -> Prepared:
        rule = self._rules.pick(ask)
        reply = self._reply(ask, header, rule)
        speaker = SPEAKERS[ask.operation]
        if (reply.status or 200) >= 400:
            return self._error(ask, speaker, reply, rule)
        said = answer(ask, reply, self._number, self._created)
        kind = JSON_TYPE if not ask.stream else SSE_TYPE if ask.route.sse else speaker.stream_kind
        draft = Draft(
            ask, reply, said, speaker, reply.status or 200, _headers(speaker, kind, reply), [], ask.stream,
            cap=self.script.cap,
        )  # fmt: skip
        draft.compose()
        usage = said.usage
        shift = 1 if ask.stream and not reply.burst else 0
        span = (draft.first + shift, draft.last + shift) if shift else (0, 1)
        prepared = self._framed(draft, rule)
        prepared.first, prepared.last = span
        if usage is not None and draft.status < 300:
            prepared.input_tokens, prepared.output_tokens = usage.input, usage.output
        return prepared

    def _media(self, ask: Ask) -> Prepared:
        """What is no generated text. Raises BadRequest for a request that the provider would refuse."""
        rule = self._rules.pick(ask)
        reply = self._reply(ask, ask.request.headers.get(b"x-fake"), rule)
        speaker = BY_FAMILY[ask.family]
        if (reply.status or 200) >= 400:
            return self._error(ask, speaker, reply, rule)
        shown = media.make(ask)
        count = len(shown.parts)
        headers = [*_headers(speaker, shown.kind, reply), *shown.headers]
        draft = Draft(ask, reply, NOTHING, _UNSPOKEN, 200, headers, shown.parts, shown.streamed, 0, count)
        prepared = self._framed(draft, rule)
        if shown.streamed and not reply.burst:
            prepared.first, prepared.last = 1, 1 + count
        if prepared.status < 300:
            prepared.input_tokens, prepared.output_tokens = shown.input_tokens, shown.output_tokens
        return prepared

    def _framed(self, draft: Draft, rule: Rule | None = None) -> Prepared:
        """Frames a draft, or lets its fault do so. Raises BadRequest when the fault cannot happen here."""
        ask, reply = draft.ask, draft.reply
        framed: Steps
        if reply.fault is None:
            framed = steps(draft)
        else:
            found = find(reply.fault)
            if not fits(found, ask):
                raise BadRequest(
                    f"the fault {found.name} is not possible here", hint=f"it applies to {found.applies} replies"
                )
            framed = found.frame(draft)
        return Prepared(
            framed,
            draft.status,
            stall=DEFAULT_STALL if reply.stall_ms is None else reply.stall_ms / 1e3,
            route=ask.route,
            model=ask.model,
            stream=ask.stream,
            fault=reply.fault,
            rule=rule.name if rule else None,
            latency=(reply.latency_ms or 0.0) / 1e3,
            jitter=(reply.jitter_ms or 0.0) / 1e3,
        )

    def _plain(self, ask: Ask, body: bytes, status: int, reply: Reply, rule: Rule | None) -> Prepared:
        """A JSON body that is not generated: an error, a list, vectors. Faults that rewrite an answer cannot apply."""
        speaker = BY_FAMILY[ask.family]
        whole = msgspec.structs.replace(ask, stream=False) if ask.stream else ask
        headers = _headers(speaker, JSON_TYPE, reply)
        if status >= 400 and speaker.error_headers is not None:
            headers += speaker.error_headers(status, reply.error or ErrorBody())
        draft = Draft(whole, reply, NOTHING, _UNSPOKEN, status, headers, [body], streamed=False)
        prepared = self._framed(draft, rule)
        prepared.stream = ask.stream
        return prepared

    def _error(self, ask: Ask, speaker: Speaker, reply: Reply, rule: Rule | None) -> Prepared:
        status = reply.status or 500
        given = reply.error or ErrorBody()
        message = given.message or _MESSAGES.get(status, f"Error {status}")
        return self._plain(ask, speaker.error(status, message, given), status, reply, rule)

    def _simple(self, ask: Ask) -> Prepared:
        """Operations that generate nothing: embeddings, token counts, model lists. Rules may make them fail or wait."""
        rule = self._rules.pick(ask)
        reply = self._reply(ask, ask.request.headers.get(b"x-fake"), rule)
        if (reply.status or 200) >= 400:
            return self._error(ask, BY_FAMILY[ask.family], reply, rule)
        body, billed = self._body(ask)
        prepared = self._plain(ask, body, 200, reply, rule)
        prepared.input_tokens = billed if prepared.status < 300 else 0
        return prepared

    def _body(self, ask: Ask) -> tuple[bytes, int]:
        operation, names = ask.operation, self.script.models
        if operation == "embeddings":
            return openai.embeddings(ask)
        if operation in ("gemini_embed", "gemini_embed_batch"):
            return gemini.embeddings(ask)
        if operation == "count_tokens":
            return anthropic.count_tokens(ask), 0
        if operation == "gemini_count":
            return gemini.count_tokens(ask), 0
        if operation == "ollama_tags":
            return ollama.tags(names, self._created), 0
        if operation == "ollama_version":
            return encode({"version": "0.12.6"}), 0
        claude = b"anthropic-version" in ask.request.headers
        google = operation.startswith("gemini") or b"x-goog-api-key" in ask.request.headers
        if operation in ("models", "gemini_models"):
            if google:
                return gemini.models(names), 0
            return (anthropic.models if claude else openai.models)(names, self._created), 0
        if ask.model not in names:
            raise NotFound(f"The model `{ask.model}` does not exist")
        if google:
            return encode(gemini.model(ask.model)), 0
        return encode((anthropic.model if claude else openai.model)(ask.model, self._created)), 0

    def _refused(self, request: Request, error: FreeholdError) -> Prepared:
        """The fake's own refusal, in the dialect of the path."""
        try:
            found = self._routes.get(request.url) or route(request.url)
        except NotFound:
            found = Route(_guess(request), path=request.url.partition(b"?")[0].decode("latin-1"))
        ask = Ask(found, request, found.operation, found.model)
        body = BY_FAMILY[ask.family].error(error.status, error.text, ErrorBody())
        return self._plain(ask, body, error.status, Reply(), None)

    def _replayed(self, exchange: Exchange, request: Request) -> Prepared:
        assert self._replay is not None
        try:
            found = route(request.url)
        except NotFound:
            found = Route("chat", path=request.url.partition(b"?")[0].decode("latin-1"))
        ask = Ask(found, request, found.operation, exchange.model, stream=exchange.streamed)
        reply = self._reply(ask, request.headers.get(b"x-fake"), None)
        name = f"{exchange.source}:{exchange.index}".encode()
        kind = (exchange.content_type or "application/json").encode()
        parts = self._replay.parts(exchange) if exchange.streamed else [exchange.body]
        draft = Draft(
            ask, reply, NOTHING, _UNSPOKEN, exchange.status, [(b"content-type", kind), (b"x-fake-replayed", name)],
            parts, exchange.streamed and bool(parts), 0, len(parts),
        )  # fmt: skip
        prepared = self._framed(draft)
        prepared.rule = "replay"
        return prepared


def _unspoken(ask: Ask, made: Answer) -> Any:
    raise BadRequest("this fault rewrites a generated answer, which this reply is not", hint="use another fault")


NOTHING = Answer("", [], [], "", "", "stop", None)
_UNSPOKEN = Speaker(_unspoken, _unspoken, CHAT.error, CHAT.stream_error, b"")
"""Stands where a reply is not generated: faults that would write it anew are refused."""


def _checked(read: Callable[[str], Reply], text: str) -> Reply:
    try:
        return read(text)
    except ConfigError as error:
        raise BadRequest(str(error), hint=error.hint) from None


def _headers(speaker: Speaker, kind: bytes, reply: Reply) -> Headers:
    headers: Headers = [(b"content-type", kind), (speaker.request_id, b"req_" + ID.encode())]
    if reply.headers:
        given = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in reply.headers.items()}
        headers = [(name, given.pop(name, value)) for name, value in headers] + list(given.items())
    return headers


def _guess(request: Request) -> Operation:
    """Whose error shape an unknown path gets: by the headers of the SDKs."""
    if b"anthropic-version" in request.headers:
        return "messages"
    return "generate" if b"x-goog-api-key" in request.headers else "chat"

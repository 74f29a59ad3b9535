"""What is looked for in requests, and what becomes of a request in which it was found.

The whole body is looked at, as one text (check/body.py), before it is decided who may answer: so every endpoint is
covered, those with fields that nobody here knows included. What comes of it:

    label     the request's label rises, and with it who may answer
    pseudonymise  the same, and whoever is not cleared for it gets placeholders (serve/safety/pseudonyms.py)
    own       owned models only
    redact    a mark stands in its place; the body is looked at once more, and refused if something is left
    ask       a person decides (approvals.py)
    block     refused
    allow     nothing

A detector that fails or runs out of time is a finding like any other (`detector_error`), by default one that makes the
request restricted: what was not looked at is not clean. In mode `monitor` all is counted and nothing done.

Nothing that was found is kept, logged or told, only its type. Large bodies are looked at in pieces that overlap, and
others get their turn between two pieces.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from freehold.admit.keys import Principal
from freehold.check import names
from freehold.check.body import decoded, text_of
from freehold.check.detect import Finding, Rules, scan
from freehold.check.detect.finding import ERROR
from freehold.check.stream import Policy, redact
from freehold.check.stream.toolcalls import ToolPolicy
from freehold.check.stream.values import mapped
from freehold.config.label_names import known_compartments
from freehold.config.schema import Config
from freehold.config.schema_checks import (
    EVERYDAY,
    OWNED,
    REPLACED,
    TYPES,
    UNCHECKED,
    CheckRules,
    RequestAction,
    StreamMode,
    spelled_out,
)
from freehold.config.schema_checks import Checks as Settings
from freehold.config.schema_tools import Tools
from freehold.dialects.multipart import Form, is_form, parse
from freehold.errors import BadRequest, ConfigError, PolicyError
from freehold.labels import Label
from freehold.labels.lattice import HIGHEST
from freehold.serve.exchange import Exchange

if TYPE_CHECKING:
    from freehold.serve.safety.guards import Owned

PIECE = 1 << 18
"""Characters that are looked at in one go: some milliseconds."""
OVERLAP = 20_480
"""The longest finding is a private key of 20,000 bytes."""
MOST_RULINGS = 1_000
BLOCKED = "content_blocked"
"""The code of errors about what is not let through, in requests and answers."""

Count = Callable[[str, str, str], None]
"""Takes direction, type and action: `record.metrics.Metrics.check`."""


class Ruling(Struct, frozen=True):
    """What holds for one key and one name."""

    monitor: bool
    request: dict[str, str]
    """The action by type, all types spelled out."""
    hides: Policy | None
    """What is redacted in requests."""
    answer: Policy | None
    """What is done in answers; None: they are not looked at."""
    private: frozenset[str] = frozenset()
    """Types that are pseudonymised."""
    tools: ToolPolicy | None = None
    """What tools may be called with; None: nothing is said of that."""


class Checked(Struct):
    """What came of looking at a request. `told` is `type=action` for each type, `found` the types that raised it."""

    ruling: Ruling
    label: Label | None = None
    rest: Label | None = None
    """The label without what is to be pseudonymised."""
    private: frozenset[str] = frozenset()
    """The types found that are."""
    home: bool = False
    """Owned models only."""
    told: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    changed: bool = False
    """The body was."""
    asked: tuple[str, ...] = ()
    """Types about which a person is asked; `waived` is the label that they make, which the person may waive."""
    waived: Label | None = None
    whole: Label | None = None
    """Where a person is asked: the request's label with all that was found and its conversation's mark."""
    kind: str = ""
    """Content-Type of the body, where it is a form."""
    values: dict[str, str] = {}
    """Names and addresses that an owned model has found, each with its type."""


class Checks:
    """The checks of one configuration. Making one takes some 70 ms; `compiled` keeps it. Raises ConfigError."""

    def __init__(self, settings: Settings, compartments: Iterable[str]) -> None:
        self._settings = settings
        self._compartments = frozenset(compartments)
        try:
            self.rules = Rules(
                {kind: label for kind, label in settings.labels.items() if kind not in OWNED},
                compartments=self._compartments,
                off=settings.skip,
                minimum=settings.minimum,
                trusted_hosts=settings.trusted_hosts,
            )
        except ValueError as error:
            raise ConfigError(f"checks: {error}") from error
        _known(self.rules, settings.skip)
        self._rulings: dict[tuple[str, str], Ruling | None] = {}
        self._usual = self._ruling()
        self._varies = bool(settings.keys or settings.routes)
        said: tuple[Settings | CheckRules, ...] = (settings, *settings.keys.values(), *settings.routes.values())
        self.lowers = any("pseudonymise" in one.request.values() for one in said)
        """Whether anybody's labels may be lowered."""

    def ruling(self, key: str, asked: str) -> Ruling | None:
        """What holds for requests of a key for a name; None: nothing is looked for."""
        if not self._varies:
            return self._usual
        pair = (key if key in self._settings.keys else "", asked if asked in self._settings.routes else "")
        if pair not in self._rulings:
            if len(self._rulings) >= MOST_RULINGS:
                self._rulings.clear()
            overrides = (self._settings.routes.get(pair[1]), self._settings.keys.get(pair[0]))
            self._rulings[pair] = self._ruling(*(one for one in overrides if one is not None))
        return self._rulings[pair]

    def _ruling(self, *overrides: CheckRules) -> Ruling | None:
        settings = self._settings
        mode, streams = settings.mode, settings.streams
        request: dict[str, RequestAction] = dict.fromkeys(TYPES, "label")
        request.update(dict.fromkeys((*EVERYDAY, UNCHECKED), "allow"))
        request.update({"harm": "block", "guard_error": "block", "person": "label", "address": "label"})
        request.update(spelled_out(settings.request))  # type: ignore[arg-type]
        answer = spelled_out(settings.answer)
        for one in overrides:
            mode, streams = one.mode or mode, one.streams or streams
            request.update(spelled_out(one.request))  # type: ignore[arg-type]
            answer.update(spelled_out(one.answer))
        if mode == "off":
            return None
        monitor = mode == "monitor"
        hidden = tuple(sorted(kind for kind, action in request.items() if action == "redact" and kind not in OWNED))
        hides = None if monitor or not hidden else self._policy(dict.fromkeys(hidden, "redact"), "strict")
        policy = self._policy(answer, "monitor" if monitor else streams) if answer else None
        private = frozenset(kind for kind, action in request.items() if action == "pseudonymise") & REPLACED
        tools = self._tools(monitor) if settings.tools != Tools() else None
        return Ruling(monitor, dict(request), hides, policy, frozenset() if monitor else private, tools)

    def _tools(self, monitor: bool) -> ToolPolicy:
        try:
            return ToolPolicy(self._settings.tools, self.rules, self._compartments, monitor=monitor)
        except ValueError as error:
            raise ConfigError(f"checks.tools: {error}") from error

    @cached_property
    def silent(self) -> Policy:
        """Looks for nothing: for answers of which only placeholders are to be replaced, or tools' calls judged."""
        return Policy(self.rules, {ERROR: "allow"}, report=False)

    def _policy(self, actions: dict[str, str], mode: StreamMode) -> Policy:
        return Policy(self.rules, actions, mode=mode, report=True)  # type: ignore[arg-type]

    async def request(
        self, exchange: Exchange, principal: Principal, asked: str, count: Count, owned: "Owned | None" = None
    ) -> Checked | None:
        """Looks at a request; None: nothing was found, and the answer need not be looked at. `exchange.body` is another
        one where something was redacted. `owned` is what asks owned models. Raises PolicyError for what is blocked."""
        ruling = self.ruling(principal.name, asked)
        if ruling is None:
            return None
        kind = exchange.content_type if b"multipart" in exchange.headers.get(b"content-type", b"").lower() else ""
        text, unread = text_of(exchange.body, kind)
        findings = scan(text, self.rules) if len(text) <= PIECE else await self._in_pieces(text)
        if owned is not None:
            findings += await owned(ruling.request, text, kind, findings)
        if not findings and not unread:
            return None if ruling.answer is None and ruling.tools is None else Checked(ruling)
        checked = self._judged(ruling, findings, unread, count)
        checked.kind = kind
        if owned is not None:
            checked.values = owned.values
        if not ruling.monitor and (found := _of(findings, ruling.request, "redact")):
            body = _without(exchange.body, kind, ruling, checked.values)
            if body is None or _of(await self._again(body, kind), ruling.request, "redact"):
                blocks = {kind: f"{kind}=block" for kind in found}
                told = (blocks.get(one.partition("=")[0], one) for one in checked.told)
                raise _blocked(found, "it could not be taken out of the request", told)
            exchange.body, checked.changed = body, True
        return checked

    def _judged(self, ruling: Ruling, findings: list[Finding], unread: bool, count: Count) -> Checked:
        labels: dict[str, Label] = {}
        for finding in findings:
            known = labels.get(finding.type)
            labels[finding.type] = finding.label if known is None else known | finding.label
        if unread:
            labels[UNCHECKED] = Label(HIGHEST)
        checked = Checked(ruling)
        told, blocked, raising, asked, private = [], [], [], [], []
        for kind, label in labels.items():
            action = ruling.request[kind]
            if action == "redact" and kind in (ERROR, UNCHECKED):
                action = "block"
            if kind in ruling.private:
                private.append(kind)
                checked.label = label if checked.label is None else checked.label | label
                continue
            count("request", kind, done(action, monitor=ruling.monitor))
            told.append(f"{kind}={action}")
            if ruling.monitor or action in ("allow", "redact"):
                continue
            if action == "block":
                blocked.append(kind)
            elif action == "own":
                checked.home = True
                raising.append(kind)
            elif action == "ask":
                checked.waived = label if checked.waived is None else checked.waived | label
                asked.append(kind)
            else:
                checked.label = label if checked.label is None else checked.label | label
                checked.rest = label if checked.rest is None else checked.rest | label
                raising.append(kind)
        if blocked:
            all_told = (*told, *(f"{kind}=label" for kind in private))
            raise _blocked(blocked, "what it holds is not let through here", all_told)
        checked.told, checked.found, checked.asked = tuple(told), (*raising, *private, *asked), tuple(asked)
        checked.private = frozenset(private)
        return checked

    async def _again(self, body: bytes, kind: str) -> list[Finding]:
        text, _ = text_of(body, kind)
        return scan(text, self.rules) if len(text) <= PIECE else await self._in_pieces(text)

    async def _in_pieces(self, text: str) -> list[Finding]:
        """Findings of a large text; their places are those in their pieces, which nobody asks for."""
        end = time.monotonic() + self._settings.seconds
        findings: list[Finding] = []
        for start in range(0, len(text), PIECE - OVERLAP):
            findings += scan(text[start : start + PIECE], self.rules)
            if start + PIECE >= len(text):
                break
            if time.monotonic() > end:
                findings.append(Finding(ERROR, 0, len(text), "time", 1.0, self.rules.labels[ERROR]))
                break
            await asyncio.sleep(0)
        return findings


def done(action: str, *, monitor: bool) -> str:
    """How an action is counted and written down: in monitor mode it was not taken."""
    return f"would {action}" if monitor and action != "allow" else action


def _of(findings: Iterable[Finding], actions: dict[str, str], action: str) -> list[str]:
    return sorted({finding.type for finding in findings if actions[finding.type] == action} - {ERROR})


def _blocked(kinds: Iterable[str], why: str, found: Iterable[str]) -> PolicyError:
    error = PolicyError(
        f"the request was blocked ({', '.join(kinds)}): {why}",
        status=400,
        code=BLOCKED,
        hint="take it out; checks in freehold.yaml says what is done about what",
    )
    error.found = ",".join(sorted(found))
    return error


def _without(body: bytes, content_type: str, ruling: Ruling, values: Mapping[str, str]) -> bytes | None:
    """The body without what is to be redacted, by whomever it was found; None where it cannot be taken out."""
    shown: bytes | None = body
    if ruling.hides is not None:
        shown = _hidden(body, content_type, ruling.hides)
    taken = {value: kind for value, kind in values.items() if ruling.request[kind] == "redact"}
    if shown is not None and taken:
        shown = names.replaced(shown, content_type, taken)
        if shown is not None and names.spans(taken, text_of(shown, content_type)[0]):
            return None
    return shown


def _hidden(body: bytes, content_type: str, policy: Policy) -> bytes | None:
    """The body with all that is to be redacted taken out of its texts, None where it cannot be."""
    if content_type and is_form(content_type):
        try:
            return _hidden_in_form(parse(body, content_type), content_type, policy)
        except BadRequest:
            return None
    value: Any = decoded(body)
    if value is None:
        return None
    try:
        return msgspec.json.encode(mapped(value, lambda text: redact(text, policy)[0]))
    except (RecursionError, msgspec.EncodeError, UnicodeEncodeError):
        return None


def _hidden_in_form(form: Form, content_type: str, policy: Policy) -> bytes:
    for name in [field.name for field in form.fields if field.filename is None]:
        shown = redact(form.text(name) or "", policy)[0]
        form = parse(form.replaced(name, shown), content_type)
    return form.body


def _known(rules: Rules, names: Iterable[str]) -> None:
    known = TYPES | {detector.name for detector in rules.detectors}
    unknown = sorted(set(names) - known)
    if unknown:
        raise ConfigError(
            f"checks.skip: there is no type or rule {unknown[0][:60]!r}", hint="freehold scan names rules"
        )


@lru_cache(8)
def _compiled(settings: bytes, compartments: frozenset[str]) -> Checks:
    return Checks(msgspec.json.decode(settings, type=Settings), compartments)


def compiled(config: Config) -> Checks:
    """Returns the checks of a configuration, the same object for the same rules. Raises ConfigError."""
    return _compiled(msgspec.json.encode(config.checks), known_compartments(config))

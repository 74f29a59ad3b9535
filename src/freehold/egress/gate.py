"""What the egress process allows: a ticket, held against its own copy of the configuration.

The ticket's signature says that a worker wrote it, and no more: a worker may have a bug, or be somebody else's by now.
So everything that can be known here is asked here again: that the host is the provider's own, that the path is one of
those the provider is called by, that the label may flow there, that the configuration which allowed it is in force.
Credentials of the inside are placeholders; they are taken off, with whatever would change how the message ends, and
the real ones are added last.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Final

from msgspec import Struct

from freehold.call import models
from freehold.call.auth import Auth
from freehold.call.clouds import Signing
from freehold.call.providers import Endpoint, elsewhere
from freehold.call.transport import Origin
from freehold.call.transport.ticket import Refusal, Ticket
from freehold.config.regions import served_in
from freehold.config.schema import Config
from freehold.labels import Kind, Label, may_flow
from freehold.labels.lattice import Clearance
from freehold.labels.rules import Rules, today

MOST_KNOWN: Final = 5000
"""Clearances of deployments that are remembered: names come from strangers."""
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING: Final = frozenset(
    {
        b"host", b"connection", b"content-length", b"transfer-encoding", b"te", b"upgrade", b"trailer", b"keep-alive",
        b"expect", b"proxy-authorization",
    }
)  # fmt: skip
_SECRETS: Final = frozenset(
    {b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie", b"x-amz-security-token"}
)
_AWAY: Final = (":cloud", "-cloud")
"""Ollama's models that its server passes on to ollama.com (serve/catalog.py)."""
_KEPT: Final = r"/[A-Za-z0-9_.%~-]+(?:/input_items|/cancel)?(?:\?[^\s#]*)?"
"""What comes behind the path of the Responses API where a kept one is read (serve/kept_paths.py)."""


class Refused(Exception):  # not an error of ours: the answer to a request that is not sent
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def refuse(message: str, code: str = "egress_refused", hint: str | None = None, *, again: bool = False) -> Refused:
    """A refusal that is nobody's at the provider: a rule of this gateway, or its own mistake."""
    return Refused(
        Refusal("PolicyError", f"the egress process refuses this: {message}", code, 403, "no", hint, None, again)
    )


class Door(Struct, frozen=True):
    """One provider, as the egress process reaches it."""

    endpoint: Endpoint
    origin: Origin
    authority: str
    lines: bytes
    """Header lines with what is secret in them."""
    dropped: frozenset[bytes]
    """Lower-case names of the header lines that a worker may not set."""
    names: dict[bytes, bool]
    """Names of header lines as they were met, and whether they may stay."""
    paths: re.Pattern[str]
    kept: re.Pattern[str] | None

    @property
    def signing(self) -> Signing | None:
        return self.endpoint.signs


class Permit(Struct, frozen=True):
    """A request that may go: through which door, under which ticket, with which header lines besides the door's."""

    door: Door
    ticket: Ticket
    lines: bytes

    def head(self, auth: Auth | None, body: bytes, now: float) -> bytes:
        """Returns request line and header lines, complete. `now`: Unix time, for signatures."""
        ticket, door = self.ticket, self.door
        proof = b""
        if auth is not None:
            path, _, query = ticket.path.partition("?")
            covered = [(b"content-type", _content_type(self.lines))]
            signed = auth.sign(ticket.method, door.authority, path, query, covered, body, now)
            proof = b"".join(b"%b: %b\r\n" % line for line in signed)
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%bcontent-length: %d\r\n\r\n" % (
            ticket.method.encode(), ticket.path.encode(), door.authority.encode(), self.lines, door.lines, proof,
            len(body),
        )  # fmt: skip


class Gate:
    """The rules of one configuration. `versions` are those that workers may still act under."""

    def __init__(
        self,
        config: Config,
        endpoints: Mapping[str, Endpoint],
        versions: frozenset[str],
        today: Callable[[], date] = today,
    ) -> None:
        self.versions = versions
        self.fetches = config.fetch_urls
        self._rules = Rules(config, today, elsewhere(config, endpoints))
        self._doors = {name: _door(one) for name, one in endpoints.items() if one.unavailable is None}
        self._labels: dict[str, Label] = {}
        self._clearances: dict[tuple[str, str], Clearance] = {}
        self._today = today
        self._day = today()

    def permit(self, ticket: Ticket, head: bytes) -> Permit:
        """Returns what may be sent. Raises Refused."""
        self._policy(ticket)
        door = self._doors.get(ticket.provider)
        if door is None:
            raise refuse(
                f"{ticket.provider[:60]!r} is no provider of its configuration, or has no key here",
                hint="freehold doctor names what is missing",
            )
        if ticket.host != door.authority:
            raise refuse(f"{ticket.host[:100]!r} is not the host of {ticket.provider}")
        if ticket.kind == "call":
            if ticket.method != "POST" or door.paths.fullmatch(ticket.path) is None:
                raise refuse(f"{ticket.provider} is not called by {ticket.method[:10]} {ticket.path[:100]!r}")
            self._flows(ticket, door)
        elif ticket.kind == "ask":
            if ticket.size or door.kept is None or door.kept.fullmatch(ticket.path) is None:
                raise refuse(f"a request without a label may not go to {ticket.path[:100]!r}")
            if ticket.method not in ("GET", "DELETE", "POST"):
                raise refuse(f"{ticket.method[:10]!r} is not asked of a provider")
        else:
            raise refuse("a fetch has no provider")
        return Permit(door, ticket, _lines(head, door))

    def fetch(self, ticket: Ticket) -> None:
        """Asks whether what a URL points at may be fetched. Raises Refused."""
        self._policy(ticket)
        if not self.fetches:
            raise refuse("no URLs are fetched here (fetch_urls: false)", hint="send the data itself")
        why = self._rules.barred(self._label(ticket.label), Kind.FETCH)
        if why is not None:
            raise refuse(why, "egress_label", "send the data itself")

    def _policy(self, ticket: Ticket) -> None:
        if ticket.policy not in self.versions:
            raise Refused(
                Refusal(
                    "InternalError",
                    f"the configuration {ticket.policy[:20]!r} is not in force at the egress process",
                    "egress_version", 503, "same", "send the request again in a moment", 1.0,
                )
            )  # fmt: skip

    def _flows(self, ticket: Ticket, door: Door) -> None:
        """Asks `may_flow` again."""
        label, endpoint = self._label(ticket.label), door.endpoint
        _, _, model = ticket.deployment.partition("/")
        day = self._today()
        if day != self._day or len(self._clearances) > MOST_KNOWN:
            self._day = day  # providers' terms are judged by the day
            self._clearances.clear()
        known = (endpoint.name, model)
        clearance = self._clearances.get(known)
        if clearance is None:
            declared = models.facts(endpoint.name, model, endpoint.models.get(model))
            owned = endpoint.owned and not (endpoint.row.local and model.endswith(_AWAY))
            region = declared.region or served_in(endpoint.region, model)
            clearance = self._clearances[known] = self._rules.clearance(endpoint.name, owned, region)
        why = may_flow(label, clearance)
        if why is not None:
            raise refuse(why, "egress_label", "ask an owned model, or clear the provider for it (cleared)")

    def _label(self, text: str) -> Label:
        label = self._labels.get(text)
        if label is None:
            if not text:
                raise refuse("what it carries has no label", "egress_label")
            try:
                label = self._rules.parse(text)
            except ValueError as error:
                raise refuse(f"its label is none: {error}", "egress_label") from error
            if len(self._labels) > MOST_KNOWN:
                self._labels.clear()
            self._labels[text] = label
        return label


def _door(endpoint: Endpoint) -> Door:
    origin = Origin.parse(endpoint.base_url)
    secret = [*([endpoint.auth] if endpoint.auth else []), *endpoint.headers]
    paths = [re.escape(origin.prefix + path).replace(r"\{model\}", r"[^\s?#]+") for path in endpoint.paths.values()]
    kept = endpoint.paths.get("responses")
    return Door(
        endpoint,
        origin,
        origin.authority,
        b"".join(b"%b: %b\r\n" % line for line in secret),
        _FRAMING | _SECRETS | {name.lower() for name, _ in secret},
        {},
        re.compile("|".join(paths) or "(?!)"),
        re.compile(re.escape(origin.prefix + kept) + _KEPT) if kept is not None else None,
    )


def _lines(head: bytes, door: Door) -> bytes:
    """Returns the header lines that may go on. Raises Refused for what is no header line."""
    ends = head.count(b"\r\n")
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise refuse("it has a broken header line")
    kept = []
    names = door.names
    for line in head.split(b"\r\n"):
        if line:
            name, colon, _ = line.partition(b":")
            keep = names.get(name)
            if not colon or (keep is None and _NAME.fullmatch(name) is None):
                raise refuse("it has a broken header line")
            if keep is None:
                keep = name.lower() not in door.dropped
                if len(names) < MOST_KNOWN:
                    names[name] = keep
            if keep:
                kept.append(line)
    return b"\r\n".join(kept) + b"\r\n" if kept else b""


def _content_type(lines: bytes) -> bytes:
    for line in lines.split(b"\r\n"):
        if line[:13].lower() == b"content-type:":
            return line[13:].strip()
    return b"application/json"

"""One deployment, ready to be called: its connections, its request heads, what its model is like.

Built once per configuration; a call adds only its body and id.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import msgspec

from freehold.call.auth.base import Auth
from freehold.call.breaker import Breaker
from freehold.call.fetch_url import UrlLimits
from freehold.call.transport import Flight, Hold, Pool, request_head
from freehold.call.watch import Watch
from freehold.config.schema import Timeouts
from freehold.decide.catalog import Deployment
from freehold.dialects.traits import Traits
from freehold.errors import BadRequest

Headers = Sequence[tuple[bytes, bytes]]
Assist = Callable[[bytes, Collection[str]], "tuple[bytes, Callable[[], Any] | None] | None"]
"""Takes a body and what an engine can do; returns another body and what makes the answer's Rewriter (rewritten.py)."""
Heard = Callable[[int, Headers], None]


class Address(NamedTuple):
    """Where and how an endpoint is reached: `paths` by dialect and operation, `headers` with a fixed key in them."""

    pool: Pool
    paths: dict[str, str]
    headers: Headers
    dialect: str = "chat"
    """What most models there are spoken to in."""
    separate: bool = False
    """Whether each model there is spoken to in its own dialect only."""


class EngineLife(Hold, Protocol):
    """One life of an owned engine: where it is now, and what requests for each name it serves must hold."""

    @property
    def address(self) -> Address: ...

    @property
    def fields(self) -> Mapping[str, Mapping[str, Any]]: ...

    @property
    def can(self) -> Collection[str]: ...


class EngineGate(Protocol):
    """The way to an owned engine, which may be closed for a while. `name` is the engine's; it may serve others too."""

    name: str

    @property
    def hopeless(self) -> str | None:
        """Why it is pointless to wait while it is closed; None where it is open or may open."""

    @property
    def free(self) -> bool:
        """Whether a request would go through without waiting."""

    def enter(self, flight: Flight) -> EngineLife | None:
        """Lets a request through if it need not wait; it leaves with `flight.let_go`."""

    async def wait(self, flight: Flight, end: float) -> EngineLife:
        """Waits for a turn until `end`, loop time in seconds. Raises EngineError."""


class Target:
    """Everything an attempt needs to know of a deployment."""

    __slots__ = (
        "_address",
        "_fields",
        "_heads",
        "_life",
        "_safe",
        "added",
        "assist",
        "auth",
        "breaker",
        "callers_fault",
        "can",
        "cleared",
        "deployment",
        "dialect",
        "engine",
        "fetch",
        "guard",
        "heard",
        "model",
        "name",
        "pool",
        "rewrite",
        "said",
        "sink",
        "timeouts",
        "traits",
        "watch",
    )

    def __init__(
        self,
        deployment: Deployment,
        address: Address,
        traits: Traits,
        timeouts: Timeouts,
        watch: Watch | Breaker,
        guard: Callable[[bytes], None] | None = None,
        callers_fault: Callable[[bytes], bool] | None = None,
        auth: Auth | None = None,
        rewrite: Callable[..., bytes] | None = None,
        fetch: UrlLimits | None = None,
        engine: EngineGate | None = None,
        assist: Assist | None = None,
    ) -> None:
        """`watch` is kept for as long as the deployment, over configurations; a breaker alone gets a watch of its own.
        `guard` raises BadRequest for a body that this upstream must never see; `callers_fault` tells from the body
        of a 500 that the request was to blame after all; `auth` answers for each request; `rewrite` is a cloud's
        envelope around a conversation, with `count=True` around one to be counted; `fetch` says how URLs
        are fetched for it if it takes bytes only, None: not at all. `engine` is the gate of an owned engine, whose
        address is only known while it is loaded: see `follow`. `assist` does what an engine does not by itself."""
        self.engine = engine
        self.added = b""
        """Members that each request's JSON object must hold besides its own."""
        self.assist = assist
        self.can: Collection[str] = ()
        """What the engine can do, as far as it has said."""
        self._life: EngineLife | None = None
        self._fields: Mapping[str, Any] | None = None
        self.auth = auth
        self.rewrite = rewrite
        self.fetch = fetch
        self.deployment = deployment
        self.name = deployment.name
        self.model = deployment.model
        self.dialect = deployment.dialect
        self.traits = traits
        self.timeouts = timeouts
        self.watch = watch if isinstance(watch, Watch) else Watch(watch, owned=engine is not None)
        self.breaker = self.watch.breaker
        self.heard: Heard | None = None
        """Is told status and header fields of every answer, such as what is left of a rate limit."""
        self.pool = address.pool
        self._address = address
        self.guard = guard
        self.callers_fault = callers_fault
        self.said: dict[str, bytes] = {}
        """Header lines that name this deployment to clients, by the reason it was chosen for."""
        self.sink: Any = None
        """What receipts say of the place; serve/outward.py fills it in, and asks for nothing else of it."""
        self.cleared: set[Any] = set()
        """Labels of which it was asked whether they may flow there, and may (serve/outward.py)."""
        # Amazon's signature wants a model's id as one segment; others take names with slashes as they are.
        self._safe = "" if deployment.dialect == "converse" else "/:@-._~"
        self._heads: dict[tuple[str, bool], bytes] = {}

    def follow(self, life: EngineLife) -> None:
        """From now on requests go to this life of the engine, which has an address and a key of its own."""
        if life is self._life and life.fields is self._fields:
            return
        if life is not self._life:
            self.breaker.succeed()  # what was held against the one before is no fault of this one
        self._life, self._fields, self.can = life, life.fields, life.can
        self._address = life.address
        self.pool = life.address.pool
        self.sink = None
        self._heads = {}
        gate = self.engine
        fields = dict(life.fields.get(self.deployment.model) or (life.fields.get(gate.name) if gate else None) or {})
        named = fields.get("model")
        if named is not None:  # null stays: to `transformers serve` it means the model that it has
            del fields["model"]
        self.model = str(named or self.deployment.model)
        self.added = msgspec.json.encode(fields)[1:-1] if fields else b""

    def filled(self, body: bytes) -> bytes:
        """`body`, a JSON object, with what this engine must be told besides. The last of two members counts."""
        end = body.rstrip()
        if not self.added or not end.endswith(b"}"):
            return body
        comma = b"" if end[:-1].rstrip().endswith(b"{") else b","
        return b"%b%b%b}" % (end[:-1], comma, self.added)

    def speaks(self, client: str) -> bool:
        """Whether a client's bytes may pass through: same dialect, and the endpoint has that path."""
        if client == self.dialect:
            return True
        address = self._address
        # A model that is spoken to in another language than its neighbours is not there in the others.
        return self.dialect == address.dialect and client in address.paths and not address.separate

    @property
    def counter(self) -> str | None:
        """The operation that counts tokens in this model's dialect; None where the provider has none."""
        address = self._address
        own = self.dialect + "_count"
        if own in address.paths:
            return own
        return "count" if "count" in address.paths and self.dialect == address.dialect else None

    def head(self, operation: str, stream: bool, extra: Headers | None = None) -> bytes:
        """Returns the request head, without length. `operation` is a dialect, for conversations, or what else is asked.

        `extra` headers replace those of the same name.

        Raises BadRequest when the provider has no such operation.
        """
        if extra:
            return self._build(operation, stream, extra)
        key = (operation, stream)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._build(operation, stream, ())
        return head

    def _build(self, operation: str, stream: bool, extra: Headers) -> bytes:
        paths = self._address.paths
        path = (paths.get(operation + "_stream") if stream else None) or paths.get(operation)
        if path is None:
            raise BadRequest(f"{self.name} has no {operation} endpoint", hint="ask another model", param="model")
        origin = self.pool.origin
        replaced = {header.lower() for header, _ in extra}
        headers = [(header, value) for header, value in self._address.headers if header.lower() not in replaced]
        return request_head(
            "POST",
            origin.authority,
            origin.prefix + path.replace("{model}", _quoted(self.model, self._safe)),
            [*headers, *extra, (b"content-type", b"application/json"), (b"accept-encoding", b"identity")],
        )

    async def signed(self, head: bytes, body: bytes, flight: Flight) -> bytes:
        """`head` with what proves who sends it. Raises ProviderError when there are no credentials to be had."""
        auth = self.auth
        if auth is None:
            return head
        now = time.time()
        if not auth.ready(now):
            await flight.wait(asyncio.ensure_future(auth.refresh(now)))
        method, path, _ = head.split(b" ", 2)
        path, _, query = path.partition(b"?")
        authority = self.pool.origin.authority
        covered = [(b"content-type", b"application/json")]
        lines = auth.sign(method.decode(), authority, path.decode(), query.decode(), covered, body, now)
        return head + b"".join(b"%b: %b\r\n" % line for line in lines)


def _quoted(model: str, safe: str) -> str:
    return quote(model, safe=safe) if model.strip(".") else model.replace(".", "%2E")

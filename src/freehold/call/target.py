"""One deployment, ready to be called: its connections, its request heads, what its model is like.

Built once per configuration; a call adds only its body and id.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from freehold.call.breaker import Breaker
from freehold.call.transport import Pool, request_head
from freehold.config.schema import Timeouts
from freehold.decide.catalog import Deployment
from freehold.dialects.traits import Traits
from freehold.errors import BadRequest

Headers = Sequence[tuple[bytes, bytes]]


class Address(NamedTuple):
    """Where and how an endpoint is reached: `paths` by operation, `headers` with the credentials in them."""

    pool: Pool
    paths: dict[str, str]
    headers: Headers


class Target:
    """Everything an attempt needs to know of a deployment."""

    __slots__ = (
        "_address",
        "_heads",
        "breaker",
        "callers_fault",
        "deployment",
        "dialect",
        "guard",
        "model",
        "name",
        "pool",
        "said",
        "timeouts",
        "traits",
    )

    def __init__(
        self,
        deployment: Deployment,
        address: Address,
        traits: Traits,
        timeouts: Timeouts,
        breaker: Breaker,
        guard: Callable[[bytes], None] | None = None,
        callers_fault: Callable[[bytes], bool] | None = None,
    ) -> None:
        """`guard` raises BadRequest for a body that this upstream must never see; `callers_fault` tells from the body
        of a 500 that the request was to blame after all."""
        self.deployment = deployment
        self.name = deployment.name
        self.model = deployment.model
        self.dialect = deployment.dialect
        self.traits = traits
        self.timeouts = timeouts
        self.breaker = breaker
        self.pool = address.pool
        self._address = address
        self.guard = guard
        self.callers_fault = callers_fault
        self.said: dict[str, bytes] = {}
        """Header lines that name this deployment to clients, by the reason it was chosen for."""
        self._heads: dict[tuple[str, bool], bytes] = {}

    def speaks(self, client: str) -> bool:
        """Whether a client's bytes may pass through: same dialect, and the endpoint has that path."""
        if client == self.dialect:
            return True
        return client == "completions" and self.dialect == "chat" and "completions" in self._address.paths

    def counts(self) -> bool:
        """Whether the provider itself can count tokens."""
        return "count" in self._address.paths

    def head(self, operation: str, stream: bool, extra: Headers | None = None) -> bytes:
        """Returns the request head for an operation, without length. `extra` headers replace those of the same name.

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
        name = "chat" if operation == "messages" else operation
        path = (paths.get("stream") if stream else None) or paths.get(name)
        if path is None:
            raise BadRequest(f"{self.name} has no {operation} endpoint", hint="ask another model", param="model")
        origin = self.pool.origin
        replaced = {header.lower() for header, _ in extra}
        headers = [(header, value) for header, value in self._address.headers if header.lower() not in replaced]
        return request_head(
            "POST",
            origin.authority,
            origin.prefix + path.replace("{model}", _quoted(self.model)),
            [*headers, *extra, (b"content-type", b"application/json"), (b"accept-encoding", b"identity")],
        )


def _quoted(model: str) -> str:
    from urllib.parse import quote

    return quote(model, safe="/:@-._~")

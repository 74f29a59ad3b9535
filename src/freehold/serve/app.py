"""The ASGI application: paths to endpoints, and the last place where an error becomes an answer.

The paths that models answer are one dictionary look-up; everything else goes to the control application (control.py).
Paths come from the ASGI scope, never from a URL that a Host header could have shaped.
"""

import asyncio
import sys
import traceback

from freehold.errors import FreeholdError, InternalError, MethodNotAllowed
from freehold.serve.answer import send_error
from freehold.serve.control import Control
from freehold.serve.gateway import Gateway
from freehold.serve.pipeline import Endpoint, respond
from freehold.serve.snapshot import Receive, Scope, Send, Snapshot, new_request_id

_ENDPOINTS = {
    "/chat/completions": Endpoint("chat", "talk"),
    "/completions": Endpoint("completions", "talk", "completions"),
    "/embeddings": Endpoint("embeddings", "embed", "embeddings"),
    "/messages": Endpoint("messages", "talk"),
    "/messages/count_tokens": Endpoint("messages", "count"),
}
PATHS = {prefix + path: endpoint for path, endpoint in _ENDPOINTS.items() for prefix in ("/v1", "", "/v1/v1")}
"""With and without /v1, and doubled: SDKs differ in whether they add it to the base URL."""


class App:
    """One worker's application. `gateway` is replaced as a whole when the configuration changes."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.draining = False
        self._control = Control(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        endpoint = PATHS.get(scope["path"])
        if endpoint is None:
            await self._control(scope, receive, send)
            return
        gateway = self.gateway
        snapshot = Snapshot(scope, receive, send, new_request_id(), gateway.now())
        try:
            if scope["method"] != "POST":
                raise MethodNotAllowed(f"{scope['path']} takes POST, not {scope['method']}")
            await respond(gateway, endpoint, snapshot)
        except FreeholdError as error:
            await self._fail(snapshot, endpoint, error)
        except asyncio.CancelledError:
            stopped = InternalError("this gateway was stopped", hint="send it again", status=503, code="shutdown")
            await self._fail(snapshot, endpoint, stopped)
        except Exception as error:
            report(error, snapshot.request_id)
            await self._fail(
                snapshot,
                endpoint,
                InternalError(
                    "this gateway failed on the request", hint="its log has the details under this request id"
                ),
            )

    async def _fail(self, snapshot: Snapshot, endpoint: Endpoint, error: FreeholdError) -> None:
        self.gateway.metrics.observe(("unknown", "unknown", endpoint.client, str(error.status)), 0, 0, 0, None)
        if error.status != 499:
            await send_error(snapshot, endpoint.client, error)


def report(error: BaseException, request_id: str) -> None:
    """Writes a bug of ours to stderr: where it happened, without the values that were handled there."""
    frames = "".join(traceback.format_tb(error.__traceback__)[-8:])
    sys.stderr.write(f"freehold: internal error in {request_id}: {type(error).__name__}\n{frames}")
    sys.stderr.flush()

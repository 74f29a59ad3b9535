"""Everything that is not a model's answer: lists, health, metrics, the status page. Off the hot path: Starlette.

Health is open, because load balancers have no key; it says ready or not and nothing else. The rest asks for a key,
as a bearer token or, for a browser, as the password of HTTP Basic. No address is trusted for being local.
"""

import base64
import binascii
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from freehold import __version__
from freehold.admit.keys import Principal
from freehold.dialects import chat, gemini, messages, ollama
from freehold.errors import FreeholdError, MethodNotAllowed, NotFound, Unauthorized
from freehold.serve.exchange import new_request_id
from freehold.serve.feedback import Feedback
from freehold.serve.gateway import Gateway
from freehold.serve.kept_paths import KeptPaths
from freehold.serve.lists import Lists
from freehold.serve.safety.approval_paths import ApprovalPaths

if TYPE_CHECKING:
    from freehold.serve.app import App


class Control:
    """A Starlette application over the gateway that is in force when a request comes."""

    def __init__(self, app: "App") -> None:
        self._app = app
        routes = [
            Route("/", self.root, methods=["GET", "HEAD"]),
            Route("/health/live", self.live),
            Route("/health/ready", self.ready),
            Route("/metrics", self.metrics),
            Route("/status", self.status),
        ]
        kept = KeptPaths(self)
        routes += Lists(self).routes()
        routes += Feedback(self).routes()
        routes += ApprovalPaths(self).routes()
        for prefix in ("/v1", "", "/v1/v1"):
            routes += kept.routes(prefix)
        self._starlette = Starlette(
            routes=routes,
            exception_handlers={FreeholdError: _render, 404: _not_found, 405: _not_allowed},  # type: ignore[dict-item]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._starlette(scope, receive, send)

    @property
    def gateway(self) -> Gateway:
        """The one in force."""
        return self._app.gateway

    async def root(self, request: Request) -> Response:
        """Clients probe it before they begin (HEAD /); people are shown the way."""
        return Response("Freehold. Status: /status, models: /v1/models\n", media_type="text/plain")

    async def live(self, request: Request) -> Response:
        return _json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        if self._app.draining:
            return _json({"status": "draining"}, 503)
        return _json({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        self.principal(request)
        page = self._app.gateway.metrics_page()
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def status(self, request: Request) -> Response:
        self.principal(request)
        from jinja2 import Environment, PackageLoader

        environment = Environment(loader=PackageLoader("freehold.serve"), autoescape=True)
        page = environment.get_template("status.html").render(version=__version__, **self._app.gateway.status())
        return HTMLResponse(page, headers={"cache-control": "no-store", "content-security-policy": _CSP})

    def principal(self, request: Request) -> Principal:
        """Raises Unauthorized."""
        keyring = self._app.gateway.keyring
        headers = dict(request.scope["headers"])
        scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"basic":
            try:
                _, _, password = base64.b64decode(value, validate=True).partition(b":")
            except binascii.Error as error:
                raise Unauthorized("the Authorization header cannot be read") from error
            return keyring.identify(password)
        return keyring.authenticate(headers)


_CSP = "default-src 'none'; style-src 'unsafe-inline'"


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _render(request: Request, error: FreeholdError) -> Response:
    request_id = new_request_id()
    language = _language(request)
    headers = {"x-request-id": request_id}
    if error.status == 401:
        headers["www-authenticate"] = 'Basic realm="Freehold: any user, the key as password"'
    body = language.write_error(error, request_id)
    return Response(body, error.status, headers, media_type="application/json")


def _language(request: Request) -> ModuleType:
    """Whose error form a client on this path reads."""
    path = request.scope["path"]
    if path.startswith("/v1beta/") or "x-goog-api-key" in request.headers:
        return gemini
    if path.startswith("/api/"):
        return ollama
    return messages if b"anthropic-version" in dict(request.scope["headers"]) else chat


def _not_found(request: Request, error: Exception) -> Response:
    return _render(
        request,
        NotFound(f"there is nothing at {request.scope['path']}", hint="check the base URL; models answer under /v1"),
    )


def _not_allowed(request: Request, error: Exception) -> Response:
    return _render(request, MethodNotAllowed(f"{request.scope['path']} does not take {request.scope['method']}"))

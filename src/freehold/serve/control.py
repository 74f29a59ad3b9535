"""Everything that is not a model's answer: models, health, metrics, the status page. Off the hot path: Starlette.

Health is open, because load balancers have no key; it says ready or not and nothing else. The rest asks for a key,
as a bearer token or, for a browser, as the password of HTTP Basic. No address is trusted for being local.
"""

import base64
import binascii
import time
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from freehold import __version__
from freehold.admit.keys import Principal
from freehold.dialects import chat, messages
from freehold.errors import FreeholdError, MethodNotAllowed, NotFound, Unauthorized
from freehold.serve.exchange import new_request_id

if TYPE_CHECKING:
    from freehold.serve.app import App

_STARTED = int(time.time())


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
        for prefix in ("/v1", "", "/v1/v1"):
            routes.append(Route(prefix + "/models", self.models))
            routes.append(Route(prefix + "/models/{name:path}", self.model))
        self._starlette = Starlette(
            routes=routes,
            exception_handlers={FreeholdError: _render, 404: _not_found, 405: _not_allowed},  # type: ignore[dict-item]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._starlette(scope, receive, send)

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
        self._principal(request)
        page = self._app.gateway.metrics_page()
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self, request: Request) -> Response:
        """One shape that both the OpenAI and the Anthropic SDK read as their own."""
        principal = self._principal(request)
        data = [self._describe(name) for name in self._app.gateway.catalog.names() if principal.may_ask(name)]
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return _json({"object": "list", "data": data, "has_more": False, **ends})

    async def model(self, request: Request) -> Response:
        principal = self._principal(request)
        name = request.path_params["name"]
        if not principal.may_ask(name) or self._app.gateway.catalog.find(name) is None:
            raise NotFound(
                f"there is no model {name!r} here", hint="GET /v1/models", code="model_not_found", param="model"
            )
        return _json(self._describe(name))

    def _describe(self, name: str) -> dict[str, object]:
        choice = self._app.gateway.catalog.find(name)
        members = choice.members if choice else ()
        provider = members[0].provider if len(members) == 1 else "freehold"
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_STARTED))
        described: dict[str, object] = {
            "id": name,
            "object": "model",
            "type": "model",
            "display_name": name,
            "created": _STARTED,
            "created_at": created,
            "owned_by": provider,
        }
        if len(members) != 1:
            return {**described, "deployments": [member.name for member in members]}
        (member,) = members
        return {
            **described,
            "context_length": member.context,
            "owned": member.owned,
            "capabilities": sorted(member.can) if member.can is not None else None,
            "pricing": {"input": member.input_price, "output": member.output_price},
            "state": self._app.gateway.health(member) or "ready",
        }

    async def status(self, request: Request) -> Response:
        self._principal(request)
        from jinja2 import Environment, PackageLoader

        environment = Environment(loader=PackageLoader("freehold.serve"), autoescape=True)
        page = environment.get_template("status.html").render(version=__version__, **self._app.gateway.status())
        return HTMLResponse(page, headers={"cache-control": "no-store", "content-security-policy": _CSP})

    def _principal(self, request: Request) -> Principal:
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
    language = messages if b"anthropic-version" in dict(request.scope["headers"]) else chat
    headers = {"x-request-id": request_id}
    if error.status == 401:
        headers["www-authenticate"] = 'Basic realm="Freehold: any user, the key as password"'
    body = language.write_error(error, request_id)
    return Response(body, error.status, headers, media_type="application/json")


def _not_found(request: Request, error: Exception) -> Response:
    return _render(
        request,
        NotFound(f"there is nothing at {request.scope['path']}", hint="check the base URL; models answer under /v1"),
    )


def _not_allowed(request: Request, error: Exception) -> Response:
    return _render(request, MethodNotAllowed(f"{request.scope['path']} does not take {request.scope['method']}"))

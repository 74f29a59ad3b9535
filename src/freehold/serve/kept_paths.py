"""`/v1/responses/{id}` and below: a kept response read, listed and deleted, in OpenAI's form.

What a provider keeps for us is asked of that provider, by the key's own responses only (see kept.py).
Source of the format: https://platform.openai.com/docs/api-reference/responses
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from freehold.admit.keys import Principal
from freehold.call.transport.fetch import fetch
from freehold.dialects import responses
from freehold.errors import BadRequest, Forbidden, NotFound
from freehold.labels import Label, may_flow
from freehold.labels.rules import HEADER, written
from freehold.record.receipts.sent import Sink
from freehold.record.responses import Kept
from freehold.serve.exchange import new_request_id
from freehold.serve.gateway import Gateway
from freehold.serve.outward import Source, outward

if TYPE_CHECKING:
    from freehold.serve.control import Control

MOST_LISTED = 100


class KeptPaths:
    """The routes, for the control application."""

    def __init__(self, control: "Control") -> None:
        self._control = control

    def routes(self, prefix: str) -> list[Route]:
        base = prefix + "/responses/{identity}"
        return [
            Route(base, self.read, methods=["GET"]),
            Route(base, self.delete, methods=["DELETE"]),
            Route(base + "/input_items", self.items, methods=["GET"]),
            Route(base + "/cancel", self.cancel, methods=["POST"]),
        ]

    async def read(self, request: Request) -> Response:
        gateway, principal, kept = await self._find(request)
        if kept.response is None:
            return await _ask(gateway, principal, kept, "GET", "", request)
        if request.query_params.get("stream") == "true":
            raise BadRequest("a kept response is not streamed again", hint="leave out stream", param="stream")
        return _json(kept.response)

    async def delete(self, request: Request) -> Response:
        gateway, principal, kept = await self._find(request)
        if kept.response is None:
            await _ask(gateway, principal, kept, "DELETE", "")
        await gateway.kept.delete(principal, kept.id)
        return _json({"id": kept.id, "object": "response", "deleted": True})

    async def items(self, request: Request) -> Response:
        """The request's own items, newest first unless `order=asc`, a page at a time."""
        gateway, principal, kept = await self._find(request)
        if kept.input is None:
            return await _ask(gateway, principal, kept, "GET", "/input_items", request)
        query = request.query_params
        items = kept.input if query.get("order") == "asc" else kept.input[::-1]
        if (after := query.get("after")) is not None:
            places = [place for place, item in enumerate(items) if item.get("id") == after]
            if not places:
                raise BadRequest(f"No item with id '{after}' in this response.", param="after")
            items = items[places[0] + 1 :]
        page = items[: _limit(query.get("limit"))]
        return _json(
            {
                "object": "list",
                "data": page,
                "first_id": page[0]["id"] if page else None,
                "last_id": page[-1]["id"] if page else None,
                "has_more": len(items) > len(page),
            }
        )

    async def cancel(self, request: Request) -> Response:
        gateway, principal, kept = await self._find(request)
        if kept.response is None:
            return await _ask(gateway, principal, kept, "POST", "/cancel")
        raise BadRequest(
            "Only responses made with background: true can be cancelled.", hint="this one is complete", param="id"
        )

    async def _find(self, request: Request) -> tuple[Gateway, Principal, Kept]:
        principal = self._control.principal(request)
        gateway = self._control.gateway
        return gateway, principal, await gateway.kept.find(principal, request.path_params["identity"])


async def _ask(
    gateway: Gateway, principal: Principal, kept: Kept, method: str, below: str, request: Request | None = None
) -> Response:
    """Lets the provider that keeps the response answer. `request` is the client's, where its query goes along.

    The id is the provider's own, so it tells it nothing; a query is the client's, and goes under the label that the
    client's requests have. Raises NotFound when the provider is not configured any more, Forbidden where the query may
    not go there.
    """
    provider = kept.deployment.partition("/")[0]
    endpoint = gateway.endpoints.get(provider)
    if endpoint is None or endpoint.unavailable is not None or "responses" not in endpoint.paths:
        raise NotFound(f"{provider}, which keeps this response, is not configured any more", param="response_id")
    query = request.url.query if request is not None else ""
    label = _label(gateway, principal, request) if request is not None and query else Label()
    rules = gateway.rulebook.rules
    place = rules.clearance(endpoint.name, endpoint.owned, endpoint.region)
    if (barred := may_flow(label, place)) is not None:
        raise Forbidden(f"{provider} keeps this response, and {barred}", hint="leave the query out", code="label")
    path = f"{endpoint.paths['responses']}/{quote(kept.id, safe='')}{below}" + (f"?{query}" if query else "")
    headers = [*([endpoint.auth] if endpoint.auth else []), *endpoint.headers]

    def sending() -> None:
        sink = Sink(urlsplit(endpoint.base_url).netloc, endpoint.region or "", written(place))
        name = new_request_id()
        outward(gateway, "kept", sink, Source(name, name, principal.name, str(label)), path.encode())

    status, fields, body = await fetch(
        method,
        endpoint.base_url + path,
        {name.decode(): value.decode("latin-1") for name, value in headers},
        timeout=endpoint.timeouts.first_byte,
        limit=64 << 20,
        through=gateway.shared.through(endpoint.name),
        sending=sending,
    )
    if status != 200:
        error = responses.read_error(status, fields, body)
        raise NotFound(error.message) if status == 404 else error
    return Response(body, media_type="application/json")


def _label(gateway: Gateway, principal: Principal, request: Request) -> Label:
    claimed = request.headers.get(HEADER.decode())
    rules = gateway.rulebook.rules
    return rules.label(rules.floor(principal.label), claimed.encode("latin-1") if claimed is not None else None)


def _limit(text: str | None) -> int:
    if text is None:
        return 20
    if not text.isdigit() or not 1 <= int(text) <= MOST_LISTED:
        raise BadRequest(f"'limit' must lie between 1 and {MOST_LISTED}, got {text!r}.", param="limit")
    return int(text)


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")

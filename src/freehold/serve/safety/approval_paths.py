"""Deciding about requests over HTTP: `/v1/approvals`, for the keys of `checks.ask.approvers`.

    GET  /v1/approvals                  those that wait
    GET  /v1/approvals/ID               one, decided or not
    POST /v1/approvals/ID/approve       optional body {"reason": "..."}
    POST /v1/approvals/ID/deny

A key never decides about its own requests: whoever could ask and approve would not have to ask. The reason of a denial
is told to the client.
"""

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from freehold.admit.keys import Principal
from freehold.dialects.wire import MALFORMED
from freehold.errors import BadRequest, Forbidden, NotFound, TooLarge
from freehold.record.approvals import Approval

if TYPE_CHECKING:
    from freehold.serve.control import Control

MOST_BYTES = 16 * 1024


class _Body(Struct, forbid_unknown_fields=True):
    reason: str = ""


class ApprovalPaths:
    """The routes, for the control application."""

    def __init__(self, control: "Control") -> None:
        self._control = control

    def routes(self) -> list[Route]:
        return [
            Route("/v1/approvals", self.list),
            Route("/v1/approvals/{id}", self.one),
            Route("/v1/approvals/{id}/approve", self.approve, methods=["POST"]),
            Route("/v1/approvals/{id}/deny", self.deny, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        self._approver(request)
        found = await self._control.gateway.shared.approvals.listed()
        return _json({"object": "list", "data": [shown(one) for one in found]})

    async def one(self, request: Request) -> Response:
        self._approver(request)
        return _json(shown(await self._find(request)))

    async def approve(self, request: Request) -> Response:
        return await self._decide(request, approve=True)

    async def deny(self, request: Request) -> Response:
        return await self._decide(request, approve=False)

    async def _decide(self, request: Request, *, approve: bool) -> Response:
        principal = self._approver(request)
        reason = await _reason(request)
        found = await self._find(request)
        if found.key == principal.name:
            raise Forbidden(
                f"the key {principal.name!r} may not decide about its own requests", hint="ask somebody else"
            )
        approvals = self._control.gateway.shared.approvals
        done = await approvals.decide(found.id, approve=approve, by=principal.name, reason=reason)
        now = await self._find(request)
        if not done:
            raise too_late(now)
        return _json(shown(now))

    async def _find(self, request: Request) -> Approval:
        identity = request.path_params["id"]
        found = await self._control.gateway.shared.approvals.find(identity)
        if found is None:
            raise unknown(identity)
        return found

    def _approver(self, request: Request) -> Principal:
        """Raises Unauthorized, Forbidden."""
        principal = self._control.principal(request)
        if principal.name not in self._control.gateway.config.checks.ask.approvers:
            raise Forbidden(
                f"the key {principal.name!r} may not decide about requests",
                hint="checks.ask.approvers in freehold.yaml names the keys that may; freehold approvals needs none",
                code="not_an_approver",
            )
        return principal


def shown(approval: Approval) -> dict[str, Any]:
    """What a person is shown of an approval, as JSON."""
    fields = msgspec.to_builtins(approval)
    for hidden in ("digest", "valid"):
        fields.pop(hidden)
    return {"object": "approval", **fields}


def unknown(identity: str) -> NotFound:
    return NotFound(
        f"there is no approval {identity[:60]!r}", hint="freehold approvals list", code="approval_not_found"
    )


def too_late(found: Approval) -> BadRequest:
    by = f" by {found.by}" if found.by else ""
    return BadRequest(
        f"{found.id} cannot be decided any more: it is {found.state}{by}", status=409, code="approval_decided"
    )


async def _reason(request: Request) -> str:
    """Raises TooLarge, BadRequest."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise TooLarge(f"the body is over {MOST_BYTES} bytes")
    try:
        return msgspec.json.decode(body, type=_Body).reason if body.strip() else ""
    except MALFORMED as error:
        raise BadRequest("the body is not what is expected", hint='{"reason": "..."}') from error


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers={"cache-control": "no-store"})

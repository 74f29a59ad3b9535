"""The models a key may ask for, in each dialect's own form: what clients read before they begin.

One entry of `/v1/models` is what both the OpenAI and the Anthropic SDK read as their own. Gemini's and Ollama's lists
have paths of their own.
"""

import time
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from freehold.admit.keys import Principal
from freehold.decide import Choice
from freehold.dialects.ollama import catalog
from freehold.errors import NotFound
from freehold.serve.gateway import Gateway
from freehold.serve.safety.moderating import listed

if TYPE_CHECKING:
    from freehold.serve.control import Control

_STARTED = int(time.time())
_GEMINI_METHODS = ["generateContent", "streamGenerateContent", "countTokens"]


class Lists:
    """The routes, for the control application."""

    def __init__(self, control: "Control") -> None:
        self._control = control

    def routes(self) -> list[Route]:
        found = [
            Route("/api/version", self.ollama_version),
            Route("/api/tags", self.ollama_tags),
            Route("/api/ps", self.ollama_running),
            Route("/api/show", self.ollama_show, methods=["POST"]),
        ]
        for prefix in ("/v1", "", "/v1/v1"):
            found.append(Route(prefix + "/models", self.models))
            found.append(Route(prefix + "/models/{name:path}", self.model))
        found.append(Route("/mistral/v1/models", self.mistral_models))
        found.append(Route("/v1beta/models", self.gemini_models))
        found.append(Route("/v1beta/models/{name:path}", self.gemini_model))
        return found

    def _names(self, request: Request) -> tuple[Gateway, list[str]]:
        principal: Principal = self._control.principal(request)
        gateway = self._control.gateway
        return gateway, [name for name in gateway.catalog.names() if principal.may_ask(name)]

    def _one(self, request: Request, name: str) -> tuple[Gateway, Choice]:
        principal: Principal = self._control.principal(request)
        gateway = self._control.gateway
        choice = gateway.catalog.find(name) if principal.may_ask(name) else None
        if choice is None:
            raise NotFound(
                f"there is no model {name!r} here", hint="GET /v1/models", code="model_not_found", param="model"
            )
        return gateway, choice

    async def models(self, request: Request) -> Response:
        if _is_google(request):
            return await self.gemini_models(request)
        gateway, names = self._names(request)
        principal = self._control.principal(request)
        moderating = [name for name in listed(gateway) if principal.may_ask(name) and name not in names]
        data = [*(_entry(gateway, name) for name in names), *(_moderation(gateway, name) for name in moderating)]
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        # Codex asks for `models` too, and complains of an answer without.
        return _json({"object": "list", "data": data, "models": [], "has_more": False, **ends})

    async def model(self, request: Request) -> Response:
        if _is_google(request):
            return await self.gemini_model(request)
        name = request.path_params["name"]
        gateway, principal = self._control.gateway, self._control.principal(request)
        if gateway.catalog.find(name) is None and name in listed(gateway) and principal.may_ask(name):
            return _json(_moderation(gateway, name))
        gateway, _ = self._one(request, name)
        return _json(_entry(gateway, name))

    async def mistral_models(self, request: Request) -> Response:
        """Mistral's SDK knows its own kinds of models only."""
        gateway, names = self._names(request)
        return _json({"object": "list", "data": [_mistral_entry(gateway, name) for name in names]})

    async def gemini_models(self, request: Request) -> Response:
        gateway, names = self._names(request)
        return _json({"models": [_gemini_entry(gateway.catalog.find(name), name) for name in names]})

    async def gemini_model(self, request: Request) -> Response:
        name = request.path_params["name"]
        _, choice = self._one(request, name)
        return _json(_gemini_entry(choice, name))

    async def ollama_version(self, request: Request) -> Response:
        """Open, as health is: clients ask for it before they have a key to send."""
        return _raw(catalog.write_version())

    async def ollama_tags(self, request: Request) -> Response:
        gateway, names = self._names(request)
        return _raw(catalog.write_tags([_ollama_model(gateway.catalog.find(name), name) for name in names]))

    async def ollama_running(self, request: Request) -> Response:
        gateway, names = self._names(request)
        owned = [name for name in names if (c := gateway.catalog.find(name)) and all(m.owned for m in c.members)]
        return _raw(catalog.write_ps([_ollama_model(gateway.catalog.find(name), name) for name in owned]))

    async def ollama_show(self, request: Request) -> Response:
        name = catalog.read_show(await request.body())
        _, choice = self._one(request, name)
        return _raw(catalog.write_show(_ollama_model(choice, name)))


def _entry(gateway: Gateway, name: str) -> dict[str, Any]:
    choice = gateway.catalog.find(name)
    members = choice.members if choice else ()
    described: dict[str, Any] = {
        "id": name,
        "object": "model",
        "type": "model",
        "display_name": name,
        "created": _STARTED,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_STARTED)),
        "owned_by": members[0].provider if len(members) == 1 else "freehold",
    }
    if len(members) != 1:
        return {**described, "deployments": [member.name for member in members]}
    (member,) = members
    return {
        **described,
        "context_length": member.context,
        "owned": member.owned,
        "can": sorted(member.can) if member.can is not None else None,
        "pricing": {"input": member.input_price, "output": member.output_price},
        "state": gateway.health(member) or "ready",
    }


def _moderation(gateway: Gateway, name: str) -> dict[str, Any]:
    """A name under which moderations are answered here (moderating.py)."""
    by = gateway.config.checks.moderation
    owned = by.by != "rented"
    return {
        **_entry(gateway, name),
        "owned_by": "freehold",
        "deployments": [by.model or name],
        "owned": owned,
        "can": ["moderations"],
        "pricing": {"input": 0.0, "output": 0.0} if owned else None,
        "state": "ready",
    }


def _is_google(request: Request) -> bool:
    """Google's SDK asks on the same path from its version 3 on, with a header of its own."""
    return "x-goog-api-key" in request.headers


def _mistral_entry(gateway: Gateway, name: str) -> dict[str, Any]:
    entry = _entry(gateway, name)
    can = entry.get("can")
    abilities = {
        "completion_chat": can is None or can != ["embeddings"],
        "completion_fim": False,
        "function_calling": can is None or "tools" in can,
        "fine_tuning": False,
        "vision": can is None or "images" in can,
    }
    kept = {key: entry[key] for key in ("id", "object", "created", "owned_by")}
    return {**kept, "type": "base", "name": name, "capabilities": abilities}


def _gemini_entry(choice: Choice | None, name: str) -> dict[str, Any]:
    """As https://ai.google.dev/api/models has it."""
    member = choice.members[0] if choice and choice.members else None
    embeds = member is not None and member.can is not None and "embeddings" in member.can
    entry: dict[str, Any] = {
        "name": f"models/{name}",
        "displayName": name,
        "version": "",
        "supportedGenerationMethods": ["embedContent", "batchEmbedContents"] if embeds else _GEMINI_METHODS,
    }
    if member is not None and member.context is not None:
        entry["inputTokenLimit"] = member.context
    if member is not None and member.max_output is not None:
        entry["outputTokenLimit"] = member.max_output
    return entry


_OLLAMA_WORDS = {"tools": "tools", "images": "vision", "embeddings": "embedding"}


def _ollama_model(choice: Choice | None, name: str) -> catalog.Model:
    members = choice.members if choice else ()
    member = members[0] if members else None
    can = None if member is None else member.can
    words = [word for ours, word in _OLLAMA_WORDS.items() if can is None or ours in can]
    return catalog.Model(
        name,
        modified=_STARTED,
        family="freehold",
        context_length=member.context if member else None,
        capabilities=[*([] if can == frozenset({"embeddings"}) else ["completion"]), *words],
        remote=None if member is None or member.owned else member.provider,
    )


def _json(value: object) -> Response:
    return _raw(msgspec.json.encode(value))


def _raw(body: bytes) -> Response:
    return Response(body, media_type="application/json")

"""Responses that clients come back to: what `previous_response_id`, `store` and `/v1/responses/{id}` mean here.

An answer that we translated is kept by us, whole; one that passed through from a provider which speaks the dialect is
kept by the provider, and we remember only which deployment that was, so that the next turn goes there and nowhere else.
A response belongs to the key that made it. An id that nobody here has made is unknown, even if a provider might know
it: otherwise one key could read, through us, what another key had asked.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from freehold.admit.keys import Principal
from freehold.call.attempts import Answer
from freehold.call.talk import Translation
from freehold.dialects import responses
from freehold.dialects.responses import Echo
from freehold.errors import BadRequest, NotFound
from freehold.record.responses import Kept, Responses

T = TypeVar("T")
MARK = b'"previous_response_id"'


class KeptResponses:
    """The store of one worker, in a thread of its own; opened when it is first needed."""

    def __init__(self, path: Path, days: int) -> None:
        self._path = path
        self._days = days
        self._store: Responses | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def on(self) -> bool:
        return self._days > 0

    async def recall(self, principal: Principal, body: bytes) -> tuple[bytes, str | None]:
        """The request with what came before it; and the only provider that may answer, where a provider remembers.

        Raises BadRequest for a response that is not there, in OpenAI's words.
        """
        previous = responses.echo(body).previous
        if previous is None:
            return body, None
        history = await self._do(Responses.history, previous, principal.name)
        if not history:
            raise BadRequest(
                f"Previous response with id '{previous}' not found.",
                hint="it was made with another key, not stored, or is too old; send the whole conversation",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        if history[-1].response is None:
            return body, history[-1].deployment.partition("/")[0]
        items: list[Any] = []
        for kept in history:
            items += kept.input or []
            items += (kept.response or {}).get("output", [])
        return responses.with_history(body, items), None

    async def keep(self, principal: Principal, body: bytes, echo: Echo, answer: Answer, *, whole: bool) -> str:
        """Keeps an answer to the client's own `body`, if the client did not refuse that. `whole`: its words may be kept
        here; where they may not, only who keeps one that passed through is remembered. Returns the response's id, ""
        where nothing is kept."""
        if not self.on or not echo.stored:
            return ""
        deployment = answer.target.name
        relay = answer.relay
        if answer.passes:
            passed = relay.id if relay is not None else answer.receipt.id if answer.receipt is not None else ""
            if passed:
                await self._do(Responses.save, Kept(passed, principal.name, deployment, echo.previous))
            return passed or ""
        if not whole:
            return ""
        if relay is None:
            response = msgspec.json.decode(answer.body)
        elif isinstance(relay, Translation) and relay.writer is not None:
            response = msgspec.json.decode(relay.writer.response_json())
        else:
            return ""
        identity: str = response["id"]
        items = responses.stored_items(body, identity)
        await self._do(Responses.save, Kept(identity, principal.name, deployment, echo.previous, items, response))
        return identity

    async def find(self, principal: Principal, identity: str) -> Kept:
        """Raises NotFound, in OpenAI's words."""
        kept: Kept | None = await self._do(Responses.find, identity, principal.name) if self.on else None
        if kept is None:
            raise _unknown(identity)
        return kept

    async def delete(self, principal: Principal, identity: str) -> None:
        """Raises NotFound."""
        if not self.on or not await self._do(Responses.delete, identity, principal.name):
            raise _unknown(identity)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()
        if self._store is not None:
            self._store.close()

    async def _do(self, method: Any, *arguments: Any) -> Any:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "responses")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._call, method, arguments)

    def _call(self, method: Any, arguments: tuple[Any, ...]) -> Any:
        if self._store is None:
            self._store = Responses(self._path, self._days)
        return method(self._store, *arguments)


def _unknown(identity: str) -> NotFound:
    return NotFound(f"Response with id '{identity}' not found.", code="not_found", param="response_id")

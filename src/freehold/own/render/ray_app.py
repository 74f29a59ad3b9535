"""Ray Serve's view of a replica: `import_path: freehold.own.render.ray_app:build` in a Serve config.

`args` of the application are `replica.Args`. Ray starts and stops replicas, counts requests and asks `check_health`;
the engine is a child of the replica and ends with it.
"""

import re
from typing import Any

import msgspec

from freehold.own.render.replica import Args, Replica

_ROUTE = re.compile(r".*?(/v1/.*)")


def build(args: dict[str, Any]) -> Any:
    """Returns the Serve application for one deployment. Raises msgspec.ValidationError for unknown or missing args."""
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import StreamingResponse

    wanted = msgspec.convert(args, Args)

    class Engine:
        async def __init__(self, given: dict[str, Any]) -> None:  # type: ignore[misc]  # Ray awaits it
            self._replica = Replica(msgspec.convert(given, Args))
            await self._replica.start()

        async def __call__(self, request: Request) -> StreamingResponse:
            path = _ROUTE.sub(r"\1", request.url.path)
            answered = await self._replica.answer(request.method, path, request.headers.items(), await request.body())
            return StreamingResponse(answered.body, answered.status, media_type=answered.content_type)

        async def check_health(self) -> None:
            await self._replica.check()

        async def __del__(self) -> None:
            await self._replica.stop()

    deployment: Any = serve.deployment(name="Engine")(Engine)
    return deployment.bind(msgspec.to_builtins(wanted))

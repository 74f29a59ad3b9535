"""One HTTP request from the steward to an engine."""

from freehold.call.transport import fetch
from freehold.errors import EngineError, ProviderError
from freehold.own.engine import Probe

SHOWN = 200


async def send(origin: str, api_key: str, probe: Probe) -> tuple[int, bytes]:
    """Returns (status, body). Raises EngineError when no complete answer came in time."""
    headers = {"content-type": "application/json"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    method = probe.method or ("GET" if probe.body is None else "POST")
    try:
        status, _, body = await fetch(method, origin + probe.path, headers, probe.body or b"", timeout=probe.timeout)
    except ProviderError as error:
        raise EngineError(f"{probe.path}: {error.message}") from error
    return status, body


async def ask(origin: str, api_key: str, probe: Probe) -> bytes:
    """Returns the body of a good answer. Raises EngineError unless its status is 200 to 299, in time."""
    status, body = await send(origin, api_key, probe)
    if not 200 <= status < 300:
        raise EngineError(f"{probe.path} answered {status}: {body[:SHOWN].decode(errors='replace')}")
    return body

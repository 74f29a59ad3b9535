"""What can be called here without being configured: keys in the environment, servers on this machine.

Off the hot path: `up` and `doctor` ask once. Probing opens sockets only through the `fetch` handed in
(`call.transport.fetch`), to the loopback address alone, with a tight limit on time and size.

A port says little about who listens on it, so the answer of GET /v1/models decides. It must be the model list of the
chat dialect ({"object": "list", "data": [{"id": ...}]}); then the `Server` header and each entry's `owned_by` tell
the servers apart (vLLM and trtllm-serve share port 8000). What says it is Freehold, or asks for a key, is left alone:
somebody must configure it on purpose.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Protocol

import msgspec
from msgspec import Struct

from freehold.call.providers import rows
from freehold.errors import FreeholdError

MAX_BYTES = 256 * 1024
MAX_MODELS = 200

_OWNERS = {"vllm": "vllm", "sglang": "sglang", "tensorrt_llm": "trtllm", "llamacpp": "llamacpp", "library": "ollama"}
"""What each server writes into `owned_by`."""
_NAMELESS = {"ollama", "lmstudio"}
"""These name the model's owner there, so their port, which nobody else is known to use, has to do."""
_OURS = "freehold"


class Fetch(Protocol):
    """`call.transport.fetch.fetch`: one small exchange. Raises FreeholdError or OSError when there is no answer."""

    def __call__(
        self, method: str, url: str, headers: dict[str, str], body: bytes = b"", *, timeout: float, limit: int
    ) -> Awaitable[tuple[int, Mapping[bytes, bytes], bytes]]: ...


class LocalServer(Struct, frozen=True):
    """A model server found on this machine."""

    provider: str
    base_url: str
    models: list[str]


class Offered(Struct, frozen=True):
    """A provider whose key the environment holds, and the variable it was found in."""

    provider: str
    variable: str


class _Model(Struct):
    id: str
    owned_by: str = ""


class _Models(Struct):
    object: str
    data: list[_Model]


def from_environment(env: Mapping[str, str]) -> list[Offered]:
    """Returns the rented providers that the environment has a key for, in the order of providers.toml."""
    found = []
    for name, row in rows().items():
        variable = next((v for v in row.keys if env.get(v, "").strip()), None)
        if variable and not row.local:
            found.append(Offered(name, variable))
    return found


async def probe_local(
    fetch: Fetch, timeout: float = 0.3, *, skip: frozenset[int] = frozenset(), host: str = "127.0.0.1"
) -> list[LocalServer]:
    """Returns the model servers that answer on their usual ports, each once, within about `timeout` seconds.

    `skip` are ports not to ask, as the gateway's own.
    """
    candidates: dict[int, list[str]] = {}
    for name, row in rows().items():
        for port in row.ports:
            candidates.setdefault(port, []).append(name)
    asked = [_probe(fetch, host, port, names, timeout) for port, names in candidates.items() if port not in skip]
    return [found for found in await asyncio.gather(*asked) if found]


async def _probe(fetch: Fetch, host: str, port: int, names: list[str], timeout: float) -> LocalServer | None:
    base_url = f"http://{host}:{port}/v1"
    try:
        async with asyncio.timeout(timeout):
            status, headers, body = await fetch(
                "GET", f"{base_url}/models", {"Accept": "application/json"}, timeout=timeout, limit=MAX_BYTES
            )
    except (FreeholdError, OSError, TimeoutError, ValueError):
        return None
    server = _text(headers, b"server").lower()
    if status != 200 or _OURS in server or any(name.lower().startswith(b"x-freehold") for name in headers):
        return None
    listed = _read(body)
    if listed is None or any(model.owned_by == _OURS for model in listed.data):
        return None
    provider = _who(names, listed, server)
    return LocalServer(provider, base_url, [model.id for model in listed.data][:MAX_MODELS]) if provider else None


def _read(body: bytes) -> _Models | None:
    try:
        listed = msgspec.json.decode(body, type=_Models)
    except (msgspec.DecodeError, RecursionError):
        return None
    return listed if listed.object == "list" else None


def _who(names: list[str], listed: _Models, server: str) -> str | None:
    """Returns which server this is: the one it says, whatever its port, else the port's own if that one is mute."""
    said = {_OWNERS[model.owned_by.lower()] for model in listed.data if model.owned_by.lower() in _OWNERS}
    if "llama.cpp" in server:
        said.add("llamacpp")
    if len(said) == 1:
        return said.pop()
    return names[0] if not said and names[0] in _NAMELESS else None


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


def endpoints(found: list[LocalServer]) -> list[tuple[str, str]]:
    """Returns what `providers.resolve(local=...)` takes; a server found twice keeps its first port."""
    return list({server.provider: server.base_url for server in reversed(found)}.items())

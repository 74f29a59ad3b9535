"""The key a tool carries: one of its own, so that the ledger tells the tools apart and one can be taken away alone.

For the gateway that runs from this FREEHOLD_HOME a key `launch-TOOL` is made once; its secret lies in
FREEHOLD_HOME/launch/TOOL.key, readable by its owner only, where the tool's own file can refer to it. A key that was
given by option or environment is used as it is.
"""

import asyncio
import os
import time
from pathlib import Path

from msgspec import Struct

from freehold.cli import client
from freehold.cli.tools.keep import folder
from freehold.errors import FreeholdError
from freehold.home import keys_file, write_private

WAIT_SECONDS = 5.0
"""A running gateway takes a new key over within a second."""


class _Listed(Struct):
    id: str


class _List(Struct):
    data: list[_Listed]


def key_file(tool: str) -> Path:
    return folder() / f"{tool}.key"


def key_for(tool: str, gateway: client.Running, given: str | None) -> str:
    """Returns the key for a tool, and leaves it in its key file."""
    local = client.running()
    here = local is not None and gateway.url == local.url
    secret = gateway.key or ""
    if here and given is None and not os.environ.get("FREEHOLD_API_KEY"):
        secret = _own(tool)
    if _stored(tool) != secret:
        write_private(key_file(tool), secret.encode())
    return secret


def models(gateway: client.Running) -> list[str]:
    """Returns the names a key may ask for; waits for a key that was just made. Raises what the gateway says."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return [one.id for one in asyncio.run(client.get(gateway, "/v1/models", _List)).data]
        except FreeholdError as error:
            if error.status != 401 or time.monotonic() > until or not gateway.pid:
                raise
            time.sleep(0.1)


def _own(tool: str) -> str:
    """Returns the secret of `launch-TOOL`, made anew where it is lost or is no longer valid."""
    from freehold.admit.keys import add_key, digest, read_keys, remove_key
    from freehold.config.schema import Key

    name = f"launch-{tool}"
    stored = _stored(tool)
    known = next((key for key in read_keys(keys_file()) if key.name == name), None)
    if known is not None and stored is not None and known.hash == "sha256:" + digest(stored).hex():
        return stored
    if known is not None:
        remove_key(keys_file(), name)
    return add_key(keys_file(), Key(name))


def _stored(tool: str) -> str | None:
    try:
        return key_file(tool).read_text().strip() or None
    except FileNotFoundError:
        return None

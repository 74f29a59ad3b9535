"""Rules of `server.egress` that types cannot say: what a gateway without a way out cannot have.

In strict mode no worker may have a provider's key. Workers run as the user who starts the gateway, and who starts it
reads the configuration: so whatever is written in that file, workers can read, and a key must not be.
"""

import re
from collections.abc import Mapping
from typing import Final

from freehold.config.checks_own import ATTACHED, own_name
from freehold.config.problems import KeyPath, Problems
from freehold.config.schema import Config

READABLE: Final = "is written in this file, which workers can read: in strict mode none may have a provider's key"
ELSEWHERE: Final = (
    "write it as ${VARIABLE}, and set that where only the operator can read it (systemd's EnvironmentFile, a secret of "
    "the container); a key that has stood in a file should be replaced"
)
_SECRET_HEADER: Final = re.compile(r"auth|key|token|secret|cookie|credential|signature|password", re.IGNORECASE)


def check_egress(config: Config, problems: Problems) -> None:
    """Notes what the file's own `server.egress` makes impossible."""
    mode = config.server.egress
    if mode == "none":
        for name in config.providers:
            problems.add(
                ("providers", name),
                "cannot be called: server.egress is none, so nothing leaves this machine",
                "take it out, or give --air-gapped on the command line instead, which leaves providers aside",
                key=True,
            )
    if mode == "strict":
        for path, _ in literals(config, problems.sources.variables):
            problems.add(path, READABLE, ELSEWHERE)
    if mode != "open":
        for index, owned in enumerate(config.own):
            if owned.engine in ATTACHED:
                problems.add(("own", index, "engine"), *unreachable(own_name(owned), owned.engine))


def unreachable(name: str, engine: str | None) -> tuple[str, str]:
    """Returns why a server that somebody else runs cannot be an engine then, and what to do."""
    return (
        f"own/{name} is run by a server that is not started here ({engine}), and with server.egress strict or none "
        "engines run in a network namespace of their own",
        "in strict mode name that server under providers, with owned: true",
    )


def credential(path: KeyPath) -> bool:
    """Whether a value at this place is a provider's credential."""
    match path:
        case ("providers", _, "api_key"):
            return True
        case ("providers", _, "headers", str(header)):
            return _SECRET_HEADER.search(header) is not None
    return False


def credentials(config: Config) -> list[tuple[KeyPath, str]]:
    """Returns the credentials of providers that a configuration names, wherever their values come from."""
    found: list[tuple[KeyPath, str]] = []
    for name, provider in config.providers.items():
        if provider.api_key is not None:
            found.append((("providers", name, "api_key"), provider.api_key))
        found += [(("providers", name, "headers", header), value) for header, value in provider.headers.items()]
    return [one for one in found if credential(one[0])]


def literals(config: Config, variables: Mapping[KeyPath, list[str]]) -> list[tuple[KeyPath, str]]:
    """Returns the credentials that stand in the file themselves. `variables`: what each value was expanded from."""
    return [one for one in credentials(config) if one[0] not in variables]

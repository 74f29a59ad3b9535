"""What the inside may see of configuration and environment: everything but the credentials of providers.

A placeholder stands where a key stood, so that the inside reads the same file, offers the same models and writes the
same requests; the egress process puts the real ones into the place of what it is sent. Done by replacing values in the
text, and checked by reading the result: if anything else differs from the original, or a secret is left, the
configuration is refused.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from freehold.call.providers import Endpoint, rows
from freehold.config.load import Loaded
from freehold.config.problems import KeyPath
from freehold.config.schema import Config
from freehold.errors import ConfigError

PLACEHOLDER: Final = "held-by-egress"
SHORTEST: Final = 8
"""A value shorter than this is not looked for in the text: it would be found elsewhere too."""
_SECRET_HEADER: Final = re.compile(r"auth|key|token|secret|cookie|credential|signature|password", re.IGNORECASE)
_REMOVED: Final = frozenset(
    {
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AZURE_CLIENT_SECRET",
        "AZURE_OPENAI_AD_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN",
    }
)  # fmt: skip
"""Credentials that no row of providers.toml names as its key, and that nothing inside has a use for."""


def variables(loaded: Loaded) -> set[str]:
    """Returns the environment variables that credentials come from: those of the built-in providers, and those that the
    file expands where a credential stands. Raises ConfigError for one that is used for something else as well."""
    written: set[str] = set()
    elsewhere: set[str] = set()
    for path, names in loaded.sources.variables.items():
        (written if _secret(path) else elsewhere).update(names)
    if both := sorted(written & elsewhere):
        raise ConfigError(
            f"{both[0]} is a provider's key and something else too, and in strict mode no worker may see it",
            hint="give each its own variable",
        )
    usual = {name for row in rows().values() for name in (*row.keys, *row.env_headers.values())}
    return written | (usual - elsewhere)


def environment(env: Mapping[str, str], secret: set[str], endpoints: Mapping[str, Endpoint]) -> dict[str, str]:
    """Returns the environment of the inside. Where a cloud's region is read from files that the inside has no use for,
    it is told."""
    kept = {name: PLACEHOLDER if name in secret else value for name, value in env.items() if name not in _REMOVED}
    for endpoint in endpoints.values():
        if endpoint.signs is not None and endpoint.unavailable is None:
            if endpoint.region and endpoint.row.regions:
                kept.setdefault(endpoint.row.regions[0], endpoint.region)
            project = re.search(r"/projects/([^/{}]+)/", " ".join(endpoint.paths.values()))
            if project and endpoint.row.projects:
                kept.setdefault(endpoint.row.projects[0], project.group(1))
    return kept


def text(content: bytes, loaded: Loaded) -> bytes:
    """Returns the file without the credentials that are written in it. Raises ConfigError."""
    gone: set[str] = set()
    for path, value in _written(loaded):
        secret = value.encode()
        if len(secret) < SHORTEST or (secret not in content and value not in gone):
            raise _stuck(loaded, path)
        gone.add(value)
        content = content.replace(secret, PLACEHOLDER.encode())
    return content


def check(real: Loaded, inside: Loaded) -> None:
    """Raises ConfigError where the inside's configuration is not the real one with placeholders in it."""
    if msgspec.json.encode(_without(real.config)) != msgspec.json.encode(inside.config):
        for path, _ in _written(real):
            raise _stuck(real, path)
        raise ConfigError(
            "a provider's key cannot be taken out of the configuration without changing something else",
            hint="write keys as api_key: ${VARIABLE}",
        )


def _without(config: Config) -> Config:
    providers = {
        name: msgspec.structs.replace(
            one,
            api_key=PLACEHOLDER if one.api_key is not None else None,
            headers={
                header: PLACEHOLDER if _SECRET_HEADER.search(header) else value for header, value in one.headers.items()
            },
        )
        for name, one in config.providers.items()
    }
    return msgspec.structs.replace(config, providers=providers)


def _secret(path: KeyPath) -> bool:
    match path:
        case ("providers", _, "api_key"):
            return True
        case ("providers", _, "headers", str(header)):
            return _SECRET_HEADER.search(header) is not None
    return False


def _written(loaded: Loaded) -> list[tuple[KeyPath, str]]:
    """The credentials that stand in the file themselves, the longest first."""
    found: list[tuple[KeyPath, str]] = []
    for name, provider in loaded.config.providers.items():
        if provider.api_key is not None:
            found.append((("providers", name, "api_key"), provider.api_key))
        found += [(("providers", name, "headers", header), value) for header, value in provider.headers.items()]
    given = loaded.sources.variables
    return sorted(
        ((path, value) for path, value in found if _secret(path) and path not in given),
        key=lambda one: -len(one[1]),
    )


def _stuck(loaded: Loaded, path: KeyPath) -> ConfigError:
    return ConfigError(
        "in strict mode no worker may see this, and it cannot be taken out of the text",
        where=loaded.sources.where(path),
        key=".".join(map(str, path)),
        hint="write it as ${VARIABLE}",
    )

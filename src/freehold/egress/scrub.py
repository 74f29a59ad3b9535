"""What the inside may see of configuration and environment: everything but the credentials of providers.

A placeholder stands where a key stood, so that the inside reads the same file, offers the same models and writes the
same requests; the egress process puts the real ones into the place of what it is sent. In strict mode keys come from
the environment alone: the file itself stays where it is, and the inside's user can read it, so a key in it is refused
(`absent`). Air-gapped, where a key is of no use, it is replaced in the copy that the inside reads, and the result is
checked: if anything else differs from the original, or a secret is left, the configuration is refused.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from freehold.call.providers import Endpoint, rows
from freehold.config.checks_egress import ELSEWHERE, READABLE, credential, credentials, literals
from freehold.config.load import Loaded
from freehold.config.problems import ConfigErrors, KeyPath, dotted
from freehold.config.schema import Config
from freehold.errors import ConfigError

PLACEHOLDER: Final = "held-by-egress"
SHORTEST: Final = 8
"""A value shorter than this is not looked for in the text: it would be found elsewhere too."""
_REMOVED: Final = frozenset(
    {
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AZURE_CLIENT_SECRET",
        "AZURE_OPENAI_AD_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN",
    }
)  # fmt: skip
"""Credentials that no row of providers.toml names as its key, and that nothing inside has a use for."""
_NAMED: Final = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD)S?$", re.IGNORECASE)
"""Names of variables that say that a credential is in them, of whomever: the inside has no use for it, unless the file
uses it for something else than a provider."""
_OURS: Final = "FREEHOLD_"


def variables(loaded: Loaded) -> set[str]:
    """Returns the environment variables that credentials come from: those of the built-in providers, and those that the
    file expands where a credential stands. Raises ConfigError for one that is used for something else as well."""
    written: set[str] = set()
    elsewhere: set[str] = set()
    for path, names in loaded.sources.variables.items():
        (written if credential(path) else elsewhere).update(names)
    if both := sorted(written & elsewhere):
        raise ConfigError(
            f"{both[0]} is a provider's key and something else too, and in strict mode no worker may see it",
            hint="give each its own variable",
        )
    usual = {name for row in rows().values() for name in (*row.keys, *row.env_headers.values())}
    return written | (usual - elsewhere)


def environment(
    env: Mapping[str, str], secret: set[str], endpoints: Mapping[str, Endpoint], used: Collection[str] = ()
) -> dict[str, str]:
    """Returns the environment of the inside: a placeholder in each variable of `secret`, in each whose name says that a
    credential is in it, unless it is one of `used`, and in each that has a value of those in it. Where a cloud's region
    is read from files that the inside has no use for, it is told."""
    named = {name for name in env if _NAMED.search(name) and not name.startswith(_OURS) and name not in used}
    values = {value for name, value in env.items() if name in secret and len(value) >= SHORTEST}
    kept = {}
    for name, value in env.items():
        if name not in _REMOVED:
            hidden = name in secret or name in named or any(one in value for one in values)
            kept[name] = PLACEHOLDER if hidden else value
    for endpoint in endpoints.values():
        if endpoint.signs is not None and endpoint.unavailable is None:
            if endpoint.region and endpoint.row.regions:
                kept.setdefault(endpoint.row.regions[0], endpoint.region)
            project = re.search(r"/projects/([^/{}]+)/", " ".join(endpoint.paths.values()))
            if project and endpoint.row.projects:
                kept.setdefault(endpoint.row.projects[0], project.group(1))
    return kept


def used(loaded: Loaded) -> set[str]:
    """Returns the variables that the file expands for something else than a provider's credential."""
    return {name for path, names in loaded.sources.variables.items() if not credential(path) for name in names}


def absent(content: bytes, loaded: Loaded, env: Mapping[str, str], secret: set[str]) -> None:
    """Raises ConfigErrors where a provider's credential stands in the file, in a comment too. `secret`: the variables
    that credentials come from."""
    found = [
        ConfigError(f"a credential {READABLE}", where=loaded.sources.where(path), key=dotted(path), hint=ELSEWHERE)
        for path, _ in literals(loaded.config, loaded.sources.variables)
    ]
    if not found:
        known = {f"the value of {dotted(path)}": value for path, value in credentials(loaded.config)}
        known |= {f"the value of ${name}": value for name, value in env.items() if name in secret | _REMOVED}
        for what, value in known.items():
            at = content.find(value.encode()) if len(value) >= SHORTEST else -1
            if at >= 0:
                line = content.count(b"\n", 0, at) + 1
                where = f"{loaded.sources.file}:{line}"
                found.append(ConfigError(f"{what} {READABLE}", where=where, hint=ELSEWHERE))
    if found:
        raise ConfigErrors(found)


def unseen_before(env: Mapping[str, str], inside: Mapping[str, str], secret: set[str]) -> None:
    """Raises ConfigError for a credential in a variable that the inside was given when it was none: `inside` is the
    environment that it was started with."""
    for name in sorted(secret & env.keys()):
        shown = any(env[name] in value for value in inside.values()) if len(env[name]) >= SHORTEST else False
        if shown or inside.get(name) == env[name]:
            raise ConfigError(
                f"${name} is a provider's key now, and workers have had it since they were started",
                key="providers",
                hint="start the gateway again, or take a variable whose name ends in _KEY or _TOKEN",
            )


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
                header: PLACEHOLDER if credential(("providers", name, "headers", header)) else value
                for header, value in one.headers.items()
            },
        )
        for name, one in config.providers.items()
    }
    return msgspec.structs.replace(config, providers=providers)


def _written(loaded: Loaded) -> list[tuple[KeyPath, str]]:
    """The credentials that stand in the file themselves, the longest first."""
    return sorted(literals(loaded.config, loaded.sources.variables), key=lambda one: -len(one[1]))


def _stuck(loaded: Loaded, path: KeyPath) -> ConfigError:
    return ConfigError(
        "no worker may see this, and it cannot be taken out of the text",
        where=loaded.sources.where(path),
        key=".".join(map(str, path)),
        hint="write it as ${VARIABLE}",
    )

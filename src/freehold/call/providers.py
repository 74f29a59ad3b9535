"""Providers as data: the rows of providers.toml, and what a configuration makes of them.

`resolve` joins three sources, the configuration winning over the environment and the environment over the row, into
one `Endpoint` per provider: all the transport needs, worked out once. A provider that cannot be called is listed too,
with the reason and the fix, so that `models`, `doctor` and an error for `groq/...` can say what is missing.
"""

import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from freehold.call.addresses import at_home
from freehold.call.base_urls import normalise_base_url
from freehold.call.clouds import (
    SIGNED,
    AuthKind,
    Signing,
    known_project,
    known_region,
    placed,
    unsigned,
    versioned,
    wanting,
)
from freehold.config import deployed
from freehold.config import load as config_load
from freehold.config.checks import wrong_url
from freehold.config.schema import Config, DialectName, ModelFacts, Provider, Timeouts

_SPEAKERS = {
    "chat": "openai", "responses": "openai", "messages": "anthropic", "converse": "bedrock",
}  # fmt: skip
"""Whose row is the plain form of a dialect; the others are called like it."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1", "0.0.0.0", "::"}  # noqa: S104 compared with, never bound


class ProviderRow(Struct, frozen=True, forbid_unknown_fields=True):
    """One row of providers.toml; the file's head explains the fields."""

    title: str
    dialect: DialectName
    base_url: str
    auth: AuthKind
    paths: dict[str, str]
    keys: list[str] = field(default_factory=list)
    base_urls: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    env_headers: dict[str, str] = field(default_factory=dict)
    regions: list[str] = field(default_factory=list)
    projects: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    owned: bool = False
    docs: str = ""
    checked: date | None = None
    semconv: str = ""
    prices: str | None = None
    separate: bool = False
    traits: dict[str, Any] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        """Whether this is a server on one's own machines, found by its port and needing no key."""
        return bool(self.ports)


class Endpoint(Struct, frozen=True):
    """A provider as the transport needs it. `unavailable` is why it cannot be called, `fix` what to do about it."""

    name: str
    dialect: DialectName
    base_url: str
    """Without a trailing slash; a path of `paths` is appended as it stands."""
    auth: tuple[bytes, bytes] | None
    """Header name and value; None where none is sent."""
    headers: tuple[tuple[bytes, bytes], ...]
    owned: bool
    row: ProviderRow
    timeouts: Timeouts
    max_connections: int
    models: dict[str, ModelFacts]
    """What the configuration declares, by model name."""
    configured: bool = False
    """Named in the configuration, rather than found."""
    key_from: str | None = None
    """The environment variable that held the key, where the configuration gave none."""
    url_from: str | None = None
    """The environment variable that held the base URL."""
    unavailable: str | None = None
    fix: str | None = None
    paths: dict[str, str] = field(default_factory=dict)
    """The row's, with region and project filled in."""
    signs: Signing | None = None
    """What `call.auth` needs to know, where it answers for each request instead of a key."""
    region: str | None = None
    """Where it answers, as far as that is known."""


@cache
def rows() -> dict[str, ProviderRow]:
    """Returns the built-in providers by name, read once from providers.toml."""
    text = Path(__file__).with_name("providers.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, ProviderRow])


def load_config(path: Path | None, env: Mapping[str, str]) -> config_load.Loaded:
    """Returns `config.load.load` with the names of the built-in providers, and what `freehold deploy` has added to it.

    Raises ConfigErrors.
    """
    added = deployed.read(deployed.path_in(env))
    loaded = config_load.load(path, env, providers=rows().keys(), pulled=deployed.names(added))
    return deployed.merge(loaded, added)


def row_of(name: str, dialect: DialectName | None = None) -> ProviderRow:
    """Returns the row a configured provider inherits.

    A name without a row, or with another dialect than its row's, gets the plain form of the dialect: its paths and
    its way to carry a key, with no variables of the environment and no prices.
    """
    row = rows().get(name)
    if row and dialect in (None, row.dialect):
        return row
    speaker = _SPEAKERS.get(dialect or "chat", dialect or "")
    plain = msgspec.structs.replace(
        rows()[speaker],
        title=name,
        dialect=dialect or "chat",
        keys=[],
        base_urls=[],
        env_headers={},
        docs="",
        semconv=name,
        prices=None,
        traits={},
    )
    if row is None:
        return plain
    return msgspec.structs.replace(
        plain, title=row.title, keys=row.keys, owned=row.owned, ports=row.ports, semconv=row.semconv, prices=row.prices
    )


def resolve(config: Config, env: Mapping[str, str], *, local: Iterable[tuple[str, str]] = ()) -> dict[str, Endpoint]:
    """Returns every provider by name: configured ones first, then the built-in ones.

    `local` are servers found on this machine (`discover.probe_local`): provider name and base URL. Built-in providers
    that nobody configured are offered only if `discover` is on and the environment has their key.
    """
    found = dict(local) if config.discover else {}
    result = {name: _configured(name, given, config, env, found) for name, given in config.providers.items()}
    for name, row in rows().items():
        if name not in result:
            result[name] = _discovered(name, row, config, env, found)
    return _apart(result) if config.server.egress == "none" else result


def _apart(endpoints: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
    """None of them can be called: no call leaves this machine."""
    why, fix = "this gateway is air-gapped", "start it without --air-gapped (server.egress: none)"
    return {name: msgspec.structs.replace(one, unavailable=why, fix=fix) for name, one in endpoints.items()}


def with_credentials(endpoints: Mapping[str, Endpoint], env: Mapping[str, str]) -> dict[str, Endpoint]:
    """`resolve`'s result in which a cloud whose credentials are missing or broken is unavailable, for people to see.

    The gateway itself looks at the first request and at every one after a failure: a file may be mounted late.
    """
    result = dict(endpoints)
    for name, endpoint in endpoints.items():
        if endpoint.signs is not None and endpoint.unavailable is None:
            trouble = unsigned(endpoint.signs, env)
            if trouble is not None:
                result[name] = msgspec.structs.replace(endpoint, unavailable=trouble[0], fix=trouble[1])
    return result


def elsewhere(config: Config, endpoints: Mapping[str, Endpoint]) -> frozenset[str]:
    """Returns the providers whose address somebody gave, in the configuration or in the environment, and it is not the
    provider's own: nobody here knows whose it is, so the provider's terms say nothing of it."""
    return frozenset(name for name, one in endpoints.items() if _is_elsewhere(one, config.providers.get(name)))


def _is_elsewhere(endpoint: Endpoint, given: Provider | None) -> bool:
    if endpoint.url_from is None and (given is None or given.base_url is None):
        return False
    own, there = urlsplit(endpoint.row.base_url), urlsplit(endpoint.base_url)
    # Where the host depends on an account or a region, anybody's may look like one of the provider's.
    return "{" in own.netloc or (there.scheme, there.hostname, there.port) != (own.scheme, own.hostname, own.port)


def _configured(
    name: str, given: Provider, config: Config, env: Mapping[str, str], found: Mapping[str, str]
) -> Endpoint:
    row = row_of(name, given.dialect)
    if row.auth in SIGNED:
        return _signed(name, row, config, env, given)
    url, url_from = (given.base_url, None) if given.base_url else _from_env(row.base_urls, env)
    key, key_from = (given.api_key, None) if given.api_key else _from_env(row.keys, env)
    return _endpoint(
        name,
        row,
        config,
        env,
        base_url=normalise_base_url(row, url or found.get(name) or row.base_url),
        url_from=url_from,
        key=key,
        key_from=key_from,
        needs_key=url is None and not row.local,
        given=given,
    )


def _discovered(
    name: str, row: ProviderRow, config: Config, env: Mapping[str, str], found: Mapping[str, str]
) -> Endpoint:
    if row.auth in SIGNED:
        return _signed(name, row, config, env, None)
    url, url_from = _from_env(row.base_urls, env) if config.discover else (None, None)
    key, key_from = _from_env(row.keys, env) if config.discover else (None, None)
    endpoint = _endpoint(
        name,
        row,
        config,
        env,
        base_url=normalise_base_url(row, url or found.get(name) or row.base_url),
        url_from=url_from,
        key=key,
        key_from=key_from,
        needs_key=not row.local,
        given=Provider(),
    )
    if endpoint.unavailable is None and row.local and url is None and name not in found:
        why, fix = f"{row.title} was not found running here", f"start it, or name it under providers as {name}"
        return msgspec.structs.replace(endpoint, unavailable=why, fix=fix)
    return endpoint


def _signed(name: str, row: ProviderRow, config: Config, env: Mapping[str, str], given: Provider | None) -> Endpoint:
    """A cloud's endpoint: its place comes from region and project, and `call.auth` answers for each request."""
    told, asked = given or Provider(), given is not None
    url, url_from = (told.base_url, None) if told.base_url else _from_env(row.base_urls, env)
    region = told.region or _from_env(row.regions, env)[0]
    project = told.project or _from_env(row.projects, env)[0]
    version = told.api_version or _from_env(row.versions, env)[0]
    _, key_from = _from_env(row.keys, env)
    if asked or (config.discover and key_from):
        region = region or known_region(row, told, env)
        project = project or known_project(row, told, env)
    own = normalise_base_url(row, url) if url else placed(row.base_url, region, project)
    lacking, fix = wanting(name, row, config, told, own, region, project, key_from, asked)
    return Endpoint(
        name=name,
        dialect=row.dialect,
        base_url=own,
        auth=None,
        headers=_merged(row.headers, told.headers),
        owned=bool(told.owned),
        row=row,
        timeouts=told.timeouts or config.timeouts,
        max_connections=told.max_connections,
        models=told.models,
        configured=asked,
        key_from=key_from,
        url_from=url_from,
        unavailable=lacking,
        fix=fix,
        paths={name: placed(path, region, project) for name, path in versioned(row, version).items()},
        signs=Signing(row.auth, region, told.profile, told.credentials, told.api_key),
        region=region,
    )


def _endpoint(
    name: str,
    row: ProviderRow,
    config: Config,
    env: Mapping[str, str],
    *,
    base_url: str,
    url_from: str | None,
    key: str | None,
    key_from: str | None,
    needs_key: bool,
    given: Provider,
) -> Endpoint:
    headers = {**row.headers, **{h: env[v] for h, v in row.env_headers.items() if env.get(v)}}
    unavailable, fix = _trouble(name, row, config, base_url, key, url_from, needs_key)
    return Endpoint(
        name=name,
        dialect=row.dialect,
        base_url=base_url,
        auth=_auth(row.auth, key) if key and not unavailable else None,
        headers=_merged(headers, given.headers),
        owned=given.owned if given.owned is not None else row.owned and at_home(urlsplit(base_url).hostname or ""),
        row=row,
        timeouts=given.timeouts or config.timeouts,
        max_connections=given.max_connections,
        models=given.models,
        configured=name in config.providers,
        key_from=key_from,
        url_from=url_from,
        unavailable=unavailable,
        fix=fix,
        paths=row.paths,
        region=given.region,
    )


def _trouble(
    name: str,
    row: ProviderRow,
    config: Config,
    base_url: str,
    key: str | None,
    variable: str | None,
    needs_key: bool,
) -> tuple[str | None, str | None]:
    """Returns why a provider cannot be called and the fix, or (None, None)."""
    if variable and wrong_url(base_url):
        return f"{variable} is not an http or https URL", f"correct or unset {variable}"
    if variable and _is_ours(base_url, config):
        return f"{variable} points at this gateway itself", f"unset {variable} where freehold runs"
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        return "its key holds spaces, line breaks or special characters", f"set {' or '.join(row.keys)} again"
    if key is None and needs_key:
        if name not in config.providers and not config.discover:
            return "it is not configured, and discover is off", f"name it under providers as {name}"
        fix = f"set {' or '.join(row.keys)}" if row.keys else f"give api_key under providers.{name}"
        return f"no key for {row.title}", fix
    return None, None


def _is_ours(base_url: str, config: Config) -> bool:
    """Whether a URL leads back to this gateway: clients are pointed at it with the very variables we honour."""
    parts = urlsplit(base_url)
    ours = {config.server.host, *(_LOOPBACK if config.server.host in _LOOPBACK else ())}
    return parts.port == config.server.port and parts.hostname in ours


def _from_env(names: list[str], env: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Returns the first value that is set and the variable's name, surrounding white space removed."""
    for name in names:
        if value := env.get(name, "").strip():
            return value, name
    return None, None


def _auth(kind: AuthKind, key: str) -> tuple[bytes, bytes] | None:
    match kind:
        case "bearer":
            return b"Authorization", b"Bearer " + key.encode()
        case "x-api-key" | "x-goog-api-key" | "api-key":
            return kind.encode(), key.encode()
    return None


def _merged(row: dict[str, str], given: dict[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Returns headers as bytes; a configured one replaces the row's, whatever its case."""
    replaced = {name.lower() for name in given}
    kept = {name: value for name, value in row.items() if name.lower() not in replaced}
    return tuple((name.encode(), value.encode("latin-1", "replace")) for name, value in {**kept, **given}.items())

"""Clouds: providers whose place depends on region and account, and whose requests are signed (call/auth).

What `providers.resolve` needs to know of them; the rows are in providers.toml like all others.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from freehold.config.checks import wrong_url
from freehold.config.schema import Config, Provider
from freehold.errors import ConfigError

if TYPE_CHECKING:
    from freehold.call.auth import Auth
    from freehold.call.auth.oauth import Fetch
    from freehold.call.providers import ProviderRow

AuthKind = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none", "aws", "google", "azure"]
SIGNED = frozenset({"aws", "google", "azure"})
"""Kinds that need no key of ours: `call/auth` finds credentials and answers for each request."""


class Signing(Struct, frozen=True):
    """How requests are signed: the kind, and what the configuration says of it."""

    kind: AuthKind
    region: str | None = None
    profile: str | None = None
    credentials: str | None = None
    key: str | None = None


def make_auth(signing: Signing, env: Mapping[str, str], fetch: "Fetch | None" = None) -> "Auth":
    """Returns what answers for requests; tokens are asked for with `fetch`, where it is given. Raises ConfigError: what
    is missing, and where to put it."""
    from freehold.call import auth
    from freehold.call.transport.fetch import fetch as transport_fetch

    by = fetch or transport_fetch
    if signing.kind == "aws":
        return auth.aws_auth(env, region=signing.region, profile=signing.profile, api_key=signing.key, fetch=by)
    if signing.kind == "google":
        return auth.google_auth(env, credentials=signing.credentials, fetch=by)
    return auth.azure_auth(env, api_key=signing.key, fetch=by)


def unsigned(signing: Signing, env: Mapping[str, str]) -> tuple[str, str] | None:
    """Why requests could not be signed, and the fix; None where they could, as far as that shows without asking anyone.

    Reads the files that hold credentials.
    """
    try:
        make_auth(signing, env).close()
    except ConfigError as error:
        return str(error), error.hint or "see the configuration reference"
    return None


def known_region(row: "ProviderRow", told: Provider, env: Mapping[str, str]) -> str | None:
    """The region that a profile of Amazon's files names."""
    from freehold.call.auth.aws import profile_region

    return profile_region(env, told.profile) if row.auth == "aws" else None


def known_project(row: "ProviderRow", told: Provider, env: Mapping[str, str]) -> str | None:
    """The project that Google's credentials belong to."""
    from freehold.call.auth.google import credentials_project

    return credentials_project(env, told.credentials) if row.auth == "google" else None


def wanting(
    name: str,
    row: "ProviderRow",
    config: Config,
    told: Provider,
    url: str,
    region: str | None,
    project: str | None,
    key_from: str | None,
    asked: bool,
) -> tuple[str | None, str | None]:
    """Returns what a cloud's endpoint lacks and the fix, or (None, None)."""
    if not asked and not config.discover:
        return "it is not configured, and discover is off", f"name it under providers as {name}"
    if not asked and key_from is None:
        return f"no credentials for {row.title}", f"set {' or '.join(row.keys)}"

    def fix(variables: list[str], field: str) -> str:
        return f"set {' or '.join(variables)}" + (f", or {field} under providers.{name}" if asked else "")

    if "{host}" in url:
        return f"no base_url for {row.title}", fix(row.base_urls, "base_url")
    places = (row.base_url if told.base_url is None else "", *row.paths.values())
    wants_region = any(mark in place for place in places for mark in ("{region}", "{vertex}", "{bedrock}"))
    if wants_region and region is None:
        return f"no region for {row.title}", fix(row.regions, "region")
    if any("{project}" in path for path in row.paths.values()) and project is None:
        return f"no project for {row.title}", fix(row.projects, "project")
    if region is not None and not _PLACE.fullmatch(region):
        return f"{region[:40]!r} is no region", f"set {' or '.join(row.regions)} again"
    if project is not None and not _PLACE.fullmatch(project):
        return f"{project[:40]!r} is no project", f"set {' or '.join(row.projects)} again"
    if told.base_url is None and wrong_url(url):
        return f"{url[:80]!r} is not an http or https URL", f"set {' or '.join(row.base_urls)} again"
    return None, None


_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}")


def placed(text: str, region: str | None, project: str | None) -> str:
    if region is not None and ("{vertex}" in text or "{bedrock}" in text):
        from freehold.call.auth import bedrock_host, vertex_host

        text = text.replace("{vertex}", vertex_host(region)).replace("{bedrock}", bedrock_host(region))
    return text.replace("{region}", region or "{region}").replace("{project}", project or "{project}")


def versioned(row: "ProviderRow", version: str | None) -> dict[str, str]:
    """The row's paths; with an API version, Azure's classic ones, which name the deployment."""
    if version is None or not row.versions:
        return row.paths
    from freehold.call.auth import azure_path

    mark = "0model0"
    return {
        name: azure_path(path.removeprefix("/openai/v1/"), mark, version).replace(mark, "{model}")
        for name, path in row.paths.items()
    }

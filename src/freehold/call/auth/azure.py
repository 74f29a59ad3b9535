"""Azure's ways in: a key of the resource, or a token of Entra ID.

    AZURE_OPENAI_API_KEY or AZURE_API_KEY                        header `api-key`
    AZURE_OPENAI_AD_TOKEN                                        a token somebody else renews
    AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET     an application's secret, exchanged for tokens
    AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE   workload identity: the file's token is exchanged

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow. The authority is Azure's public
cloud unless AZURE_AUTHORITY_HOST names another.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from freehold.call.auth.base import ApiKey, Auth, Bearer
from freehold.call.auth.oauth import Fetch, RenewedBearer, Source, ask_token
from freehold.call.transport.fetch import fetch as transport_fetch
from freehold.errors import ConfigError, UpstreamAuth

SCOPE = "https://cognitiveservices.azure.com/.default"
AUTHORITY = "https://login.microsoftonline.com"

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TENANT = re.compile(r"[A-Za-z0-9.-]{1,253}")


def azure_auth(
    env: Mapping[str, str],
    *,
    api_key: str | None = None,
    ad_token: str | None = None,
    tenant_id: str | None = None,
    client_id: str | None = None,
    client_secret: str | None = None,
    federated_token_file: str | None = None,
    scope: str = SCOPE,
    fetch: Fetch = transport_fetch,
) -> Auth:
    """What is given goes before the environment. Raises ConfigError: what is missing. Opens no connection yet."""
    if api_key:
        return ApiKey("api-key", api_key)
    if ad_token:
        return Bearer(ad_token, "the Entra token")
    tenant, client = tenant_id or env.get("AZURE_TENANT_ID"), client_id or env.get("AZURE_CLIENT_ID")
    asked = tenant_id or client_id or client_secret or federated_token_file
    if not asked:
        for name in ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"):
            if key := env.get(name):
                return ApiKey("api-key", key, name)
        if token := env.get("AZURE_OPENAI_AD_TOKEN"):
            return Bearer(token, "AZURE_OPENAI_AD_TOKEN")
    secret = client_secret or (None if federated_token_file else env.get("AZURE_CLIENT_SECRET"))
    file = federated_token_file or env.get("AZURE_FEDERATED_TOKEN_FILE")
    if not (tenant and client and (secret or file)):
        raise _missing(tenant, client)
    if not _TENANT.fullmatch(tenant):
        raise ConfigError("AZURE_TENANT_ID is no tenant's id or domain", hint="set AZURE_TENANT_ID again")
    url = f"{_authority(env)}/{tenant}/oauth2/v2.0/token"
    form = {"grant_type": "client_credentials", "client_id": client, "scope": scope}
    if secret:
        return RenewedBearer(_by_secret(fetch, url, form, secret))
    return RenewedBearer(_by_federation(fetch, url, form, Path(file or "")))


def _missing(tenant: str | None, client: str | None) -> ConfigError:
    if not tenant and not client:
        return ConfigError(
            "no Azure credentials were found",
            hint="set AZURE_OPENAI_API_KEY, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
        )
    if not (tenant and client):
        name = "AZURE_CLIENT_ID" if tenant else "AZURE_TENANT_ID"
        return ConfigError(f"{name} is missing", hint=f"set {name}")
    return ConfigError("no Azure secret was found", hint="set AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE")


def _authority(env: Mapping[str, str]) -> str:
    given = (env.get("AZURE_AUTHORITY_HOST") or AUTHORITY).strip().rstrip("/")
    url = given if "://" in given else f"https://{given}"
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise ConfigError("AZURE_AUTHORITY_HOST must be an https URL", hint="correct or unset AZURE_AUTHORITY_HOST")
    return url


def _by_secret(fetch: Fetch, url: str, form: Mapping[str, str], secret: str) -> Source:
    async def source() -> tuple[str, float]:
        now = time.time()
        fix = "check AZURE_CLIENT_SECRET (its value, not its id; it may have expired), AZURE_CLIENT_ID, AZURE_TENANT_ID"
        token, life = await ask_token(fetch, url, {**form, "client_secret": secret}, who="Entra ID", fix=fix)
        return token, now + life

    return source


def _by_federation(fetch: Fetch, url: str, form: Mapping[str, str], file: Path) -> Source:
    """The file is read every time: whoever mounts it renews it."""

    async def source() -> tuple[str, float]:
        now = time.time()
        try:
            assertion = (await asyncio.to_thread(file.read_text, "utf-8")).strip()
        except (OSError, UnicodeDecodeError):
            raise UpstreamAuth(
                f"{file} cannot be read", hint="check AZURE_FEDERATED_TOKEN_FILE and the mount behind it"
            ) from None
        told = {**form, "client_assertion_type": _ASSERTION, "client_assertion": assertion}
        fix = "check the federated credential of this application: issuer, subject and audience"
        token, life = await ask_token(fetch, url, told, who="Entra ID", fix=fix)
        return token, now + life

    return source

"""Google's access tokens, for Vertex AI.

The credentials are a JSON file, found as Google's own libraries do: given, GOOGLE_APPLICATION_CREDENTIALS, or the one
that `gcloud auth application-default login` writes. Its `type` says what to do:

    service_account    a JWT is signed with its key (RS256) and exchanged for a token
                       (https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests)
    authorized_user    a person's login: the refresh token is exchanged

The metadata server of a machine at Google is asked only where the configuration says so. Tokens last an hour.
"""

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from freehold.call.auth.base import is_token
from freehold.call.auth.oauth import Fetch, RenewedBearer, Source, ask, ask_token, read_token
from freehold.call.transport.fetch import fetch as transport_fetch
from freehold.dialects.wire import MALFORMED
from freehold.errors import ConfigError, redact

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 an address
LIFE = 3600

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_METADATA = "metadata.google.internal"


class GoogleAuth(RenewedBearer):
    """Bearer tokens. `project` is what the credentials name, if they do."""

    __slots__ = ("project",)

    def __init__(self, source: Source, project: str | None = None, quota_project: str | None = None) -> None:
        """`quota_project` is billed for a person's requests."""
        super().__init__(source, [(b"x-goog-user-project", quota_project.encode())] if quota_project else [])
        self.project = project


def google_auth(
    env: Mapping[str, str],
    *,
    credentials: str | Mapping[str, Any] | None = None,
    metadata: bool = False,
    fetch: Fetch = transport_fetch,
) -> GoogleAuth:
    """`credentials`: a path, the JSON itself, or what it holds. Raises ConfigError: what is missing, and the fix."""
    if credentials is None:
        credentials = _named(env)
    if credentials is None:
        if metadata:
            return GoogleAuth(_metadata_source(env, fetch))
        raise ConfigError(
            "no Google credentials were found",
            hint="set GOOGLE_APPLICATION_CREDENTIALS to a service account's JSON file, or run: "
            "gcloud auth application-default login",
        )
    if not isinstance(credentials, str):
        return _from_info(dict(credentials), "the configuration", fetch)
    return _from_info(*_load(credentials), fetch)


def credentials_project(env: Mapping[str, str], credentials: str | None = None) -> str | None:
    """The project that the credentials name; None where they name none, or cannot be read."""
    given = credentials or _named(env)
    try:
        info = _load(given)[0] if given else {}
    except ConfigError:
        return None
    project = info.get("project_id") or info.get("quota_project_id")
    return project if isinstance(project, str) and project else None


def _named(env: Mapping[str, str]) -> str | None:
    """Where the credentials are, if nobody gave them."""
    named = env.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        return named
    login = _login_file(env)
    return str(login) if login.is_file() else None


def _load(credentials: str) -> tuple[dict[str, Any], str]:
    """What a path, or the JSON itself, holds; and where that stands."""
    given = credentials.strip()
    where = "the configuration" if given.startswith("{") else given
    return _parse(given if given.startswith("{") else _read(given), where), where


def _login_file(env: Mapping[str, str]) -> Path:
    home = Path(env.get("HOME") or env.get("USERPROFILE") or "~").expanduser()
    folder = Path(env.get("CLOUDSDK_CONFIG") or home / ".config" / "gcloud").expanduser()
    return folder / "application_default_credentials.json"


def _read(path: str) -> str:
    try:
        return Path(path).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(
            f"{redact(path, 300)} cannot be read: {type(error).__name__}",
            hint="set GOOGLE_APPLICATION_CREDENTIALS to a service account's JSON file",
        ) from None


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        info = msgspec.json.decode(text)
    except (*MALFORMED, UnicodeEncodeError):
        info = None
    if not isinstance(info, dict):
        raise ConfigError("not a JSON object", where=where, hint="download the service account's key as JSON again")
    return info


def _from_info(info: dict[str, Any], where: str, fetch: Fetch) -> GoogleAuth:
    project = info.get("project_id") if isinstance(info.get("project_id"), str) else None
    match info.get("type"):
        case "service_account":
            return GoogleAuth(_service_account(info, where, fetch), project)
        case "authorized_user":
            quota = info.get("quota_project_id")
            billed = quota if isinstance(quota, str) and is_token(quota) else None
            return GoogleAuth(_authorized_user(info, where, fetch), project, billed)
        case kind:
            raise ConfigError(
                f"Google credentials of type {redact(str(kind), 60)} are not supported",
                where=where,
                hint="use a service account's JSON key, or gcloud auth application-default login",
            )


def _field(info: Mapping[str, Any], name: str, where: str) -> str:
    value = info.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} is missing", where=where, key=name, hint="download the credentials again")
    return value


def _endpoint(info: Mapping[str, Any], where: str) -> str:
    """The file may name another token endpoint; it gets a signed assertion, so it must be https, or this machine."""
    url = info.get("token_uri") or TOKEN_URL
    try:
        parts = urlsplit(url)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost"))
    except (ValueError, AttributeError, TypeError):
        safe = False
    if not safe:
        raise ConfigError("token_uri must be an https URL", where=where, key="token_uri")
    return str(url)


def _service_account(info: Mapping[str, Any], where: str, fetch: Fetch) -> Source:
    email, url = _field(info, "client_email", where), _endpoint(info, where)
    signer = rs256(_field(info, "private_key", where), where)
    key_id = info.get("private_key_id")

    async def source() -> tuple[str, float]:
        now = time.time()
        claims = {"iss": email, "scope": SCOPE, "aud": url, "iat": int(now), "exp": int(now) + LIFE}
        header = {"alg": "RS256", "typ": "JWT", **({"kid": key_id} if isinstance(key_id, str) else {})}
        assertion = await asyncio.to_thread(write_jwt, header, claims, signer)
        form = {"grant_type": _JWT_GRANT, "assertion": assertion}
        token, life = await ask_token(
            fetch,
            url,
            form,
            who="Google's token endpoint",
            fix=f"check that the service account {email} and its key still exist, and this machine's clock",
        )
        return token, now + life

    return source


def _authorized_user(info: Mapping[str, Any], where: str, fetch: Fetch) -> Source:
    form = {
        "grant_type": "refresh_token",
        "client_id": _field(info, "client_id", where),
        "client_secret": _field(info, "client_secret", where),
        "refresh_token": _field(info, "refresh_token", where),
    }
    url = _endpoint(info, where)

    async def source() -> tuple[str, float]:
        now = time.time()
        token, life = await ask_token(
            fetch, url, form, who="Google's token endpoint", fix="run: gcloud auth application-default login"
        )
        return token, now + life

    return source


def _metadata_source(env: Mapping[str, str], fetch: Fetch) -> Source:
    """https://cloud.google.com/compute/docs/access/authenticate-workloads#applications"""
    host = env.get("GCE_METADATA_HOST") or _METADATA
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    who = "Google's metadata server"

    async def source() -> tuple[str, float]:
        now = time.time()
        status, body = await ask(fetch, "GET", url, {"metadata-flavor": "Google"}, who=who)
        token, life = read_token(status, body, who=who, fix="give this machine a service account")
        return token, now + life

    return source


# JSON Web Tokens


def rs256(private_key: str, where: str = "") -> Callable[[bytes], bytes]:
    """A signer (RSASSA-PKCS1-v1_5 with SHA-256, RFC 7518 section 3.3) of a PEM key.

    Raises ConfigError where the key cannot be read or the `cryptography` package is missing.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError:
        raise ConfigError(
            "a Google service account needs the cryptography package", hint="pip install 'freehold[vertex]'"
        ) from None
    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError(
            "private_key is no RSA key in PEM form",
            where=where,
            key="private_key",
            hint="download the service account's key as JSON again; its line breaks are written \\n",
        )
    rsa_key = key
    return lambda data: rsa_key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def write_jwt(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A signed token in the compact form (RFC 7515 section 3.1)."""
    head = b".".join(_base64url(msgspec.json.encode(part)) for part in (header, claims))
    return (head + b"." + _base64url(sign(head))).decode()


def _base64url(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")

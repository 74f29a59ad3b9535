"""Where Amazon's keys come from, in the order of its own SDKs.

    given in the configuration, AWS_BEARER_TOKEN_BEDROCK (a Bedrock API key: a bearer token, nothing is signed),
    AWS_ACCESS_KEY_ID, a role by web identity (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE: EKS),
    AWS_PROFILE in ~/.aws/credentials and ~/.aws/config, the container's endpoint (ECS, EKS pod identity),
    the instance's, only where `metadata` asks for it.

A profile that the configuration names goes before the environment. Files are read again every ten minutes, since tools
renew them. What would need other programs or a browser (sso, credential_process, chained roles)
is refused with the command that turns it into keys.
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

import asyncio
import configparser
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from freehold.call.auth.base import Bearer, Headers, is_token
from freehold.call.auth.oauth import Fetch, ask
from freehold.call.auth.sigv4 import Credentials, SigV4
from freehold.call.transport.fetch import fetch as transport_fetch
from freehold.dialects.wire import MALFORMED
from freehold.errors import ConfigError, UpstreamAuth, UpstreamBroken, UpstreamOverloaded, redact

FOREVER = float("inf")
REREAD = 900.0
"""Seconds that keys of a file are taken to last; they are renewed 300 s before."""

_CONTAINER = "http://169.254.170.2"
_INSTANCE = "http://169.254.169.254"
_LOCAL_HOSTS = {"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost", "127.0.0.1", "::1"}
_REGION = re.compile(r"[a-z0-9-]{1,32}")
_NEEDS_TOOLS = ("sso_session", "sso_start_url", "credential_process", "source_profile", "credential_source")

Source = Callable[[], Awaitable[tuple[Credentials, float]]]


class AwsAuth:
    """Signed requests, or a bearer token; `region` is where they go."""

    __slots__ = ("_inner", "region")

    def __init__(self, inner: SigV4 | Bearer, region: str) -> None:
        self._inner = inner
        self.region = region

    def ready(self, now: float) -> bool:
        return self._inner.ready(now)

    async def refresh(self, now: float) -> None:
        await self._inner.refresh(now)

    def close(self) -> None:
        self._inner.close()

    def sign(
        self, method: str, host: str, path: str, query: str, headers: Headers, body: bytes, now: float
    ) -> list[tuple[bytes, bytes]]:
        return self._inner.sign(method, host, path, query, headers, body, now)


def aws_auth(
    env: Mapping[str, str],
    *,
    region: str | None = None,
    profile: str | None = None,
    api_key: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
    metadata: bool = False,
    service: str = "bedrock",
    fetch: Fetch = transport_fetch,
) -> AwsAuth:
    """Raises ConfigError: what is missing, and where to put it. Opens no connection yet."""
    files = _Files(env, profile)
    place = region or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or files.region()
    if not place:
        raise ConfigError("no AWS region is set", hint="set AWS_REGION, such as us-east-1")
    if not _REGION.fullmatch(place):
        raise ConfigError(f"{redact(place, 60)!r} is no AWS region", hint="set AWS_REGION, such as us-east-1")
    bearer = api_key or (None if access_key_id or profile else env.get("AWS_BEARER_TOKEN_BEDROCK"))
    if bearer:
        return AwsAuth(Bearer(bearer, "AWS_BEARER_TOKEN_BEDROCK"), place)
    if access_key_id or secret_access_key:
        source = _given(access_key_id, secret_access_key, session_token, "the configuration")
    else:
        source = _find(env, files, place, metadata, fetch)
    return AwsAuth(SigV4(source, place, service), place)


def profile_region(env: Mapping[str, str], profile: str | None = None) -> str | None:
    """The region that Amazon's files name for the profile meant; None where there is none, or they cannot be read."""
    try:
        return _Files(env, profile).region() or None
    except ConfigError:
        return None


def _find(env: Mapping[str, str], files: "_Files", region: str, metadata: bool, fetch: Fetch) -> Source:
    if not files.chosen and (env.get("AWS_ACCESS_KEY_ID") or env.get("AWS_SECRET_ACCESS_KEY")):
        return _given(
            env.get("AWS_ACCESS_KEY_ID"),
            env.get("AWS_SECRET_ACCESS_KEY"),
            env.get("AWS_SESSION_TOKEN"),
            "the environment",
        )
    role, token_file = env.get("AWS_ROLE_ARN"), env.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    if not files.named and role and token_file:
        return _web_identity(fetch, region, role, Path(token_file), env.get("AWS_ROLE_SESSION_NAME") or "freehold")
    if files.settle():
        return _from_files(files)
    relative, full = env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if relative or full:
        return _container(fetch, f"{_CONTAINER}{relative}" if relative else full or "", env)
    if metadata:
        return _instance(fetch, env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _INSTANCE)
    raise ConfigError(
        "no AWS credentials were found",
        hint="set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    )


def _given(access: str | None, secret: str | None, token: str | None, where: str) -> Source:
    access, secret = (access or "").strip(), (secret or "").strip()
    for name, value in (("AWS_ACCESS_KEY_ID", access), ("AWS_SECRET_ACCESS_KEY", secret)):
        if not is_token(value):
            raise ConfigError(f"{name} of {where} is missing or broken", hint=f"set {name}")
    session = (token or "").strip() or None
    if session is not None and not is_token(session):
        raise ConfigError(f"AWS_SESSION_TOKEN of {where} is broken", hint="set AWS_SESSION_TOKEN again")
    credentials = Credentials(access, secret, session)

    async def source() -> tuple[Credentials, float]:
        return credentials, FOREVER

    return source


class _Files:
    """The shared credentials and config files, and the profile meant."""

    def __init__(self, env: Mapping[str, str], profile: str | None) -> None:
        home = Path(env.get("HOME") or env.get("USERPROFILE") or "~").expanduser()
        self.credentials = Path(env.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials").expanduser()
        self.config = Path(env.get("AWS_CONFIG_FILE") or home / ".aws" / "config").expanduser()
        name = profile or env.get("AWS_PROFILE") or env.get("AWS_DEFAULT_PROFILE")
        self.chosen = profile is not None
        """By the configuration; a name in the environment stands behind keys there."""
        self.named = name is not None
        self.profile = name or "default"

    def region(self) -> str | None:
        return self.read().get("region")

    def read(self) -> dict[str, str]:
        """What both files say of the profile; the credentials file wins. Raises ConfigError for a broken file."""
        section = self.profile if self.profile == "default" else f"profile {self.profile}"
        return {**_section(self.config, section), **_section(self.credentials, self.profile)}

    def settle(self) -> bool:
        """Whether the profile has keys. Raises ConfigError for one that was named and has none we can use."""
        found = self.read()
        if found.get("aws_access_key_id") and found.get("aws_secret_access_key"):
            return True
        if any(name in found for name in _NEEDS_TOOLS):
            raise ConfigError(
                f"the AWS profile {self.profile} gets its keys from another program or role",
                hint=f'run: eval "$(aws configure export-credentials --profile {self.profile} --format env)"',
            )
        if self.named:
            raise ConfigError(
                f"the AWS profile {self.profile} has no keys in {self.credentials} or {self.config}",
                hint=f"run: aws configure --profile {self.profile}",
            )
        return False


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text("utf-8"), str(path))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {type(error).__name__}", hint=f"check {path}") from None
    except configparser.Error as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else str(path)
        raise ConfigError("the file is no AWS profile file", where=where, hint=f"check {path}") from None
    return dict(parser[name]) if parser.has_section(name) else {}


def _from_files(files: _Files) -> Source:
    async def source() -> tuple[Credentials, float]:
        try:
            found = await asyncio.to_thread(files.read)
        except ConfigError as error:
            raise UpstreamAuth(str(error), hint=error.hint) from None
        access, secret = found.get("aws_access_key_id", ""), found.get("aws_secret_access_key", "")
        if not is_token(access) or not is_token(secret):
            raise UpstreamAuth(f"The AWS profile {files.profile} has no usable keys.", hint="run: aws configure")
        session = found.get("aws_session_token") or None
        if session is not None and not is_token(session):
            raise UpstreamAuth(f"The AWS profile {files.profile} has a broken session token.", hint="renew it")
        return Credentials(access, secret, session), time.time() + REREAD

    return source


# Keys that are asked for


_FIELD = re.compile(r"<(AccessKeyId|SecretAccessKey|SessionToken|Expiration|Code|Message)>([^<]*)</")


def _web_identity(fetch: Fetch, region: str, role: str, token_file: Path, session: str) -> Source:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html"""

    async def source() -> tuple[Credentials, float]:
        try:
            token = (await asyncio.to_thread(token_file.read_text, "utf-8")).strip()
        except (OSError, UnicodeDecodeError):
            raise UpstreamAuth(
                f"{token_file} cannot be read", hint="check AWS_WEB_IDENTITY_TOKEN_FILE and the mount behind it"
            ) from None
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": role,
            "RoleSessionName": session,
            "WebIdentityToken": token,
        }
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        headers = {"content-type": "application/x-www-form-urlencoded"}
        url = f"https://sts.{region}.{domain}/"
        status, body = await ask(fetch, "POST", url, headers, urlencode(form).encode(), who="AWS STS")
        found = dict(_FIELD.findall(body.decode("utf-8", "replace")))
        if status != 200:
            _refuse("AWS STS", status, f"{found.get('Code', '')} {found.get('Message', '')}", f"check the role {role}")
        return _credentials("AWS STS", found, "SessionToken")

    return source


def _container(fetch: Fetch, url: str, env: Mapping[str, str]) -> Source:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html"""
    try:
        parts = urlsplit(url)
        local = parts.hostname in _LOCAL_HOSTS
    except ValueError:
        raise ConfigError("AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL", hint="unset it") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ConfigError(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or lead to this machine", hint="correct or unset it"
        )
    who = "The container's credentials endpoint"

    async def source() -> tuple[Credentials, float]:
        headers = {"accept": "application/json"}
        if (file := env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) is not None:
            try:
                headers["authorization"] = (await asyncio.to_thread(Path(file).read_text, "utf-8")).strip()
            except (OSError, UnicodeDecodeError):
                raise UpstreamAuth(f"{file} cannot be read", hint="check the pod identity agent") from None
        elif token := env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
            headers["authorization"] = token
        status, body = await ask(fetch, "GET", url, headers, who=who)
        if status != 200:
            _refuse(who, status, "", "check the role of this task or pod")
        return _credentials(who, _object(body), "Token")

    return source


def _instance(fetch: Fetch, base: str) -> Source:
    """IMDSv2: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html"""
    who = "The instance's metadata service"
    roles = f"{base.rstrip('/')}/latest/meta-data/iam/security-credentials/"

    async def source() -> tuple[Credentials, float]:
        lasting = {"x-aws-ec2-metadata-token-ttl-seconds": "300"}
        status, token = await ask(fetch, "PUT", f"{base.rstrip('/')}/latest/api/token", lasting, who=who)
        if status != 200 or not is_token(text := token.decode("utf-8", "replace").strip()):
            _refuse(who, status, "", "allow instance metadata, or set AWS_ACCESS_KEY_ID")
        headers = {"x-aws-ec2-metadata-token": text}
        status, name = await ask(fetch, "GET", roles, headers, who=who)
        role = name.decode("utf-8", "replace").strip().partition("\n")[0]
        if status != 200 or not re.fullmatch(r"[\w+=,.@-]+", role):
            _refuse(who, status, "", "give this instance a role")
        status, body = await ask(fetch, "GET", roles + role, headers, who=who)
        if status != 200:
            _refuse(who, status, "", "check the role of this instance")
        return _credentials(who, _object(body), "Token")

    return source


def _refuse(who: str, status: int, said: str, fix: str) -> None:
    words = f": {redact(said.strip(), 300)}" if said.strip() else ""
    if status in (408, 429) or status >= 500:
        raise UpstreamOverloaded(f"{who} gave no AWS credentials (status {status}){words}")
    raise UpstreamAuth(f"{who} gave no AWS credentials (status {status}){words}", hint=fix)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except MALFORMED:
        return {}
    return found if isinstance(found, dict) else {}


def _credentials(who: str, found: Mapping[str, Any], token: str) -> tuple[Credentials, float]:
    fields = [found.get(name) for name in ("AccessKeyId", "SecretAccessKey", token)]
    if not all(isinstance(field, str) and is_token(field) for field in fields):
        raise UpstreamBroken(f"{who} answered without AWS credentials.")
    try:
        end = datetime.fromisoformat(str(found.get("Expiration"))).timestamp()
    except ValueError:
        end = time.time() + REREAD
    return Credentials(*map(str, fields)), end

"""Where Amazon's keys are found, and in which order."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint

from freehold.call.auth import AwsAuth, aws_auth
from freehold.errors import ConfigError, UpstreamAuth, UpstreamBroken, UpstreamOverloaded, UpstreamTimeout

REGION = {"AWS_REGION": "eu-central-1"}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "env-secret-value"}
SOON = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = default-secret\n\n"
        "[work]\naws_access_key_id=AKIAWORK\naws_secret_access_key=work%secret\naws_session_token=work-token\n"
    )
    (folder / "config").write_text(
        "[default]\nregion = us-west-2\n\n[profile work]\nregion=ap-south-1\ns3 =\n  max_concurrent_requests = 5\n\n"
        "[profile browser]\nsso_session = mine\nregion = us-east-1\n\n[profile empty]\nregion = us-east-1\n"
    )
    return tmp_path


async def signed(auth: AwsAuth) -> dict[bytes, bytes]:
    now = time.time()
    if not auth.ready(now):
        await auth.refresh(now)
    headers = auth.sign("POST", "h", "/", "", [], b"", now)
    return dict(headers)


async def key_of(auth: AwsAuth) -> str:
    return (await signed(auth))[b"authorization"].decode().partition("Credential=")[2].partition("/")[0]


async def test_a_bedrock_key_is_a_bearer_token() -> None:
    auth = aws_auth({**REGION, **KEYS, "AWS_BEARER_TOKEN_BEDROCK": "ABSKkey"})
    assert await signed(auth) == {b"authorization": b"Bearer ABSKkey"}
    assert auth.region == "eu-central-1"
    assert await signed(aws_auth(REGION, api_key="given")) == {b"authorization": b"Bearer given"}


async def test_keys_in_the_environment() -> None:
    auth = aws_auth({**REGION, **KEYS, "AWS_SESSION_TOKEN": "st"})
    headers = await signed(auth)
    assert headers[b"x-amz-security-token"] == b"st"
    assert b"AKIAENV" in headers[b"authorization"]
    assert b"/eu-central-1/bedrock/aws4_request" in headers[b"authorization"]


@pytest.mark.parametrize(
    ("env", "options", "key", "region"),
    [
        ({}, {}, "AKIADEFAULT", "us-west-2"),
        ({"AWS_PROFILE": "work"}, {}, "AKIAWORK", "ap-south-1"),
        ({"AWS_PROFILE": "work", **KEYS}, {}, "AKIAENV", "ap-south-1"),
        (KEYS, {"profile": "work"}, "AKIAWORK", "ap-south-1"),
        ({"AWS_BEARER_TOKEN_BEDROCK": "b"}, {"profile": "work"}, "AKIAWORK", "ap-south-1"),
        ({"AWS_PROFILE": "work", **REGION}, {}, "AKIAWORK", "eu-central-1"),
        ({"AWS_DEFAULT_REGION": "sa-east-1"}, {"region": "us-east-2"}, "AKIADEFAULT", "us-east-2"),
        (KEYS, {"access_key_id": "AKIAGIVEN", "secret_access_key": "s"}, "AKIAGIVEN", "us-west-2"),
    ],
)
async def test_the_order(home: Path, env: dict[str, str], options: dict[str, str], key: str, region: str) -> None:
    auth = aws_auth({"HOME": str(home), **env}, **options)
    assert (await key_of(auth), auth.region) == (key, region)


async def test_files_are_read_again(home: Path) -> None:
    auth = aws_auth({"HOME": str(home), "AWS_PROFILE": "work"})
    assert (await signed(auth))[b"x-amz-security-token"] == b"work-token"
    (home / ".aws" / "credentials").write_text("[work]\naws_access_key_id=AKIANEW\naws_secret_access_key=x\n")
    await auth.refresh(time.time() + 3600)
    assert await key_of(auth) == "AKIANEW"
    (home / ".aws" / "credentials").write_text("[other]\n")
    with pytest.raises(UpstreamAuth, match="profile work has no usable keys"):
        await auth.refresh(time.time() + 7200)


def test_files_elsewhere(home: Path) -> None:
    env = {
        "HOME": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws" / "credentials"),
        "AWS_CONFIG_FILE": str(home / ".aws" / "config"),
    }
    assert aws_auth(env).region == "us-west-2"


@pytest.mark.parametrize(
    ("env", "says", "fix"),
    [
        ({"AWS_PROFILE": "browser"}, "another program", "aws configure export-credentials --profile browser"),
        ({"AWS_PROFILE": "empty"}, "profile empty has no keys", "aws configure --profile empty"),
        ({"AWS_PROFILE": "absent", **REGION}, "profile absent has no keys", "aws configure"),
        ({"HOME": "/nowhere"}, "no AWS region", "AWS_REGION"),
        ({"HOME": "/nowhere", **REGION}, "no AWS credentials", "AWS_BEARER_TOKEN_BEDROCK"),
        ({**REGION, "AWS_ACCESS_KEY_ID": "AKIA"}, "AWS_SECRET_ACCESS_KEY of the environment", "AWS_SECRET_ACCESS_KEY"),
        ({**REGION, **KEYS, "AWS_SESSION_TOKEN": "a\nb"}, "AWS_SESSION_TOKEN", "AWS_SESSION_TOKEN"),
        ({**KEYS, "AWS_REGION": "evil.example/"}, "no AWS region", "us-east-1"),
        ({**REGION, "AWS_BEARER_TOKEN_BEDROCK": "a b"}, "AWS_BEARER_TOKEN_BEDROCK", "again"),
        (
            {"HOME": "/nowhere", **REGION, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/x"},
            "https",
            "unset",
        ),
        ({"HOME": "/nowhere", **REGION, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[x"}, "no URL", "unset"),
    ],
)
def test_what_is_missing(home: Path, env: dict[str, str], says: str, fix: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        aws_auth({"HOME": str(home), **env})
    assert fix in (caught.value.hint or "")


def test_a_file_that_is_none(home: Path) -> None:
    (home / ".aws" / "config").write_text("no section\n")
    with pytest.raises(ConfigError, match="no AWS profile file"):
        aws_auth({"HOME": str(home)})
    (home / ".aws" / "config").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        aws_auth({"HOME": str(home)})


# Keys that are asked for


STS = f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult><Credentials>
    <SessionToken>sts-token==</SessionToken><SecretAccessKey>sts-secret</SecretAccessKey>
    <Expiration>{SOON}</Expiration><AccessKeyId>ASIASTS</AccessKeyId>
  </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>""".encode()
REFUSED = b"""<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>
<Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>"""


def pod(tmp_path: Path) -> dict[str, str]:
    token = tmp_path / "token"
    token.write_text("identity-token\n")
    role = "arn:aws:iam::123456789012:role/bedrock"
    return {
        "HOME": str(tmp_path), **REGION, "AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
    }  # fmt: skip


async def test_a_role_by_web_identity(tmp_path: Path) -> None:
    endpoint = Endpoint((200, STS))
    headers = await signed(aws_auth(pod(tmp_path), fetch=endpoint))
    assert b"ASIASTS" in headers[b"authorization"]
    assert headers[b"x-amz-security-token"] == b"sts-token=="
    assert endpoint.asked[0][1] == "https://sts.eu-central-1.amazonaws.com/"
    assert endpoint.form() == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": "arn:aws:iam::123456789012:role/bedrock",
        "RoleSessionName": "freehold",
        "WebIdentityToken": "identity-token",
    }


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ((403, REFUSED), UpstreamAuth, "AccessDenied Not authorized"),
        ((500, b""), UpstreamOverloaded, "status 500"),
        ((200, b"<html>"), UpstreamBroken, "without AWS credentials"),
        (UpstreamTimeout("slow"), Exception, "could not be asked"),
    ],
)
async def test_a_role_that_is_refused(tmp_path: Path, answer: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        await aws_auth(pod(tmp_path), fetch=Endpoint(answer)).refresh(time.time())
    assert "identity-token" not in str(caught.value)


async def test_a_container(tmp_path: Path) -> None:
    given = {"AccessKeyId": "ASIACON", "SecretAccessKey": "s", "Token": "t", "Expiration": SOON}
    endpoint = Endpoint((200, given))
    env = {"HOME": str(tmp_path), **REGION}
    auth = aws_auth({**env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"}, fetch=endpoint)
    assert await key_of(auth) == "ASIACON"
    assert endpoint.asked[0][:2] == ("GET", "http://169.254.170.2/v2/x")
    (tmp_path / "token").write_text("pod-token")
    env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://169.254.170.23/v1/credentials"
    env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(tmp_path / "token")
    await key_of(aws_auth(env, fetch=endpoint))
    assert endpoint.asked[1][2]["authorization"] == "pod-token"
    with pytest.raises(UpstreamBroken):
        await aws_auth(env, fetch=Endpoint((200, {"AccessKeyId": "a b"}))).refresh(time.time())


async def test_an_instance_only_if_asked(tmp_path: Path) -> None:
    given = json.dumps({"AccessKeyId": "ASIAINS", "SecretAccessKey": "s", "Token": "t", "Expiration": "never"}).encode()
    endpoint = Endpoint((200, b"session"), (200, b"my-role\n"), (200, given))
    auth = aws_auth({"HOME": str(tmp_path), **REGION}, metadata=True, fetch=endpoint)
    assert await key_of(auth) == "ASIAINS"
    base = "http://169.254.169.254/latest"
    assert [(method, url) for method, url, _, _ in endpoint.asked] == [
        ("PUT", f"{base}/api/token"),
        ("GET", f"{base}/meta-data/iam/security-credentials/"),
        ("GET", f"{base}/meta-data/iam/security-credentials/my-role"),
    ]
    assert endpoint.asked[1][2] == {"x-aws-ec2-metadata-token": "session"}
    evil = Endpoint((200, b"session"), (200, b"../../evil"))
    with pytest.raises(UpstreamAuth, match="metadata service"):
        await aws_auth({"HOME": str(tmp_path), **REGION}, metadata=True, fetch=evil).refresh(time.time())

"""Google's tokens: what is sent to the endpoint, and what is said when it refuses."""

import builtins
import json
import time
from base64 import urlsafe_b64decode
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from endpoint import Endpoint, listening

from freehold.call.auth import google_auth
from freehold.call.auth.google import SCOPE, TOKEN_URL
from freehold.errors import (
    ConfigError,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamOverloaded,
    UpstreamTimeout,
    UpstreamUnreachable,
)

GOOD = (200, {"access_token": "ya29.token", "expires_in": 3599, "token_type": "Bearer"})
USER = {
    "type": "authorized_user",
    "client_id": "id.apps",
    "client_secret": "client-secret-value",
    "refresh_token": "refresh-token-value",
    "quota_project_id": "billed",
}


@cache
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(private: Any) -> str:
    plain = serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


def account(**fields: Any) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "proj",
        "private_key_id": "kid-1",
        "private_key": pem(key()),
        "client_email": "bot@proj.iam.gserviceaccount.com",
        "token_uri": TOKEN_URL,
        **fields,
    }


def decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def token_of(auth: Any) -> list[tuple[bytes, bytes]]:
    now = time.time()
    if not auth.ready(now):
        await auth.refresh(now)
    return auth.sign("POST", "h", "/", "", [], b"", now)


async def test_a_service_account_signs_a_jwt() -> None:
    endpoint = Endpoint(GOOD)
    auth = google_auth({}, credentials=account(), fetch=endpoint)
    assert auth.project == "proj"
    before = int(time.time())
    assert await token_of(auth) == [(b"authorization", b"Bearer ya29.token")]
    method, url, headers, _ = endpoint.asked[0]
    assert (method, url) == ("POST", TOKEN_URL)
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    form = endpoint.form()
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    head, claims, signature = form["assertion"].split(".")
    assert json.loads(decoded(head)) == {"alg": "RS256", "typ": "JWT", "kid": "kid-1"}
    told = json.loads(decoded(claims))
    assert before <= told["iat"] <= time.time()
    assert told == {
        "iss": "bot@proj.iam.gserviceaccount.com",
        "scope": SCOPE,
        "aud": TOKEN_URL,
        "iat": told["iat"],
        "exp": told["iat"] + 3600,
    }
    key().public_key().verify(decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    await token_of(auth)
    assert len(endpoint.asked) == 1


async def test_through_the_real_transport(tmp_path: Path) -> None:
    endpoint = Endpoint(GOOD)
    async with listening(endpoint) as base:
        file = tmp_path / "key.json"
        file.write_text(json.dumps(account(token_uri=f"{base}/token")))
        auth = google_auth({"GOOGLE_APPLICATION_CREDENTIALS": str(file)})
        assert await token_of(auth) == [(b"authorization", b"Bearer ya29.token")]
    assert endpoint.asked[0][:2] == ("POST", "/token")
    assert "assertion" in endpoint.form()


async def test_a_persons_login(tmp_path: Path) -> None:
    endpoint = Endpoint(GOOD)
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    (folder / "application_default_credentials.json").write_text(json.dumps(USER))
    auth = google_auth({"HOME": str(tmp_path)}, fetch=endpoint)
    assert await token_of(auth) == [
        (b"authorization", b"Bearer ya29.token"),
        (b"x-goog-user-project", b"billed"),
    ]
    assert endpoint.form() == {
        "grant_type": "refresh_token",
        "client_id": "id.apps",
        "client_secret": "client-secret-value",
        "refresh_token": "refresh-token-value",
    }


async def test_the_metadata_server_only_if_asked(tmp_path: Path) -> None:
    endpoint = Endpoint(GOOD)
    env = {"HOME": str(tmp_path)}
    with pytest.raises(ConfigError, match="no Google credentials"):
        google_auth(env, fetch=endpoint)
    assert await token_of(google_auth(env, metadata=True, fetch=endpoint)) == [(b"authorization", b"Bearer ya29.token")]
    method, url, headers, _ = endpoint.asked[0]
    assert (method, headers) == ("GET", {"metadata-flavor": "Google"})
    assert url.startswith("http://metadata.google.internal/computeMetadata/v1/")


def test_json_in_the_configuration() -> None:
    assert google_auth({}, credentials=json.dumps(account())).project == "proj"


@pytest.mark.parametrize(
    ("credentials", "says"),
    [
        ("{", "JSON object"),
        ("/nowhere/key.json", "/nowhere/key.json cannot be read"),
        ("\0", "cannot be read"),
        ({"type": "external_account"}, "external_account"),
        ({}, "None"),
        ({"type": "service_account"}, "client_email"),
        ({"type": "authorized_user", "client_id": "x"}, "client_secret"),
        ({**USER, "token_uri": "http://example.com/token"}, "https"),
        ({**USER, "token_uri": 7}, "https"),
        (lambda: account(private_key="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "RSA"),
        (lambda: account(private_key=pem(ec.generate_private_key(ec.SECP256R1()))), "RSA"),
    ],
)
def test_credentials_that_cannot_work(credentials: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        google_auth({}, credentials=credentials() if callable(credentials) else credentials)
    assert "client-secret-value" not in str(caught.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest)

    info = account()
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError) as caught:
        google_auth({}, credentials=info)
    assert caught.value.hint == "pip install 'freehold[vertex]'"
    assert google_auth({}, credentials=USER)


REFUSED = (400, {"error": "invalid_grant", "error_description": "Token refresh-token-value has expired.\nTrace: 1"})


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (REFUSED, UpstreamAuth, r"invalid_grant: Token \[redacted\] has expired"),
        ((401, b"<html>"), UpstreamAuth, "status 401"),
        ((503, b""), UpstreamOverloaded, "status 503"),
        ((429, {"error": {"message": "slow"}}), UpstreamOverloaded, "slow"),
        ((200, b"<html>"), UpstreamBroken, "without a usable token"),
        ((200, {"expires_in": 5}), UpstreamBroken, "without a usable token"),
        ((200, {"access_token": "a\r\nX-Evil: 1"}), UpstreamBroken, "without a usable token"),
        ((200, {"access_token": ["a"]}), UpstreamBroken, "without a usable token"),
        (
            UpstreamTimeout("no answer within 10 s"),
            UpstreamUnreachable,
            "could not be asked",
        ),
    ],
)
async def test_no_token(answer: Any, error: type[Exception], says: str) -> None:
    auth = google_auth({}, credentials=USER, fetch=Endpoint(answer))
    with pytest.raises(error, match=says) as caught:
        await auth.refresh(time.time())
    text = str(caught.value) + str(getattr(caught.value, "hint", ""))
    assert "refresh-token-value" not in text
    assert "client-secret-value" not in text


@pytest.mark.parametrize("life", [None, "3599", "soon", -5, 1e12, 60])
async def test_lives_of_every_kind(life: Any) -> None:
    endpoint = Endpoint((200, {"access_token": "t", "expires_in": life}))
    auth = google_auth({}, credentials=USER, fetch=endpoint)
    await auth.refresh(time.time())
    assert auth.ready(time.time() + 20)
    assert not auth.ready(time.time() + 3 * 86_400)

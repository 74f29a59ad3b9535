"""Azure: which credentials win, what goes to Entra ID, what is said when it refuses."""

import time
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint

from freehold.call.auth import azure_auth
from freehold.errors import ConfigError, UpstreamAuth

GOOD = (200, {"access_token": "entra", "expires_in": "3599", "token_type": "Bearer"})
APP = {"AZURE_TENANT_ID": "tenant-1", "AZURE_CLIENT_ID": "app-1"}
SECRET = {**APP, "AZURE_CLIENT_SECRET": "very~secret.value"}


async def headers(auth: Any) -> list[tuple[bytes, bytes]]:
    now = time.time()
    if not auth.ready(now):
        await auth.refresh(now)
    return auth.sign("POST", "h", "/", "", [], b"", now)


@pytest.mark.parametrize(
    ("env", "options", "expected"),
    [
        ({"AZURE_OPENAI_API_KEY": "k1", "AZURE_API_KEY": "k2"}, {}, (b"api-key", b"k1")),
        ({"AZURE_API_KEY": " k2\n"}, {}, (b"api-key", b"k2")),
        ({"AZURE_OPENAI_API_KEY": "k1"}, {"api_key": "k0"}, (b"api-key", b"k0")),
        ({"AZURE_OPENAI_AD_TOKEN": "t1"}, {}, (b"authorization", b"Bearer t1")),
        ({"AZURE_OPENAI_API_KEY": "k1"}, {"ad_token": "t0"}, (b"authorization", b"Bearer t0")),
        ({"AZURE_OPENAI_API_KEY": "k1", **SECRET}, {"tenant_id": "mine"}, (b"authorization", b"Bearer entra")),
        (SECRET, {}, (b"authorization", b"Bearer entra")),
    ],
)
async def test_which_one_wins(env: dict[str, str], options: dict[str, str], expected: tuple[bytes, bytes]) -> None:
    auth = azure_auth(env, **options, fetch=Endpoint(GOOD))
    assert await headers(auth) == [expected]


async def test_an_applications_secret() -> None:
    endpoint = Endpoint(GOOD)
    await headers(azure_auth(SECRET, fetch=endpoint))
    assert endpoint.asked[0][1] == "https://login.microsoftonline.com/tenant-1/oauth2/v2.0/token"
    assert endpoint.form() == {
        "grant_type": "client_credentials",
        "client_id": "app-1",
        "client_secret": "very~secret.value",
        "scope": "https://cognitiveservices.azure.com/.default",
    }


async def test_a_federated_token_is_read_every_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    endpoint = Endpoint((200, {"access_token": "entra", "expires_in": 1}), GOOD)
    env = {**APP, "AZURE_FEDERATED_TOKEN_FILE": str(file), "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.us/"}
    auth = azure_auth(env, fetch=endpoint)
    for token in ("jwt-1", "jwt-2"):
        file.write_text(token + "\n")
        await auth.refresh(time.time() + 10)
        assert endpoint.form()["client_assertion"] == token
    assert endpoint.asked[0][1] == "https://login.microsoftonline.us/tenant-1/oauth2/v2.0/token"
    assert endpoint.form()["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def test_a_federated_token_that_is_not_there(tmp_path: Path) -> None:
    env = {**APP, "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "none")}
    with pytest.raises(UpstreamAuth, match="cannot be read"):
        await azure_auth(env, fetch=Endpoint(GOOD)).refresh(time.time())


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({}, "no Azure credentials"),
        ({"AZURE_TENANT_ID": "t"}, "AZURE_CLIENT_ID is missing"),
        ({"AZURE_CLIENT_ID": "c"}, "AZURE_TENANT_ID is missing"),
        (APP, "no Azure secret"),
        ({**SECRET, "AZURE_TENANT_ID": "../evil"}, "no tenant"),
        ({**SECRET, "AZURE_AUTHORITY_HOST": "http://example.com"}, "https"),
        ({"AZURE_OPENAI_API_KEY": "two words"}, "AZURE_OPENAI_API_KEY"),
        ({"AZURE_OPENAI_AD_TOKEN": "é"}, "AZURE_OPENAI_AD_TOKEN"),
    ],
)
def test_what_is_missing(env: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        azure_auth(env)
    assert caught.value.hint
    assert "two words" not in caught.value.text


async def test_a_refused_secret_says_what_to_check() -> None:
    description = "AADSTS7000215: Invalid client secret very~secret.value provided.\r\nTrace ID: 1\r\nTimestamp: 2"
    answer = (401, {"error": "invalid_client", "error_description": description})
    with pytest.raises(UpstreamAuth) as caught:
        await azure_auth(SECRET, fetch=Endpoint(answer)).refresh(time.time())
    assert caught.value.message.endswith("AADSTS7000215: Invalid client secret [redacted] provided.")
    assert "AZURE_CLIENT_SECRET" in (caught.value.hint or "")
    assert "very~secret" not in caught.value.text

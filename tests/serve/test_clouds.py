"""Clouds, live: what a request proves its sender with, where it goes, and what is said when there is nothing to prove.

Bedrock's signatures are checked as Amazon checks them, from the request that arrived; Vertex' assertion with the
service account's public key. A failure names what to fix, and no secret is in an answer or in the log.
"""

import hmac
import json
import re
import time
from base64 import urlsafe_b64decode
from calendar import timegm
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from renting import ACCESS_KEY, CLIENT_SECRET, SECRET_KEY, World, read_chat, read_messages, rented

from freehold.call.auth.sigv4 import canonical_request
from freehold.fake.ask import Request

TEXT = "Hello from the fake provider: nobody was billed for this."
SESSION = "session-token-0123456789"
HI = [{"role": "user", "content": "hi"}]
PROFILE = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-x-v1:0"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Signatures, Entra ID, a service account; Azure's v1 API."""
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_SESSION_TOKEN": SESSION}
    with rented(tmp_path_factory.mktemp("clouds"), AZURE_CLIENT_SECRET=CLIENT_SECRET, **keys) as made:
        yield made


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A Bedrock API key, a key of Azure's and its classic API, Vertex' global location."""
    settings = {
        "azure": {"api_key": "azure-key-0123456789", "api_version": "2024-10-21"},
        "vertex": {"region": "global"},
    }
    with rented(tmp_path_factory.mktemp("keyed"), settings, AWS_BEARER_TOKEN_BEDROCK="bedrock-api-key-0123") as made:
        yield made


def chat(world: World, model: str, stream: bool = False, **more: Any) -> str:
    body: dict[str, Any] = {"model": model, "messages": HI, "stream": stream, **more}
    if stream:
        body["stream_options"] = {"include_usage": True}
    answer = world.ask("/v1/chat/completions", body)
    assert answer.status == 200, answer.body
    return read_chat(answer.body, stream).text


# Amazon


def assert_signed(request: Request, region: str) -> None:
    """As Amazon does it: the canonical request of what arrived, and the key of the day."""
    headers = request.headers
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
        r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
        headers[b"authorization"].decode(),
    )
    assert match is not None
    access, day, place, service, names, signature = match.groups()
    assert (access, place, service) == (ACCESS_KEY, region, "bedrock")
    assert {"host", "x-amz-date"} <= set(names.split(";"))
    date = headers[b"x-amz-date"].decode()
    assert date.startswith(day)
    assert abs(time.time() - timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))) < 300
    path, _, query = request.url.decode().partition("?")
    covered = [(name.encode(), headers[name.encode()]) for name in names.split(";")]
    text, _ = canonical_request("POST", path, query, covered)
    hashed = sha256((text + sha256(request.body).hexdigest()).encode()).hexdigest()
    key = b"AWS4" + SECRET_KEY.encode()
    for part in (day, region, "bedrock", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    told = f"AWS4-HMAC-SHA256\n{date}\n{day}/{region}/bedrock/aws4_request\n{hashed}"
    assert hmac.digest(key, told.encode(), "sha256").hex() == signature


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "encoded"),
    [
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-sonnet-4-5-20250929-v1%3A0"),
        ("eu.amazon.nova-micro-v1:0", "eu.amazon.nova-micro-v1%3A0"),
        (PROFILE, PROFILE.replace(":", "%3A").replace("/", "%2F")),
    ],
)
def test_a_signature_that_amazon_would_accept(world: World, model: str, encoded: str, stream: bool) -> None:
    assert chat(world, f"bedrock/{model}", stream) == TEXT
    assert world.path == f"/bedrock/model/{encoded}/converse{'-stream' if stream else ''}"
    assert world.header["x-amz-security-token"] == SESSION
    assert world.fake.served.last is not None
    assert_signed(world.fake.served.last, "eu-west-1")
    assert world.fake.served.rows[-1].model == model


def test_each_part_of_a_batch_is_signed(world: World) -> None:
    """The bodies differ, so do the signatures."""
    answer = world.ask("/v1/embeddings", {"model": "bedrock/amazon.titan-embed-text-v2:0", "input": ["a", "b", "c"]})
    assert answer.status == 200, answer.body
    assert world.path == "/bedrock/model/amazon.titan-embed-text-v2%3A0/invoke"
    assert world.sent == {"inputText": "c"}
    assert world.fake.served.last is not None
    assert_signed(world.fake.served.last, "eu-west-1")


def test_a_bedrock_api_key_is_a_bearer_token(keyed: World) -> None:
    for stream in (False, True):
        assert chat(keyed, "bedrock/anthropic.claude-x-v1:0", stream) == TEXT
        assert keyed.header["authorization"] == "Bearer bedrock-api-key-0123"
        assert "x-amz-date" not in keyed.header


def test_amazons_words_for_keys_that_expired(world: World) -> None:
    answer = world.ask("/v1/chat/completions", {"model": "bedrock/expired", "messages": HI})
    error = answer.json["error"]
    assert answer.status == 502
    assert "The security token is expired" in error["message"]
    assert "renew the AWS session token" in error["message"]


# Azure


def test_an_application_of_entra_id(world: World) -> None:
    assert chat(world, "azure/gpt-4o") == TEXT
    assert world.path == "/azure/openai/v1/chat/completions"
    assert world.header["authorization"] == "Bearer token-for-entra"
    assert "api-key" not in world.header
    (form,) = world.tokens.forms("/entra/oauth2/v2.0/token")
    assert form == {
        "grant_type": "client_credentials",
        "client_id": "client-1",
        "client_secret": CLIENT_SECRET,
        "scope": "https://cognitiveservices.azure.com/.default",
    }


def test_a_key_and_the_classic_paths(keyed: World) -> None:
    """The deployment is in the path, the version in the query."""
    for stream in (False, True):
        assert chat(keyed, "azure/my deployment".replace(" ", "-"), stream) == TEXT
        assert keyed.path == "/azure/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
        assert keyed.header["api-key"] == "azure-key-0123456789"
        assert "authorization" not in keyed.header
    answer = keyed.ask("/v1/embeddings", {"model": "azure/vectors", "input": ["a"]})
    assert answer.status == 200
    assert keyed.path == "/azure/openai/deployments/vectors/embeddings?api-version=2024-10-21"
    answer = keyed.ask("/v1/responses", {"model": "azure/gpt-4o", "input": "hi"})
    assert answer.status == 200
    assert keyed.path == "/azure/openai/responses?api-version=2024-10-21"
    answer = keyed.ask("/v1/audio/speech", {"model": "azure/tts", "input": "hi", "voice": "alloy"})
    assert answer.status == 200
    assert keyed.path == "/azure/openai/deployments/tts/audio/speech?api-version=2024-10-21"


# Google


def test_a_service_account_signs_for_a_token(world: World) -> None:
    assert chat(world, "vertex/gemini-2.5-flash") == TEXT
    assert world.header["authorization"] == "Bearer token-for-google"
    (form,) = world.tokens.forms("/google/token")
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    signed, _, signature = form["assertion"].rpartition(".")
    world.public_key.verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
    assert (header["alg"], header["kid"]) == ("RS256", "key-1")
    assert (claims["iss"], claims["aud"]) == ("gateway@lab-1.example", f"{world.tokens.url}/google/token")
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert 0 < claims["exp"] - time.time() <= 3600


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("stream", [False, True])
def test_geminis_publisher(world: World, stream: bool) -> None:
    assert chat(world, "vertex/gemini-2.5-flash", stream) == TEXT
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    place = "/vertex/v1/projects/lab-1/locations/us-east5/publishers/google/models"
    assert world.path == f"{place}/gemini-2.5-flash:{method}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", ["chat", "messages", "gemini"])
def test_claudes_publisher(world: World, client: str, stream: bool) -> None:
    """Whatever the client speaks: Anthropic's version in the body, no model, the path says whether it streams."""
    model = "vertex/claude-sonnet-4-5@20250929"
    if client == "chat":
        assert chat(world, model, stream) == TEXT
    elif client == "messages":
        answer = world.ask("/v1/messages", {"model": model, "max_tokens": 9, "messages": HI, "stream": stream})
        assert read_messages(answer.body, stream).text == TEXT
    else:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        asked = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        answer = world.ask(f"/v1beta/models/{model}:{method}", asked)
        assert answer.status == 200, answer.body
        assert b"Hello " in answer.body
    method = "streamRawPredict" if stream else "rawPredict"
    place = "/vertex/v1/projects/lab-1/locations/us-east5/publishers/anthropic/models"
    assert world.path == f"{place}/claude-sonnet-4-5@20250929:{method}"
    assert world.sent["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in world.sent
    assert world.sent.get("stream", False) is stream


def test_a_messages_client_asks_gemini_in_geminis_words(world: World) -> None:
    """Publishers are separate: there is no Gemini at Anthropic's path."""
    answer = world.ask("/v1/messages", {"model": "vertex/gemini-2.5-pro", "max_tokens": 9, "messages": HI})
    assert read_messages(answer.body, False).text == TEXT
    assert world.path.endswith("/publishers/google/models/gemini-2.5-pro:generateContent")


def test_the_global_location(keyed: World) -> None:
    assert chat(keyed, "vertex/gemini-2.5-flash") == TEXT
    assert "/locations/global/publishers/google/" in keyed.path


# What is said where there is nothing to prove


def test_a_failure_names_what_to_fix_and_no_secret(tmp_path: Path) -> None:
    account = ""
    with rented(tmp_path, AZURE_CLIENT_SECRET=CLIENT_SECRET) as world:
        account = json.loads((tmp_path / "account.json").read_text())["private_key"]
        said = f"AADSTS7000222: The provided client secret keys are expired: {CLIENT_SECRET}.\r\nTrace ID: 1"
        world.tokens.refusals["/entra"] = (401, {"error": "invalid_client", "error_description": said})
        world.tokens.refusals["/google"] = (400, {"error": "invalid_grant", "error_description": "Invalid signature."})
        wanted = {
            "azure/gpt-4o": (502, "AADSTS7000222", "AZURE_CLIENT_SECRET"),
            "vertex/gemini-2.5-flash": (502, "invalid_grant: Invalid signature.", "gateway@lab-1.example"),
            "bedrock/anthropic.claude-x-v1:0": (503, "no AWS credentials were found", "set AWS_BEARER_TOKEN_BEDROCK"),
        }
        for model, (status, *words) in wanted.items():
            for path in ("/v1/chat/completions", "/v1/messages"):
                answer = world.ask(path, {"model": model, "max_tokens": 9, "messages": HI})
                message = answer.json["error"]["message"]
                assert answer.status == status, answer.body
                assert all(word in message for word in words), message
                assert CLIENT_SECRET not in message
        world.tokens.refusals["/google"] = (500, {"error": "internal"})
        world.tokens.refusals["/entra"] = (200, {"token_type": "Bearer"})
        assert _until(world, "azure/gpt-4o", "without a usable token").status == 502
        assert _until(world, "vertex/gemini-2.5-flash", "status 500").status == 503
        world.tokens.refusals.clear()
        assert _until(world, "azure/gpt-4o", TEXT).status == 200
        assert _until(world, "vertex/gemini-2.5-flash", TEXT).status == 200
        assert world.fake.served.totals.requests == 2
    (log,) = tmp_path.glob("up-*.log")
    told = log.read_text()
    assert CLIENT_SECRET not in told
    assert account.splitlines()[1] not in told


def _until(world: World, model: str, words: str) -> Any:
    """A failure is repeated for a second without asking again (call/auth/cached.py)."""
    deadline = time.monotonic() + 10
    while True:
        answer = world.ask("/v1/chat/completions", {"model": model, "messages": HI})
        if words.encode() in answer.body:
            return answer
        assert time.monotonic() < deadline, answer.body
        time.sleep(0.05)

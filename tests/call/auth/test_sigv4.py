"""Signatures, compared with botocore's for the same request."""

from datetime import UTC, datetime
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.auth.sigv4 import Credentials, SigV4, canonical_path, canonical_request
from freehold.dialects import converse
from freehold.errors import InternalError

NOW = 1_795_262_400.0  # 2026-11-21 12:00:00 UTC
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SESSION = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token==")
HOST = "bedrock-runtime.us-east-1.amazonaws.com"


async def signer(keys: Credentials = KEYS, region: str = "us-east-1", service: str = "bedrock") -> SigV4:
    async def source() -> tuple[Credentials, float]:
        return keys, float("inf")

    made = SigV4(source, region, service)
    assert not made.ready(NOW)
    await made.refresh(NOW)
    assert made.ready(NOW)
    return made


def botocores(
    keys: Credentials,
    method: str,
    path: str,
    query: str,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    now: float,
    service: str = "bedrock",
) -> dict[str, str]:
    url = f"https://{HOST}{path}{'?' + query if query else ''}"
    request = AWSRequest(method, url, {name.decode(): value.decode("utf-8") for name, value in headers}, body)
    moment = datetime.fromtimestamp(now, UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        boto = BotoCredentials(keys.access_key, keys.secret_key, keys.token)
        SigV4Auth(boto, service, "us-east-1").add_auth(request)
    return {name.lower(): str(value) for name, value in request.headers.items()}


async def test_a_published_example() -> None:
    """The example of AWS's own documentation and test suite: get-vanilla, and its query sorted."""
    made = await signer(Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), service="service")
    now = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
    added = dict(made.sign("GET", "example.amazonaws.com", "/", "", [], b"", now))
    assert added == {
        b"x-amz-date": b"20150830T123600Z",
        b"authorization": b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        b"SignedHeaders=host;x-amz-date, "
        b"Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    }
    added = dict(made.sign("GET", "example.amazonaws.com", "/", "Param2=value2&Param1=value1", [], b"", now))
    assert added[b"authorization"].endswith(b"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500")


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("", "/"),
        ("/", "/"),
        ("/model/a%3A0/converse", "/model/a%253A0/converse"),
        ("/a/../b/./c//d/", "/b/c/d/"),
        ("/../..", "/"),
        ("/a b/ሴ", "/a%20b/%E1%88%B4"),
        ("/~x", "/~x"),
    ],
)
def test_canonical_paths(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical


def test_headers_are_trimmed_and_joined() -> None:
    headers = [(b"My-Header2", b'  "a   b   c"  '), (b"my-header1", b"x"), (b"My-Header1", b"y")]
    request, names = canonical_request("GET", "/", "", headers)
    assert 'my-header1:x,y\nmy-header2:"a b c"\n' in request
    assert names == "my-header1;my-header2"


async def test_a_bedrock_call() -> None:
    made = await signer(SESSION)
    path = converse.path("us.anthropic.claude-sonnet-4-5-20250929-v1:0", True)
    headers = [(b"content-type", b"application/json"), (b"user-agent", b"x"), (b"accept-encoding", b"identity")]
    added = made.sign("POST", HOST, path, "", headers, b'{"a": 1}', NOW)
    assert [name for name, _ in added] == [b"x-amz-date", b"authorization", b"x-amz-security-token"]
    oracle = botocores(SESSION, "POST", path, "", headers[:1], b'{"a": 1}', NOW)
    assert dict(added)[b"authorization"].decode() == oracle["authorization"]
    assert b"SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in dict(added)[b"authorization"]


async def test_the_key_follows_the_day() -> None:
    made = await signer()
    for now in (NOW, NOW + 86_400, NOW):
        oracle = botocores(KEYS, "POST", "/x", "", [], b"", now)
        assert (
            dict(made.sign("POST", HOST, "/x", "", [], b"", now))[b"authorization"].decode() == oracle["authorization"]
        )


async def test_many_kinds_of_requests() -> None:
    """More than are remembered, and a header that looks like the date."""
    made = await signer()
    for number in range(600):
        path = f"/model/{number % 300}"
        headers = [(b"x-other", b"x-amz-date:00000000T000000Z")]
        oracle = botocores(KEYS, "POST", path, "", headers, b"", NOW) if number % 100 == 0 else None
        added = dict(made.sign("POST", HOST, path, "", headers, b"", NOW))
        if oracle is not None:
            assert added[b"authorization"].decode() == oracle["authorization"]


async def test_nothing_is_signed_without_keys() -> None:
    async def source() -> tuple[Credentials, float]:
        raise AssertionError

    with pytest.raises(InternalError):
        SigV4(source, "us-east-1").sign("GET", HOST, "/", "", [], b"", NOW)


def test_keys_do_not_show_themselves() -> None:
    assert "wJalr" not in repr(SESSION)
    assert "session" not in repr(SESSION)


SAFE = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="-._~%"), max_size=8)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(
    st.sampled_from(["GET", "POST"]),
    st.lists(SAFE | st.sampled_from([".", "..", ""]), max_size=5).map(lambda parts: "/" + "/".join(parts)),
    st.lists(st.tuples(SAFE, SAFE), max_size=4).map(lambda pairs: "&".join(f"{n}={v}" for n, v in pairs)),
    st.dictionaries(st.sampled_from(["Content-Type", "X-Amzn-Bedrock-Trace", "x-other"]), VALUES, max_size=3),
    st.binary(max_size=50),
    st.sampled_from([KEYS, SESSION]),
    st.integers(0, 4_000_000_000),
)
async def test_every_signature_is_botocores(
    method: str, path: str, query: str, headers: dict[str, str], body: bytes, keys: Credentials, now: int
) -> None:
    made = await signer(keys)
    given_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
    if path.startswith("//"):
        return  # a URL would read a host into it
    ours = dict(made.sign(method, HOST, path, query, given_headers, body, now))
    theirs = botocores(keys, method, path, query, given_headers, body, now)
    assert ours[b"authorization"].decode() == theirs["authorization"]
    assert ours[b"x-amz-date"].decode() == theirs["x-amz-date"]
    assert ours.get(b"x-amz-security-token", b"").decode() == theirs.get("x-amz-security-token", "")

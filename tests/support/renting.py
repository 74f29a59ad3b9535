"""A gateway whose every provider of providers.toml is a fake, each below a path of its own, with credentials for all.

The fake runs in this process (faking.py), so what reached it, keys and signatures too, can be looked at.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from faking import fake_here
from running import KEY, Running, started
from tokens import TokenEndpoint, token_endpoint

from freehold.call.providers import rows
from freehold.fake import FakeProvider

UPSTREAM_KEY = "sk-upstream-secret-000"
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
CLIENT_SECRET = "entra-secret-0123456789"
SCRIPT = {
    "rules": [
        {"match": {"model": "*limited*"}, "reply": {"status": 429, "error": {"message": "slow down, please"}}},
        {
            "match": {"model": "*expired*"},
            "reply": {
                "status": 403,
                "error": {"type": "ExpiredTokenException", "message": "The security token is expired"},
            },
        },
        {"match": {"model": "*broken*"}, "reply": {"fault": "cut_between_events"}},
    ]
}
_SETTINGS: dict[str, dict[str, str]] = {
    "bedrock": {"region": "eu-west-1"},
    "vertex": {"region": "us-east5", "project": "lab-1", "credentials": "CREDENTIALS"},
    "azure": {},
}
"""What a cloud is told instead of a key."""


class World(NamedTuple):
    gateway: Running
    fake: FakeProvider
    tokens: TokenEndpoint
    public_key: rsa.RSAPublicKey
    """Of the service account."""

    @property
    def header(self) -> dict[str, str]:
        """What came with the last request."""
        last = self.fake.served.last
        assert last is not None
        return {name.decode(): value.decode() for name, value in last.headers.items()}

    @property
    def path(self) -> str:
        last = self.fake.served.last
        assert last is not None
        return last.url.decode()

    @property
    def sent(self) -> dict[str, Any]:
        """The last request's body."""
        last = self.fake.served.last
        assert last is not None
        return dict(json.loads(last.body))

    def ask(self, path: str, body: Any, kind: str = "application/json") -> "Answer":
        return ask(self.gateway.url, path, body, kind)


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


def ask(
    url: str,
    path: str,
    body: Any,
    kind: str = "application/json",
    key: str = KEY,
    headers: dict[str, str] | None = None,
) -> Answer:
    """`body` goes as JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"authorization": f"Bearer {key}", "content-type": kind, **(headers or {})}
    request = urllib.request.Request(url + path, data, sent, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


@contextmanager
def rented(folder: Path, settings: dict[str, dict[str, str]] | None = None, **env: str) -> Iterator[World]:
    """`settings` stand beside those of the cloud rows, by provider."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with fake_here(script=SCRIPT) as fake, token_endpoint() as tokens:
        account = folder / "account.json"
        account.write_text(json.dumps(service_account(private, f"{tokens.url}/google/token")))
        lines = [f"  {name}: {json.dumps(_provider(name, fake.url, str(account), settings))}" for name in rows()]
        config = folder / "freehold.yaml"
        config.write_text(_CONFIG.format(providers="\n".join(lines), key=KEY))
        env = {
            "AZURE_TENANT_ID": "entra",
            "AZURE_CLIENT_ID": "client-1",
            "AZURE_AUTHORITY_HOST": tokens.url,
            "HOME": str(folder),
            **env,
        }
        with started("up", "--config", str(config), home=folder / "home", **env) as gateway:
            yield World(gateway, fake, tokens, private.public_key())


_CONFIG = """
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
retries: 0
breaker: {{failures: 100000}}
timeouts: {{connect: 2, first_byte: 10, idle: 10, total: 30}}
providers:
{providers}
keys:
  - {{name: ci, key: "{key}"}}
"""


def _provider(name: str, url: str, account: str, settings: dict[str, dict[str, str]] | None) -> dict[str, str]:
    chat = rows()[name].dialect == "chat" and name not in _SETTINGS
    told = {"base_url": f"{url}/{name}{'/v1' if chat else ''}", **_SETTINGS.get(name, {"api_key": UPSTREAM_KEY})}
    if "credentials" in told:
        told["credentials"] = account
    return {**told, **(settings or {}).get(name, {})}


def service_account(private: rsa.RSAPrivateKey, token_uri: str) -> dict[str, str]:
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "lab-1",
        "private_key_id": "key-1",
        "private_key": pem.decode(),
        "client_email": "gateway@lab-1.example",
        "token_uri": token_uri,
    }


def events(body: bytes) -> list[dict[str, Any]]:
    """The JSON of each `data:` line but `[DONE]`."""
    lines = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


class Said(NamedTuple):
    """What an answer says, whatever its dialect and form."""

    text: str
    finish: str
    calls: list[tuple[str, str, Any]]
    """Id, name, arguments."""
    input: int
    output: int


def read_chat(body: bytes, stream: bool) -> Said:
    if not stream:
        value = json.loads(body)
        message, usage = value["choices"][0]["message"], value["usage"]
        calls = [
            (one["id"], one["function"]["name"], json.loads(one["function"]["arguments"]))
            for one in message.get("tool_calls") or ()
        ]
        return Said(
            message.get("content") or "", value["choices"][0]["finish_reason"], calls,
            usage["prompt_tokens"], usage["completion_tokens"],
        )  # fmt: skip
    assert body.rstrip().endswith(b"data: [DONE]")
    text, finish, usage, held = "", "", {}, dict[int, list[str]]()
    for event in events(body):
        assert "error" not in event, event
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
            for call in choice["delta"].get("tool_calls") or ():
                one = held.setdefault(call["index"], ["", "", ""])
                one[0] += call.get("id") or ""
                one[1] += call["function"].get("name") or ""
                one[2] += call["function"].get("arguments") or ""
    made = [(identity, name, json.loads(arguments)) for identity, name, arguments in held.values()]
    return Said(text, finish, made, usage["prompt_tokens"], usage["completion_tokens"])


def read_messages(body: bytes, stream: bool) -> Said:
    if not stream:
        value = json.loads(body)
        blocks, finish, usage = value["content"], value["stop_reason"], value["usage"]
    else:
        blocks, finish, usage, pieces = [], "", {}, list[str]()
        for event in events(body):
            assert event["type"] != "error", event
            if event["type"] == "message_start":
                usage = dict(event["message"]["usage"])
            elif event["type"] == "content_block_start":
                blocks.append(dict(event["content_block"]))
                pieces.append("")
            elif event["type"] == "content_block_delta":
                delta = event["delta"]
                pieces[event["index"]] += delta.get("text") or delta.get("partial_json") or ""
            elif event["type"] == "message_delta":
                finish = event["delta"]["stop_reason"]
                usage |= {name: count for name, count in event["usage"].items() if count is not None}
        for block, piece in zip(blocks, pieces, strict=True):
            block |= {"text": piece} if block["type"] == "text" else {"input": json.loads(piece or "{}")}
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    calls = [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    cached = usage.get("cache_read_input_tokens") or 0
    return Said(text, finish, calls, usage["input_tokens"] + cached, usage["output_tokens"])

"""Recorded requests on their way to their own provider: which can be sent again, and why others cannot."""

import json
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from recorded import COMPATIBLE, dialect_of, provider_at, rows

from freehold.call.providers import rows as providers

PATHS = {
    "chat": "/v1/chat/completions",
    "mistral": "/mistral/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "cohere": "/v2/chat",
}
"""Where clients of a dialect ask."""
OPERATIONS = (
    "/completions",
    "/embeddings",
    ":embedContent",
    ":batchEmbedContents",
    ":countTokens",
    "/count_tokens",
    "/moderations",
    "/rerank",
    "/images/generations",
    "/audio/speech",
)
"""Ends of paths of what else the gateway does with a JSON body."""


class Sent(NamedTuple):
    """A request as it is sent to the gateway, and where it came from."""

    number: int
    name: str
    provider: str
    path: str
    body: dict[str, Any]


def unsent(row: dict[str, Any]) -> str | None:
    """Why a recorded request cannot be sent again; None where it can."""
    path, host = urlsplit(row["uri"]).path, row["host"]
    if row["method"].upper() != "POST" or not isinstance(row["request"], dict):
        return "it has no JSON body"
    if path.endswith("/responses/input_tokens"):
        return "counted here: nobody is asked"
    if host.startswith("bedrock-runtime"):
        return "no client speaks Bedrock's dialects here"
    if path.endswith("/v2/embed"):
        return "no client speaks Cohere's embed here"
    if dialect_of(row) is None and not path.endswith(OPERATIONS):
        return "the gateway has no such operation"
    if "/models/" not in path and not row["request"].get("model"):
        return "it names no model"
    provider = provider_at(host)
    row_paths = providers()[provider].paths if provider in providers() else {}
    if path.endswith("/responses") and "responses" not in row_paths:
        return "its row in providers.toml has no Responses API"
    return None


def sent(number: int, row: dict[str, Any]) -> Sent:
    split, body = urlsplit(row["uri"]), dict(row["request"])
    name, provider = f"{number}-{row['source'].split('/')[-1].removesuffix('.yaml')}", provider_at(row["host"])
    if "/models/" in split.path:
        model, _, method = unquote(split.path.rpartition("/")[2]).partition(":")
        query = "?alt=sse" if method.startswith("stream") else ""
        return Sent(number, name, "gemini", f"/v1beta/models/gemini/{model}:{method}{query}", body)
    dialect = dialect_of(row)
    if dialect == "chat" and provider in ("anthropic", "gemini", "ollama", "zai"):
        provider = COMPATIBLE
    version = "/v2" if split.path.startswith("/v2/") else "/v1"
    end = next((end for end in OPERATIONS if split.path.endswith(end)), "")
    path = version + ("/messages" if end == "/count_tokens" else "") + end
    if dialect is not None:
        path = PATHS["mistral" if provider == "mistral" else dialect]
    return Sent(number, name, provider, path, {**body, "model": f"{provider}/{body['model']}"})


@cache
def requests() -> tuple[tuple[Sent, dict[str, Any]], ...]:
    """Every request that can be sent again, with its row."""
    return tuple((sent(number, row), row) for number, row in enumerate(rows()) if unsent(row) is None)


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what may differ."""
    return {name: value for name, value in body.items() if name not in ("model", "stream_options")}


REFUSED = {
    "no_candidate": "the model cannot hear, so nobody is asked; the provider refused it too",
    "previous_response_not_found": "it goes on from a response that nobody made here",
}
"""Requests that are refused before anybody is asked, by error code."""


def differences(want: Any, got: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, in words."""
    if isinstance(want, dict) and isinstance(got, dict):
        found = [f"{path}.{name} was added: {json.dumps(got[name])[:80]}" for name in got.keys() - want.keys()]
        found += [f"{path}.{name} is missing: {json.dumps(want[name])[:80]}" for name in want.keys() - got.keys()]
        for name in want.keys() & got.keys():
            found += differences(want[name], got[name], f"{path}.{name}")
        return found
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [
            line for i, pair in enumerate(zip(want, got, strict=True)) for line in differences(*pair, f"{path}.{i}")
        ]
    return [] if want == got else [f"{path}: {json.dumps(want)[:80]} became {json.dumps(got)[:80]}"]
